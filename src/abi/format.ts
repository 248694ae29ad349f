/** An ioctl's argument as people read it, from the bytes that its pointer points to. */

import { hex } from './brands.ts'
import { enumFormatter } from './fields.ts'
import type { Ioctl } from './ioctl.ts'
import { decode, type FormatOptions, formatStruct, type Struct } from './layout.ts'

/** The most telling structure for an argument's bytes: that of the operation or feature they name. */
export const structOf = (ioctl: Ioctl, bytes: Uint8Array): Struct | undefined =>
  ioctl.view?.(bytes) ?? ioctl.struct

/** By-value arguments below this are counts, above it addresses. */
const SMALL = 0x1_0000n

/**
 * `{flags=IOMMU_IOAS_MAP_READABLE, ioas_id=1, ...}` for a structure; the name or number for an argument
 * by value. `bytes` are those of the structure as far as they could be read; for a pointer to an int
 * its four bytes, for a string its characters.
 */
export const formatArgument = (
  ioctl: Ioctl,
  argument: bigint,
  bytes: Uint8Array,
  options: FormatOptions = {},
): string => {
  const struct = structOf(ioctl, bytes)
  if (struct !== undefined) return formatStruct(struct, decode(struct, bytes), options)
  switch (ioctl.argument) {
    case 'none':
      return ''
    case 'value':
      return argument < SMALL ? enumFormatter(ioctl.values ?? {})(Number(argument)) : hex(argument)
    case 'int-pointer':
      return bytes.length < 4
        ? hex(argument)
        : `[${new DataView(bytes.buffer, bytes.byteOffset, 4).getInt32(0, true)}]`
    default:
      return JSON.stringify(new TextDecoder().decode(bytes))
  }
}
