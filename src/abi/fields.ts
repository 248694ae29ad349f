/**
 * The kinds of field that a uAPI structure is made of. A kind knows its size and alignment in C, the
 * type it has here, and how people read it. `struct()` in layout.ts gives fields their places.
 *
 * Every kind takes a direction and one line of meaning:
 *
 *     iova: iova64('inout', 'Where the mapping starts; chosen by the kernel without FIXED_IOVA.')
 */
import {
  type ByteLength,
  type Fd,
  type FileOffset,
  hex,
  type Iova,
  type ObjectId,
  type Pasid,
  type PhysAddr,
  type UserVa,
} from './brands.ts'

/** `in`: read from the caller; `out`: written for the caller; `inout`: both. */
export type Direction = 'in' | 'out' | 'inout'

/** Names of values, by their uAPI spelling. */
export type Constants = Readonly<Record<string, number>>

/** How the bytes are laid down; little-endian throughout. */
export type Wire = 'u8' | 'u16' | 'u32' | 's32' | 'u64' | 'array' | 'struct'

/** What a number stands for, where it can be looked for: `length` is that of the IOVA range beside it. */
export type Subject = 'object' | 'iova' | 'length'

export interface Field<Value, Dir extends Direction = Direction> {
  readonly direction: Dir
  readonly meaning: string
  readonly wire: Wire
  /** Bytes; 0 for a flexible array. */
  readonly size: number
  readonly align: number
  /** `size` words and reserved fields are left out when a structure is printed. */
  readonly role?: 'size' | 'argsz' | 'reserved'
  readonly subject?: Subject
  readonly flags?: Constants
  readonly values?: Constants
  /** Element and number of elements of an array; a flexible array takes what is left. */
  readonly array?: { readonly element: Field<unknown>; readonly length: number | 'flexible' }
  /** Shares the place of the named earlier field (a C union). */
  readonly overlays?: string
  /** Stands at this offset, whatever comes before it. */
  readonly at?: number
  /** `end` is where the bytes end that a flexible array may take. */
  read(view: DataView, offset: number, end: number): Value
  write(view: DataView, offset: number, value: Value): void
  format(value: Value): string
  /** Bytes of this value beyond `size`: the elements of a flexible array. */
  extra?(value: Value): number
}

/** Makes a kind whose value is a 32-bit (or smaller) number; `Brand` is the type it has here. */
const number =
  <Brand extends number>(
    wire: 'u8' | 'u16' | 'u32' | 's32',
    format: (value: Brand) => string,
    subject?: Subject,
  ) =>
  <Dir extends Direction>(direction: Dir, meaning: string): Field<Brand, Dir> => {
    const size = { u8: 1, u16: 2, u32: 4, s32: 4 }[wire]
    const read: (view: DataView, offset: number) => number = {
      u8: (view: DataView, offset: number) => view.getUint8(offset),
      u16: (view: DataView, offset: number) => view.getUint16(offset, true),
      u32: (view: DataView, offset: number) => view.getUint32(offset, true),
      s32: (view: DataView, offset: number) => view.getInt32(offset, true),
    }[wire]
    const write: (view: DataView, offset: number, value: number) => void = {
      u8: (view: DataView, offset: number, value: number) => view.setUint8(offset, value),
      u16: (view: DataView, offset: number, value: number) => view.setUint16(offset, value, true),
      u32: (view: DataView, offset: number, value: number) => view.setUint32(offset, value, true),
      s32: (view: DataView, offset: number, value: number) => view.setInt32(offset, value, true),
    }[wire]
    return {
      direction,
      meaning,
      wire,
      size,
      align: size,
      // The brand's edge: any bit pattern of the wire type is a value the caller may pass.
      read: (view, offset) => read(view, offset) as Brand,
      write,
      format,
      ...(subject === undefined ? {} : { subject }),
    }
  }

