/** Walking the areas that an access touches, and what each of them may refuse (04 §2.5, §2.8). */
import { hex } from '../abi/brands.ts'
import { AREA_READABLE, AREA_WRITABLE } from './area-cursor.ts'
import type { Ioas, IovaRange } from './ioas.ts'
import { printRange } from './ioas-iova.ts'
import { offsetOf, pageOf } from './page-address.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'

export const AccessLengthZero = reasonKind({
  code: 'access-length-zero',
  errno: 'EINVAL',
  cite: '04 §2.5 check 2, §2.8 check 1',
  say: () => 'an access of 0 bytes',
  advice: 'Leave out accesses without a byte.',
})

export const AccessOverflows = reasonKind<{ iova: bigint; length: bigint }>({
  code: 'access-overflows',
  errno: 'EOVERFLOW',
  cite: '04 §2.5 check 3, §2.8 check 2',
  say: ({ iova, length }) => `iova ${hex(iova)} + length ${hex(length)} - 1 exceeds 2^64-1`,
  advice:
    'An access ends at the last address, 2^64-1, at the latest: check how the end is computed.',
})

export const AccessMeetsHole = reasonKind<{ ioas: number; at: bigint }>({
  code: 'access-meets-hole',
  errno: 'ENOENT',
  cite: '04 §2.5 check 5a, §2.8 check 8',
  say: ({ ioas, at }) => `nothing is mapped at ${hex(at)} of IOAS ${ioas}`,
  advice:
    'Map the whole range before an emulated device reaches for it, and unmap it only when the device is done.',
})

export const AreaBeingUnmapped = reasonKind<{ area: IovaRange }>({
  code: 'area-being-unmapped',
  errno: 'EINVAL',
  cite: '04 §2.5 check 5b, §2.8 check 4',
  say: ({ area }) => `the area ${printRange(area.start, area.last)} is waiting for its unmap`,
  advice:
    'Let the unmap finish first: the driver must unpin in its unmap callback and not come back to the range.',
})

export const PinMisaligned = reasonKind<{ area: IovaRange; at: bigint }>({
  code: 'pin-misaligned',
  errno: 'EINVAL',
  cite: '04 §2.5 checks 5c and 5d',
  say: ({ area, at }) =>
    `the pin would begin or end within a page of the memory behind ${printRange(area.start, area.last)}, at ${hex(at)}`,
  advice: 'Map whole, page-aligned buffers where emulated devices pin pages.',
})

export const AreaForbids = reasonKind<{ area: IovaRange; write: boolean }>({
  code: 'area-forbids',
  errno: 'EPERM',
  cite: '04 §2.5 check 5e, §2.8 check 5',
  say: ({ area, write }) =>
    `the area ${printRange(area.start, area.last)} is not mapped ${write ? 'WRITEABLE' : 'READABLE'}`,
  advice:
    'Map the range with the permission that the device needs: WRITEABLE for what it writes, READABLE for what it reads.',
})

export const AreaIsDmaBuf = reasonKind<{ area: IovaRange }>({
  code: 'area-is-dma-buf',
  errno: 'EINVAL',
  cite: '04 §2.5 check 5f, §2.8 check 6',
  say: ({ area }) =>
    `the area ${printRange(area.start, area.last)} shows a dma-buf, which only devices reach`,
  advice: 'Emulated devices need ordinary memory: map a memfd or anonymous memory for them.',
})

/** One area of a walk: the store's cursor is on it. */
export interface AreaStep {
  readonly area: IovaRange
  /** Address of the first byte wanted of this area. */
  readonly from: bigint
  /** First and last byte wanted, counted from the start of the area's first slot. */
  readonly firstByte: number
  readonly lastByte: number
  /** The range ends in this area. */
  readonly isLast: boolean
}

/** Visits the areas of [first, last] in order; a gap, or what `visit` refuses with, ends the walk. */
export const walkAreas = (
  ioas: Ioas,
  first: bigint,
  last: bigint,
  visit: (step: AreaStep) => Result<void>,
): Result<void> => {
  const { areas } = ioas
  for (let at = first; ; ) {
    if (!areas.seek(pageOf(at), offsetOf(at))) return refuse(AccessMeetsHole, { ioas: ioas.id, at })
    const { range: area } = ioas.areaAtCursor()
    if (area.start > at) return refuse(AccessMeetsHole, { ioas: ioas.id, at })
    const isLast = area.last >= last
    const end = isLast ? last : area.last
    const { sourceOffset } = areas
    const refusal = visit({
      area,
      from: at,
      firstByte: sourceOffset + Number(at - area.start),
      lastByte: sourceOffset + Number(end - area.start),
      isLast,
    })
    if (refusal instanceof Refusal) return refusal
    if (isLast) return
    at = area.last + 1n
  }
}

export const checkPermission = (
  { area }: AreaStep,
  flags: number,
  write: boolean,
): Result<void> => {
  if ((flags & (write ? AREA_WRITABLE : AREA_READABLE)) === 0)
    return refuse(AreaForbids, { area, write })
}
