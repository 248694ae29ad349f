/** IOMMU_IOAS_IOVA_RANGES and IOMMU_IOAS_ALLOW_IOVAS (01 §10, §11). */
import { hex, type UserVa } from '../abi/brands.ts'
import {
  IOMMU_IOAS_ALLOW_IOVAS,
  IOMMU_IOAS_IOVA_RANGES,
  iommu_iova_range,
} from '../abi/iommufd/ioas.ts'
import { command, copyToUser } from './command.ts'
import { Ioas } from './ioas.ts'
import { printRange } from './ioas-iova.ts'
import { ReservedFieldSet } from './ioas-map.ts'
import type { Call } from './ports.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'
import { type IovaRange, intersects, type ReservationOwner } from './reserved-ranges.ts'

export const MoreRangesThanRoom = reasonKind<{ ranges: number; capacity: number }>({
  code: 'more-ranges-than-room',
  errno: 'EMSGSIZE',
  cite: '01 §10 step 5',
  say: ({ ranges, capacity }) =>
    `there are ${ranges} usable ranges, and the array holds ${capacity}; num_iovas now says how many it takes`,
  advice: 'Call again with an array of num_iovas elements.',
})

export const RangeUnreadable = reasonKind<{ element: number; address: bigint }>({
  code: 'range-unreadable',
  errno: 'EFAULT',
  cite: '01 §11 step 3',
  say: ({ element, address }) =>
    `element ${element} of the array, at ${hex(address)}, is not in readable memory of the caller`,
  advice: 'Point allowed_iovas to num_iovas elements in readable memory.',
})

export const RangeEmpty = reasonKind<{ element: number; start: bigint; last: bigint }>({
  code: 'allowed-range-empty',
  errno: 'EINVAL',
  cite: '01 §11 step 3',
  say: ({ element, start, last }) =>
    `element ${element}, ${printRange(start, last)}, does not start below its last IOVA`,
  advice: 'A range must have at least two bytes.',
})

export const RangesOverlap = reasonKind<{ element: number; range: IovaRange; other: IovaRange }>({
  code: 'allowed-ranges-overlap',
  errno: 'EINVAL',
  cite: '01 §11 step 3',
  say: ({ element, range, other }) =>
    `element ${element}, ${printRange(range.start, range.last)}, overlaps the earlier ${printRange(other.start, other.last)}`,
  advice: 'Merge the ranges, or sort out which of them is meant.',
})

export const AllowedMeetsReserved = reasonKind<{
  range: IovaRange
  reserved: IovaRange
  owner: ReservationOwner
}>({
  code: 'allowed-meets-reserved',
  errno: 'EADDRINUSE',
  cite: '01 §11 step 4',
  say: ({ range, reserved, owner }) =>
    `${printRange(range.start, range.last)} meets ${printRange(reserved.start, reserved.last)}, which ${owner} reserves`,
  advice: 'Allow only what IOAS_IOVA_RANGES reports.',
})

const ELEMENT = iommu_iova_range.size

export const ioasIovaRanges = command(
  IOMMU_IOAS_IOVA_RANGES,
  ({ context, call, args, respond }) => {
    if (args.__reserved !== 0) return refuse(ReservedFieldSet, { value: args.__reserved })
    const ioas = context.objects.find(args.ioas_id, Ioas, 'IOAS', call)
    if (ioas instanceof Refusal) return ioas
    const ranges = ioas.usableRanges()
    const capacity = args.num_iovas
    for (const [index, range] of ranges.entries()) {
      if (index === capacity) break
      const refusal = copyToUser(
        call,
        elementAt(args.allowed_iovas, index),
        iommu_iova_range.encode(range),
      )
      if (refusal instanceof Refusal) return refusal
    }
    const refusal = respond({
      num_iovas: ranges.length,
      out_iova_alignment: BigInt(ioas.alignment),
    })
    if (refusal instanceof Refusal) return refusal
    if (ranges.length > capacity)
      return refuse(MoreRangesThanRoom, { ranges: ranges.length, capacity })
  },
)

/** Pointers wrap as the kernel's do; what lies there is found out by reading. */
const elementAt = (array: UserVa, index: number): UserVa =>
  BigInt.asUintN(64, array + BigInt(index * ELEMENT)) as UserVa

export const ioasAllowIovas = command(IOMMU_IOAS_ALLOW_IOVAS, ({ context, call, args }) => {
  if (args.__reserved !== 0) return refuse(ReservedFieldSet, { value: args.__reserved })
  const ioas = context.objects.find(args.ioas_id, Ioas, 'IOAS', call)
  if (ioas instanceof Refusal) return ioas
  const ranges = readRanges(call, args.allowed_iovas, args.num_iovas)
  if (ranges instanceof Refusal) return ranges
  for (const range of ranges) {
    const reserved = ioas.reserved.meeting(range.start, range.last)
    if (reserved !== undefined)
      return refuse(AllowedMeetsReserved, { range, reserved, owner: reserved.owner })
  }
  ioas.allow(ranges)
})

/** Elements are read and judged one after the other: what comes first decides (01 §11 step 3). */
const readRanges = (call: Call, array: UserVa, count: number): Result<IovaRange[]> => {
  const ranges: IovaRange[] = []
  const sorted = new SortedRanges()
  const BATCH = 256
  for (let first = 0; first < count; first += BATCH) {
    const wanted = Math.min(BATCH, count - first)
    const bytes = call.memory.read(elementAt(array, first), wanted * ELEMENT)
    for (let i = 0; i < wanted; i += 1) {
      const element = first + i
      if (bytes.length < (i + 1) * ELEMENT || call.fails('copy-from-user'))
        return refuse(RangeUnreadable, { element, address: elementAt(array, element) })
      const range = iommu_iova_range.decode(bytes.subarray(i * ELEMENT, (i + 1) * ELEMENT))
      if (range.start >= range.last) return refuse(RangeEmpty, { element, ...range })
      const other = sorted.add(range)
      if (other !== undefined) return refuse(RangesOverlap, { element, range, other })
      ranges.push(range)
    }
  }
  return ranges
}

/** Disjoint ranges, kept sorted while they arrive in any order. */
class SortedRanges {
  readonly #ranges: IovaRange[] = []

  /** Adds a range, or returns an earlier one that it overlaps. */
  add(range: IovaRange): IovaRange | undefined {
    let low = 0
    let high = this.#ranges.length
    while (low < high) {
      const middle = (low + high) >> 1
      const at = this.#ranges[middle]
      if (at !== undefined && at.last < range.start) low = middle + 1
      else high = middle
    }
    const next = this.#ranges[low]
    if (next !== undefined && intersects(next, range)) return next
    this.#ranges.splice(low, 0, range)
  }
}
