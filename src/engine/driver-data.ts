/**
 * What an IOMMU driver sees of its caller's memory: its own struct (HWPT_ALLOC, VIOMMU_ALLOC; 03 §7.3)
 * and the request array of HWPT_INVALIDATE (03 §11.4). The copy rules live here; which type and which
 * lengths are right is the driver's to say.
 */
import { hex, type UserVa } from '../abi/brands.ts'
import type { DriverArray, DriverData } from './iommu-driver.ts'
import type { Call } from './ports.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'

export const DriverDataOfOtherType = reasonKind<{ type: number; expected: number }>({
  code: 'driver-data-of-other-type',
  errno: 'EINVAL',
  cite: '03 §7.3, §11.4',
  say: ({ type, expected }) =>
    `the driver's data has type ${hex(type)} and this IOMMU driver takes ${hex(expected)}`,
  advice: 'Ask GET_HW_INFO which IOMMU the device is behind and pass the struct of that driver.',
})

export const DriverDataLengthUnknown = reasonKind<{
  length: number
  minimum: number
  full: number
}>({
  code: 'driver-data-length-unknown',
  errno: 'EINVAL',
  cite: '03 §7.3, §18.11',
  say: ({ length, minimum, full }) =>
    `the driver's data is ${length} bytes long; the driver knows ${minimum} to ${full}, and here longer ` +
    'is EINVAL even if the tail is zero',
  advice: 'Pass the size of the struct that the driver documents.',
})

export const DriverDataUnreadable = reasonKind<{ address: UserVa; length: number }>({
  code: 'driver-data-unreadable',
  errno: 'EFAULT',
  cite: '03 §7.3',
  say: ({ address, length }) =>
    `the ${length} bytes of driver data at ${hex(address)} cannot be read`,
  advice: 'Check that data_uptr points to readable memory of the calling process.',
})

export const DriverDataUnwritable = reasonKind<{ address: UserVa; length: number }>({
  code: 'driver-data-unwritable',
  errno: 'EFAULT',
  cite: '04 §5 step 7',
  say: ({ address, length }) =>
    `the driver's answer of ${length} bytes cannot be written to ${hex(address)}`,
  advice: 'Check that data_uptr points to writable memory of the calling process.',
})

export const DriverArrayEmpty = reasonKind({
  code: 'driver-array-empty',
  errno: 'EINVAL',
  cite: '03 §11.4',
  say: () => 'the request array has no entries and this driver takes the whole array at once',
  advice: 'Put at least one request into the array, or leave the call out.',
})

export const DriverArrayTailNotZero = reasonKind<{ index: number; full: number }>({
  code: 'driver-array-tail-not-zero',
  errno: 'E2BIG',
  cite: '03 §11.4',
  say: ({ index, full }) =>
    `entry ${index} has a byte that is not zero beyond the ${full} bytes that the driver knows`,
  advice: 'Zero what lies beyond the struct, or set entry_len to its size.',
})

/** The longest prefix that can be read, or nothing where fault injection makes the copy fail. */
const readUser = (call: Call, address: UserVa, length: number): Uint8Array =>
  call.fails('copy-from-user') ? new Uint8Array(0) : call.memory.read(address, length)

const at = (base: UserVa, offset: number): UserVa =>
  ((base + BigInt(offset)) & 0xffff_ffff_ffff_ffffn) as UserVa

/** The caller's driver data; undefined when `length` is 0, whatever `address` is (03 §7.4 step 3). */
export const driverData = (
  call: Call,
  type: number,
  address: UserVa,
  length: number,
): DriverData | undefined =>
  length === 0
    ? undefined
    : {
        type,
        length,
        copyIn(expectedType, minimum, full) {
          const refusal = judge(type, expectedType, length, minimum, full)
          if (refusal !== undefined) return refusal
          const bytes = readUser(call, address, length)
          if (bytes.length < length) return refuse(DriverDataUnreadable, { address, length })
          return zeroExtended(bytes, full)
        },
        copyOut(expectedType, minimum, bytes) {
          const refusal = judge(type, expectedType, length, minimum, bytes.length)
          if (refusal !== undefined) return refusal
          const written = call.fails('copy-to-user')
            ? 0
            : call.memory.write(address, bytes.subarray(0, length))
          if (written < length) return refuse(DriverDataUnwritable, { address, length })
        },
      }

const judge = (
  type: number,
  expected: number,
  length: number,
  minimum: number,
  full: number,
): Refusal | undefined => {
  if (type !== expected) return refuse(DriverDataOfOtherType, { type, expected })
  if (length < minimum || length > full)
    return refuse(DriverDataLengthUnknown, { length, minimum, full })
}

const zeroExtended = (bytes: Uint8Array, full: number): Uint8Array => {
  const whole = new Uint8Array(full)
  whole.set(bytes)
  return whole
}

/** Bytes fetched from the caller at once when a driver takes its entries one by one. */
const FETCH = 64 * 1024

/** The request array of one HWPT_INVALIDATE call. */
export class UserRequestArray implements DriverArray {
  readonly type: number
  readonly entryLength: number
  readonly entryCount: number
  handled = 0
  readonly #call: Call
  readonly #address: UserVa
  /** Entries `#first` onwards, as fetched. */
  #fetched = new Uint8Array(0)
  #first = 0

  constructor(call: Call, address: UserVa, type: number, entryLength: number, entryCount: number) {
    this.#call = call
    this.#address = address
    this.type = type
    this.entryLength = entryLength
    this.entryCount = entryCount
  }

  copyEntry(type: number, index: number, minimum: number, full: number): Result<Uint8Array> {
    const refusal = judge(this.type, type, this.entryLength, minimum, full)
    if (refusal !== undefined) return refusal
    const entry = this.#entry(index)
    return entry instanceof Refusal ? entry : zeroExtended(entry, full)
  }

  copyAll(type: number, full: number): Result<Uint8Array> {
    if (this.type !== type)
      return refuse(DriverDataOfOtherType, { type: this.type, expected: type })
    if (this.entryCount === 0) return refuse(DriverArrayEmpty, {})
    if (this.entryLength === full) {
      const length = full * this.entryCount
      const bytes = readUser(this.#call, this.#address, length)
      return bytes.length < length
        ? refuse(DriverDataUnreadable, { address: this.#address, length })
        : bytes
    }
    const all = new Uint8Array(full * this.entryCount)
    for (let index = 0; index < this.entryCount; index++) {
      const entry = this.#entry(index)
      if (entry instanceof Refusal) return entry
      if (entry.subarray(full).some((byte) => byte !== 0))
        return refuse(DriverArrayTailNotZero, { index, full })
      all.set(entry.subarray(0, full), index * full)
    }
    return all
  }

  /** The `entryLength` bytes of one entry, from what was fetched or with a new fetch. */
  #entry(index: number): Result<Uint8Array> {
    const size = this.entryLength
    let offset = (index - this.#first) * size
    if (offset < 0 || offset + size > this.#fetched.length) {
      const count = Math.min(this.entryCount - index, Math.max(1, Math.floor(FETCH / size)))
      this.#first = index
      this.#fetched = new Uint8Array(
        readUser(this.#call, at(this.#address, index * size), count * size),
      )
      offset = 0
    }
    const entry = this.#fetched.subarray(offset, offset + size)
    return entry.length < size
      ? refuse(DriverDataUnreadable, { address: at(this.#address, index * size), length: size })
      : entry
  }
}