/** Makes a kind whose value is a 64-bit `bigint`. */
const wide =
  <Brand extends bigint>(format: (value: Brand) => string, subject?: Subject) =>
  <Dir extends Direction>(direction: Dir, meaning: string): Field<Brand, Dir> => ({
    direction,
    meaning,
    wire: 'u64',
    size: 8,
    align: 8,
    // The brand's edge, as above.
    read: (view, offset) => view.getBigUint64(offset, true) as Brand,
    write: (view, offset, value) => view.setBigUint64(offset, value, true),
    format,
    ...(subject === undefined ? {} : { subject }),
  })

export const u8 = number<number>('u8', String)
export const u16 = number<number>('u16', String)
export const u32 = number<number>('u32', String)
export const s32 = number<number>('s32', String)
/** Register contents and other bit patterns. */
export const hex8 = number<number>('u8', hex)
export const hex32 = number<number>('u32', hex)
/** ID of an object as the caller passed it: may be 0 or name nothing. */
export const id32 = number<ObjectId>('u32', String, 'object')
export const pasid32 = number<Pasid>('u32', hex)
/** A descriptor; also where the header says `__u32`. */
export const fd32 = number<Fd>('s32', String)

/** A count or a number that is not an address. */
export const u64 = wide<bigint>(String)
export const hex64 = wide<bigint>(hex)
export const iova64 = wide<Iova>(hex, 'iova')
export const va64 = wide<UserVa>(hex)
export const len64 = wide<ByteLength>(hex, 'length')
export const offset64 = wide<FileOffset>(hex)
export const phys64 = wide<PhysAddr>(hex)

/** The first word of an iommufd structure: how many bytes of it the caller knows (01 §4.1). */
export const sizeWord = (): Field<number, 'in'> => ({
  ...u32('in', 'Bytes of this structure that the caller provides.'),
  role: 'size',
})

/** The first word of a VFIO structure: how many bytes the caller provides. */
export const argsz = (): Field<number, 'in'> => ({
  ...u32('in', 'Bytes that the caller provides, this structure included.'),
  role: 'argsz',
})

/** An `argsz` that the kernel replaces by the size that everything would take. */
export const argszReplaced = (): Field<number, 'inout'> => ({
  ...u32('inout', 'In: bytes that the caller provides; out: bytes that a complete answer takes.'),
  role: 'argsz',
})

const reservedMeaning = 'Reserved: must be zero.'
export const reserved16 = (meaning = reservedMeaning): Field<number, 'in'> => ({
  ...u16('in', meaning),
  role: 'reserved',
})
export const reserved32 = (meaning = reservedMeaning): Field<number, 'in'> => ({
  ...u32('in', meaning),
  role: 'reserved',
})
export const reserved8 = (meaning = reservedMeaning): Field<number, 'in'> => ({
  ...u8('in', meaning),
  role: 'reserved',
})

/** `A|B|0x80`: the names of the bits that are set, the rest as hex; `0` for none. */
export const flagsFormatter = (names: Constants): ((value: number | bigint) => string) => {
  const known = Object.entries(names).filter(([, bits]) => bits !== 0)
  return (value) => {
    // All names are of the lower 32 bits.
    let rest = typeof value === 'number' ? value : Number(value & 0xffff_ffffn)
    const high = typeof value === 'number' ? 0n : value & ~0xffff_ffffn
    let text = ''
    for (const [name, bits] of known) {
      if ((rest & bits) >>> 0 !== bits) continue
      text += text === '' ? name : `|${name}`
      rest = (rest & ~bits) >>> 0
    }
    if (rest === 0 && high === 0n) return text === '' ? '0' : text
    const unknown = high === 0n ? hex(rest) : hex(high + BigInt(rest))
    return text === '' ? unknown : `${text}|${unknown}`
  }
}

/** The name of a value, or the value itself: in hex where it is large. */
export const enumFormatter = (names: Constants): ((value: number) => string) => {
  const known = new Map<number, string>()
  for (const [name, value] of Object.entries(names)) if (!known.has(value)) known.set(value, name)
  return (value) => known.get(value) ?? (value < 0x1_0000 ? String(value) : hex(value))
}

