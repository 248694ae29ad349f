/**
 * How VFIO takes its structures (02 §3): the minimum is read before `argsz` is judged, and whatever
 * lies beyond the minimum is neither read nor checked. iommufd's own rules are in command.ts.
 */
import { hex, type UserVa, userVa } from '../abi/brands.ts'
import type { Ioctl } from '../abi/ioctl.ts'
import { type DecodedFields, decode, encode, type Fields, type Struct } from '../abi/layout.ts'
import type { Machine } from './machine.ts'
import type { Call } from './ports.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'

export const VfioArgumentUnreadable = reasonKind<{
  what: string
  address: UserVa
  needed: number
  readable: number
}>({
  code: 'vfio-argument-unreadable',
  errno: 'EFAULT',
  cite: '02 §3',
  say: ({ what, address, needed, readable }) =>
    `${what} at ${hex(address)} cannot be read: it takes ${needed} bytes, ${readable} are readable`,
  advice: 'Pass the address of a readable structure of at least the minimum size.',
})

export const VfioArgumentUnwritable = reasonKind<{ what: string; address: UserVa }>({
  code: 'vfio-argument-unwritable',
  errno: 'EFAULT',
  cite: '02 §3',
  say: ({ what, address }) => `the answer to ${what} cannot be written at ${hex(address)}`,
  advice: 'Pass a structure in writable memory.',
})

export const VfioArgszTooSmall = reasonKind<{ what: string; argsz: number; minimum: number }>({
  code: 'vfio-argsz-too-small',
  errno: 'EINVAL',
  cite: '02 §3',
  say: ({ what, argsz, minimum }) =>
    `${what} says argsz ${argsz}, below its minimum of ${minimum} bytes`,
  advice: 'Set argsz to the size of the structure.',
})

/** Exactly `length` bytes of the caller, or EFAULT. */
export const readExactly = (
  call: Call,
  address: UserVa,
  length: number,
  what: string,
): Result<Uint8Array> => {
  const bytes = call.memory.read(address, length)
  if (bytes.length < length)
    return refuse(VfioArgumentUnreadable, { what, address, needed: length, readable: bytes.length })
  return bytes
}

/** All of `bytes`, or EFAULT. */
export const writeExactly = (
  call: Call,
  address: UserVa,
  bytes: Uint8Array,
  what: string,
): Result<void> => {
  if (call.memory.write(address, bytes) < bytes.length)
    return refuse(VfioArgumentUnwritable, { what, address })
}

type StructIoctl<F extends Fields> = Ioctl<F> & { readonly struct: Struct<F> }

/** The minimum structure of a VFIO request; fields beyond the minimum read as zero. */
export const readVfioStruct = <F extends Fields>(
  machine: Machine,
  call: Call,
  argument: UserVa,
  declared: StructIoctl<F>,
): Result<DecodedFields<F> & { readonly argsz: number }> => {
  const bytes = readExactly(call, argument, declared.minimum, declared.name)
  if (bytes instanceof Refusal) return bytes
  if (machine.memoryObserver !== undefined) machine.callInput = bytes.slice()
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const argsz = view.getUint32(0, true)
  if (argsz < declared.minimum)
    return refuse(VfioArgszTooSmall, { what: declared.name, argsz, minimum: declared.minimum })
  return { ...decode(declared.struct, bytes), argsz }
}

/** Writes the first `length` bytes of the structure back. */
export const writeVfioStruct = <F extends Fields>(
  machine: Machine,
  call: Call,
  argument: UserVa,
  declared: StructIoctl<F>,
  value: Partial<DecodedFields<F>>,
  length: number,
): Result<void> => {
  const bytes = encode(declared.struct, value).subarray(0, length)
  if (machine.memoryObserver !== undefined) machine.callOutput = bytes
  return writeExactly(call, argument, bytes, declared.name)
}

/** `address + offset`, wrapping as the kernel's pointers do. */
export const addressAt = (address: UserVa, offset: number): UserVa =>
  userVa((address + BigInt(offset)) & 0xffff_ffff_ffff_ffffn)
