/**
 * How an ioctl is declared: its name and number, the structure its argument points to, how much of it
 * a caller must provide, and what is written back. Dispatch, traces, documentation and tests all read
 * this.
 */
import type { Constants } from './fields.ts'
import type { Fields, Struct } from './layout.ts'

/**
 * The same number means different things on different files: 0x3b70 is VFIO_IOMMU_GET_INFO on a
 * container and VFIO_DEVICE_GET_PCI_HOT_RESET_INFO on a device.
 */
export type FileKind = 'iommufd' | 'container' | 'group' | 'device' | 'migration'

/**
 * How the argument is taken:
 *
 * - `size-word`: iommufd's rules, 01 §4.1 (size word, minimum, zero tail, short structures);
 * - `argsz`: VFIO's rules: at least `minimum` bytes, as many as `argsz` says are provided;
 * - `value`: the argument itself is the value;
 * - `int-pointer`: it points to an `int`;
 * - `string`: it points to a string that ends with a zero byte;
 * - `none`: it is not looked at.
 */
export type ArgumentStyle = 'size-word' | 'argsz' | 'value' | 'int-pointer' | 'string' | 'none'

/** `whole` structure, one field, or nothing. */
export type WriteBack = 'whole' | 'none' | { readonly field: string }

export interface Ioctl<F extends Fields = Fields> {
  readonly name: string
  readonly file: FileKind
  /** The full request number: all are `_IO(';', nr)`. */
  readonly request: number
  readonly argument: ArgumentStyle
  /** Absent where the argument is no structure. */
  readonly struct?: Struct<F>
  /** Bytes that a caller must provide at least; 0 without a structure. */
  readonly minimum: number
  readonly writeBack: WriteBack
  /** One line: what it does. */
  readonly meaning: string
  /** Names of the argument's values, where it is passed by value. */
  readonly values?: Constants
  /**
   * A more telling structure for these bytes: the one of this operation, or of this feature.
   * It begins like `struct`.
   */
  readonly view?: (bytes: Uint8Array) => Struct | undefined
}

/** `_IO(';', nr)`. */
const IOCTL_TYPE = 0x3b

const request = (nr: number): number => (IOCTL_TYPE << 8) | nr

/** The end of the named field: a minimum size is always the end of a field. */
const endOf = <F extends Fields>(
  struct: Struct<F>,
  last: (keyof F & string) | undefined,
): number => {
  if (last === undefined) return struct.size
  const field = struct.place(last)
  return field.offset + field.size
}

interface StructIoctlOptions<F extends Fields> {
  readonly meaning: string
  /** Last field that every caller must provide; the whole structure when absent. */
  readonly minimum?: keyof F & string
  readonly writeBack: 'whole' | 'none' | { readonly field: keyof F & string }
  readonly view?: (bytes: Uint8Array) => Struct | undefined
}

interface VfioIoctlOptions<F extends Fields> extends StructIoctlOptions<F> {
  /** `argsz` unless one of VFIO's ioctls follows iommufd's rules. */
  readonly argument?: 'argsz' | 'size-word'
}

/** An ioctl of iommufd's own, with the structure that it takes. */
export interface IommufdCommand<F extends Fields = Fields> extends Ioctl<F> {
  readonly struct: Struct<F>
}

/** Declares an iommufd command (01 §4.3). */
export const iommufdCommand = <F extends Fields>(
  name: string,
  nr: number,
  struct: Struct<F>,
  options: StructIoctlOptions<F>,
): IommufdCommand<F> => ({
  name,
  file: 'iommufd',
  request: request(nr),
  argument: 'size-word',
  struct,
  minimum: endOf(struct, options.minimum),
  writeBack: options.writeBack,
  meaning: options.meaning,
  ...(options.view === undefined ? {} : { view: options.view }),
})

/** VFIO numbers its ioctls from here. */
export const VFIO_BASE = 100

/** Declares a VFIO ioctl whose argument is a structure that begins with `argsz`. */
export const vfioStructIoctl = <F extends Fields>(
  file: FileKind,
  name: string,
  number: number,
  struct: Struct<F>,
  options: VfioIoctlOptions<F>,
): Ioctl<F> & { readonly struct: Struct<F> } => ({
  name,
  file,
  request: request(VFIO_BASE + number),
  argument: options.argument ?? 'argsz',
  struct,
  minimum: endOf(struct, options.minimum),
  writeBack: options.writeBack,
  meaning: options.meaning,
  ...(options.view === undefined ? {} : { view: options.view }),
})

/** Declares a VFIO ioctl without a structure. */
export const vfioIoctl = (
  file: FileKind,
  name: string,
  number: number,
  argument: 'value' | 'int-pointer' | 'string' | 'none',
  meaning: string,
  values?: Constants,
): Ioctl => ({
  name,
  file,
  request: request(VFIO_BASE + number),
  argument,
  minimum: 0,
  writeBack: 'none',
  meaning,
  ...(values === undefined ? {} : { values }),
})