export const flags32 = <Dir extends Direction>(
  flags: Constants,
  direction: Dir,
  meaning: string,
): Field<number, Dir> => ({
  ...u32(direction, meaning),
  flags,
  format: flagsFormatter(flags),
})

export const flags64 = <Dir extends Direction>(
  flags: Constants,
  direction: Dir,
  meaning: string,
): Field<bigint, Dir> => ({
  ...u64(direction, meaning),
  flags,
  format: flagsFormatter(flags),
})

export const enum32 = <Dir extends Direction>(
  values: Constants,
  direction: Dir,
  meaning: string,
): Field<number, Dir> => ({
  ...u32(direction, meaning),
  values,
  format: enumFormatter(values),
})

export const enum16 = <Dir extends Direction>(
  values: Constants,
  direction: Dir,
  meaning: string,
): Field<number, Dir> => ({
  ...u16(direction, meaning),
  values,
  format: enumFormatter(values),
})

/** `element[length]`; direction and meaning are the element's. */
export const array = <Value, Dir extends Direction>(
  element: Field<Value, Dir>,
  length: number,
): Field<readonly Value[], Dir> => ({
  direction: element.direction,
  meaning: element.meaning,
  wire: 'array',
  size: element.size * length,
  align: element.align,
  array: { element, length },
  ...(element.role === undefined ? {} : { role: element.role }),
  read: (view, offset, end) =>
    Array.from({ length }, (_, i) => element.read(view, offset + i * element.size, end)),
  write: (view, offset, values) => {
    for (let i = 0; i < length; i++) {
      const value = values[i]
      if (value !== undefined) element.write(view, offset + i * element.size, value)
    }
  },
  format: (values) => `[${values.map((value) => element.format(value)).join(', ')}]`,
})

/** `element[]` at the end of a structure: as many whole elements as there are bytes. */
export const flexible = <Value, Dir extends Direction>(
  element: Field<Value, Dir>,
): Field<readonly Value[], Dir> => ({
  direction: element.direction,
  meaning: element.meaning,
  wire: 'array',
  size: 0,
  align: element.align,
  array: { element, length: 'flexible' },
  read: (view, offset, end) =>
    Array.from({ length: Math.max(0, Math.floor((end - offset) / element.size)) }, (_, i) =>
      element.read(view, offset + i * element.size, end),
    ),
  write: (view, offset, values) => {
    for (const [i, value] of values.entries()) element.write(view, offset + i * element.size, value)
  },
  format: (values) => `[${values.map((value) => element.format(value)).join(', ')}]`,
  extra: (values) => values.length * element.size,
})

const PRINTED_BYTES = 16

/** `__u8 data[]` at the end of a structure, as bytes (a copy). */
export const tailBytes = <Dir extends Direction>(
  direction: Dir,
  meaning: string,
): Field<Uint8Array, Dir> => ({
  direction,
  meaning,
  wire: 'array',
  size: 0,
  align: 1,
  array: { element: u8(direction, meaning), length: 'flexible' },
  read: (view, offset, end) =>
    new Uint8Array(view.buffer, view.byteOffset + offset, Math.max(0, end - offset)).slice(),
  write: (view, offset, value) => {
    new Uint8Array(view.buffer, view.byteOffset + offset, value.length).set(value)
  },
  format: (value) => {
    const shown = Array.from(value.subarray(0, PRINTED_BYTES), (byte) =>
      byte.toString(16).padStart(2, '0'),
    )
    if (value.length > PRINTED_BYTES) shown.push(`... ${value.length} bytes`)
    return `[${shown.join(' ')}]`
  },
  extra: (value) => value.length,
})

/** The same place as the earlier field `of`: another member of its union. */
export const overlay = <Value, Dir extends Direction>(
  of: string,
  field: Field<Value, Dir>,
): Field<Value, Dir> => ({ ...field, overlays: of })

/** Stands at `offset`: what follows a C union whose members differ in size. */
export const at = <Value, Dir extends Direction>(
  offset: number,
  field: Field<Value, Dir>,
): Field<Value, Dir> => ({ ...field, at: offset })
