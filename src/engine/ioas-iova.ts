/** Where a mapping goes: the checks of a fixed IOVA and the rule of an automatic one (01 §12.2, §12.3). */
import { hex, type Iova, MAX_U64 } from '../abi/brands.ts'
import { RoomRequest } from './area-room.ts'
import type { Ioas } from './ioas.ts'
import { addressOf, HUGE_PAGE, LAST_PAGE, offsetOf, PAGE, pageOf } from './page-address.ts'
import { type Refusal, type Result, reasonKind, refuse } from './reason.ts'
import type { IovaRange, ReservationOwner, ReservationPurpose } from './reserved-ranges.ts'

/** `[0x1000, 0x1fff]`. */
export const printRange = (start: bigint, last: bigint): string => `[${hex(start)}, ${hex(last)}]`

export const IovaMisaligned = reasonKind<{ iova: bigint; alignment: number }>({
  code: 'iova-misaligned',
  errno: 'EINVAL',
  cite: '01 §12.2 step 5.1',
  say: ({ iova, alignment }) =>
    `the IOVA ${hex(iova)} is not a multiple of ${hex(alignment)}, the IOAS's alignment`,
  advice: 'IOAS_IOVA_RANGES tells the alignment; it rises when devices attach.',
})

export const IovaOverflows = reasonKind<{ iova: bigint; length: bigint }>({
  code: 'iova-overflows',
  errno: 'EOVERFLOW',
  cite: '01 §12.2 step 5.2',
  say: ({ iova, length }) =>
    `${hex(length)} bytes from IOVA ${hex(iova)} on reach beyond the 64-bit address space`,
  advice: 'Choose an IOVA and a length that end at 2^64-1 at the latest.',
})

export const MapMeetsReserved = reasonKind<{
  start: bigint
  last: bigint
  reserved: IovaRange
  purpose: ReservationPurpose
  owner: ReservationOwner
}>({
  code: 'map-meets-reserved',
  errno: 'EINVAL',
  cite: '01 §12.2 step 5.3',
  say: ({ start, last, reserved, purpose, owner }) =>
    `the range ${printRange(start, last)} meets ${printRange(reserved.start, reserved.last)} (${purpose}), which ${owner} reserves`,
  advice: 'Ask IOAS_IOVA_RANGES for the usable ranges after attaching.',
})

export const MapMeetsArea = reasonKind<{
  start: bigint
  last: bigint
  area: IovaRange
  source: string
}>({
  code: 'map-meets-area',
  errno: 'EEXIST',
  cite: '01 §12.2 step 5.4',
  say: ({ start, last, area, source }) =>
    `the range ${printRange(start, last)} meets the area ${printRange(area.start, area.last)} of ${source}`,
  advice: 'Unmap that area first, or leave the choice of the IOVA to the kernel.',
})

export const AutomaticTooLong = reasonKind<{ length: bigint }>({
  code: 'automatic-too-long',
  errno: 'EOVERFLOW',
  cite: '01 §12.3 step 1',
  say: ({ length }) => `no IOVA is chosen for ${hex(length)} bytes: 2^63-2 is the most`,
  advice: 'Map less at once.',
})

export const AutomaticMisaligned = reasonKind<{ address: bigint; alignment: number }>({
  code: 'automatic-misaligned',
  errno: 'EINVAL',
  cite: '01 §12.3 step 4',
  say: ({ address, alignment }) =>
    `the memory starts at ${hex(address)}, which is not a multiple of ${hex(alignment)}, the IOAS's alignment`,
  advice: 'An automatic IOVA is aligned as the memory is: align the buffer.',
})

export const NoRoom = reasonKind<{
  length: bigint
  alignment: bigint
  windows: readonly IovaRange[]
}>({
  code: 'no-room',
  errno: 'ENOSPC',
  cite: '01 §12.3 step 8',
  say: ({ length, alignment, windows }) =>
    `no gap of ${hex(length)} bytes aligned to ${hex(alignment)} is free in ${windows.map(({ start, last }) => printRange(start, last)).join(', ')}`,
  advice: 'Unmap something, or widen the ranges given to IOAS_ALLOW_IOVAS.',
})

/**
 * 01 §12.2 step 5, fixed, for an IOVA and a length as (page, offset). The store's cursor is left where
 * the new area belongs.
 */
