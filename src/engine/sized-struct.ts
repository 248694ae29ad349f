/**
 * iommufd's rules for a structure (01 §4.1 steps 2 and 4 to 6) applied to a request that is not in the
 * iommufd table: VFIO_DEVICE_BIND_IOMMUFD follows them (02 §5.4).
 */
import type { UserVa } from '../abi/brands.ts'
import type { Ioctl } from '../abi/ioctl.ts'
import type { DecodedFields, Fields, Struct } from '../abi/layout.ts'
import { checkTail, SizeTooSmall, SizeUnreadable, StructUnreadable } from './command.ts'
import type { Machine } from './machine.ts'
import type { Call } from './ports.ts'
import { Refusal, type Result, refuse } from './reason.ts'

export const readSizedStruct = <F extends Fields>(
  machine: Machine,
  call: Call,
  argument: UserVa,
  declared: Ioctl<F> & { readonly struct: Struct<F> },
): Result<DecodedFields<F>> => {
  const { name, minimum, struct } = declared
  const read = call.memory.read(argument, struct.size)
  if (read.length < 4) return refuse(SizeUnreadable, { argument })
  const size = new DataView(read.buffer, read.byteOffset, read.length).getUint32(0, true)
  if (size < minimum) return refuse(SizeTooSmall, { command: name, size, minimum })
  if (size > struct.size) {
    const refused = checkTail(call, argument, struct.size, size, name)
    if (refused instanceof Refusal) return refused
  }
  const length = Math.min(size, struct.size)
  if (read.length < length) return refuse(StructUnreadable, { argument, size: length })
  const bytes = read.slice(0, length)
  if (machine.memoryObserver !== undefined) machine.callInput = bytes
  return struct.decode(bytes)
}