export const checkFixedIova = (
  ioas: Ioas,
  page: number,
  offset: number,
  lengthPage: number,
  lengthOffset: number,
): Refusal | undefined => {
  const { areas, reserved, alignment } = ioas
  if (offset % alignment !== 0)
    return refuse(IovaMisaligned, { iova: addressOf(page, offset), alignment })
  const lastOffset = offset + lengthOffset - 1
  const lastPage = page + lengthPage + Math.floor(lastOffset / PAGE)
  if (lastPage > LAST_PAGE)
    return refuse(IovaOverflows, {
      iova: addressOf(page, offset),
      length: addressOf(lengthPage, lengthOffset),
    })
  if (reserved.union.length > 0) {
    const start = addressOf(page, offset)
    const last = addressOf(lastPage, lastOffset & (PAGE - 1))
    const met = reserved.meeting(start, last)
    if (met !== undefined)
      return refuse(MapMeetsReserved, {
        start,
        last,
        reserved: met,
        purpose: met.purpose,
        owner: met.owner,
      })
  }
  if (!areas.seek(page, offset)) return
  const { firstPage } = areas
  if (
    firstPage < lastPage ||
    (firstPage === lastPage && areas.firstOffset <= (lastOffset & (PAGE - 1)))
  ) {
    const { range, source } = ioas.areaAtCursor()
    return refuse(MapMeetsArea, {
      start: addressOf(page, offset),
      last: addressOf(lastPage, lastOffset & (PAGE - 1)),
      area: range,
      source: source.toString(),
    })
  }
}

/** Page 0 and the last page are never chosen. */
const LOWEST = BigInt(PAGE)
const HIGHEST = MAX_U64 - BigInt(PAGE)
/** Pages below 2^63: lengths from 2^63-1 on are too long. */
const MOST_PAGES = 2 ** 51 - 1

/**
 * 01 §12.3: the IOVA for `length` bytes whose first one has the given source address. It is in `page`
 * and `pageOffset` of what is returned.
 */
export const chooseIova = (
  ioas: Ioas,
  addressPage: number,
  addressOffset: number,
  lengthPage: number,
  lengthOffset: number,
): Result<RoomRequest> => {
  if (lengthPage > MOST_PAGES || (lengthPage === MOST_PAGES && lengthOffset === PAGE - 1))
    return refuse(AutomaticTooLong, { length: addressOf(lengthPage, lengthOffset) })
  const shift = alignmentShift(addressPage, addressOffset, lengthPage, lengthOffset)
  if (2 ** shift < ioas.alignment)
    return refuse(AutomaticMisaligned, {
      address: addressOf(addressPage, addressOffset),
      alignment: ioas.alignment,
    })
  const request = new RoomRequest(
    shift,
    addressOffset,
    lengthOffset === 0 ? lengthPage - 1 : lengthPage,
    lengthOffset === 0 ? PAGE - 1 : lengthOffset - 1,
  )
  if (ioas.allowed.length === 0) {
    if (findInWindow(ioas, request, 1, 0, LAST_PAGE - 1, PAGE - 1)) return request
  } else {
    for (const { start, last } of ioas.allowed) {
      const from = start < LOWEST ? LOWEST : start
      const to = last > HIGHEST ? HIGHEST : last
      if (from > to) continue
      if (findInWindow(ioas, request, pageOf(from), offsetOf(from), pageOf(to), offsetOf(to)))
        return request
    }
  }
  return refuse(NoRoom, {
    length: addressOf(lengthPage, lengthOffset),
    alignment: 1n << BigInt(shift),
    windows:
      ioas.allowed.length > 0 ? ioas.allowed : [{ start: LOWEST as Iova, last: HIGHEST as Iova }],
  })
}

/** log2 of A (01 §12.3 step 3). */
const alignmentShift = (
  page: number,
  offset: number,
  lengthPage: number,
  lengthOffset: number,
): number => {
  const length = lengthPage * PAGE + lengthOffset
  const cap = length >= HUGE_PAGE ? 21 : 32 - Math.clz32(length - 1)
  if (offset !== 0) return Math.min(cap, trailingZeros(offset))
  const low = page % 512
  return low === 0 ? cap : Math.min(cap, 12 + trailingZeros(low))
}

const trailingZeros = (bits: number): number => 31 - Math.clz32(bits & -bits)

/** Steps 6 and 7 for one window. */
const findInWindow = (
  ioas: Ioas,
  request: RoomRequest,
  fromPage: number,
  fromOffset: number,
  toPage: number,
  toOffset: number,
): boolean => {
  // The window is tested as a whole first, and the first gap starts where that put the request.
  if (!request.fits(fromPage, fromOffset, toPage, toOffset)) return false
  const { page, pageOffset } = request
  if (ioas.reserved.union.length === 0)
    return ioas.areas.findRoom(request, page, pageOffset, toPage, toOffset)
  const start = addressOf(page, pageOffset) as Iova
  const end = addressOf(toPage, toOffset) as Iova
  for (const part of ioas.reserved.outside(start, end)) {
    const { start: first, last } = part
    if (ioas.areas.findRoom(request, pageOf(first), offsetOf(first), pageOf(last), offsetOf(last)))
      return true
  }
  return false
}
