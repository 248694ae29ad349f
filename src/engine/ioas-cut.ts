/** Cutting areas in two, as VFIO's type1 version 1 needs it (01 §20.2). */
import { hex, type Iova } from '../abi/brands.ts'
import { AREA_UNMAPPING } from './area-cursor.ts'
import type { Ioas } from './ioas.ts'
import { printRange } from './ioas-iova.ts'
import { offsetOf, PAGE, pageOf } from './page-address.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'
import type { IovaRange } from './reserved-ranges.ts'

interface Cut {
  readonly after: bigint
  readonly area: IovaRange
}

const sayCut = ({ after, area }: Cut): string =>
  `the area ${printRange(area.start, area.last)} cannot be cut after ${hex(after)}`

export const CutWhileUnmapping = reasonKind<Cut>({
  code: 'cut-while-unmapping',
  errno: 'EBUSY',
  cite: '01 §20.2 step 3',
  say: (cut) => `${sayCut(cut)}: it is being unmapped`,
  advice: 'Wait until the unmap is through; then there is nothing left to cut.',
})

export const CutOfDmaBuf = reasonKind<Cut>({
  code: 'cut-of-dma-buf',
  errno: 'EOPNOTSUPP',
  cite: '01 §20.2 step 4',
  say: (cut) => `${sayCut(cut)}: it shows a dma-buf`,
  advice: 'Unmap the dma-buf and map its parts separately.',
})

export const CutMisaligned = reasonKind<Cut & { alignment: number }>({
  code: 'cut-misaligned',
  errno: 'EINVAL',
  cite: '01 §20.2 step 5',
  say: (cut) =>
    `${sayCut(cut)}: the second part would not be aligned to ${hex(cut.alignment)}, the IOAS's alignment`,
  advice: "Cut at multiples of the IOAS's alignment.",
})

export const CutWhilePinned = reasonKind<Cut & { pins: number }>({
  code: 'cut-while-pinned',
  errno: 'EINVAL',
  cite: '01 §20.2 step 7',
  say: (cut) => `${sayCut(cut)}: an emulated device has pages of it pinned`,
  advice: 'Let the emulated devices unpin first.',
})

export const CutWithLargePages = reasonKind<Cut>({
  code: 'cut-with-large-pages',
  errno: 'EINVAL',
  cite: '01 §20.2 step 8',
  say: (cut) => `${sayCut(cut)}: it may be mapped with large pages`,
  advice: 'Switch large pages off (IOMMU_OPTION_HUGE_PAGES) before mapping what will be cut.',
})

export const cutAreas = (ioas: Ioas, points: readonly Iova[]): Result<void> => {
  for (const point of points) {
    const refusal = cutAfter(ioas, point)
    if (refusal instanceof Refusal) return refusal
  }
}

const cutAfter = (ioas: Ioas, after: Iova): Result<void> => {
  const { areas, alignment } = ioas
  const page = pageOf(after)
  const offset = offsetOf(after)
  if (!areas.seek(page, offset)) return
  const { range: area, source } = ioas.areaAtCursor()
  if (area.start >= after || area.last === after) return
  if ((areas.flags & AREA_UNMAPPING) !== 0) return refuse(CutWhileUnmapping, { after, area })
  if (source.dmaBuf !== undefined) return refuse(CutOfDmaBuf, { after, area })
  const sourceByte = areas.sourceOffset + offset + 1 - areas.firstOffset
  if ((offset + 1) % alignment !== 0 || sourceByte % alignment !== 0)
    return refuse(CutMisaligned, { after, area, alignment })
  if (areas.pins > 0) return refuse(CutWhilePinned, { after, area, pins: areas.pins })
  const held = ioas.domains.length > 0
  if (held && ioas.largePages) return refuse(CutWithLargePages, { after, area })
  if (held && ((sourceByte % PAGE) + PAGE) % PAGE !== 0) {
    // Both parts hold the page that the cut goes through.
    const slot = areas.sourcePage + page - areas.firstPage + Math.floor(sourceByte / PAGE)
    source.holdAgain(slot, slot + 1)
  }
  areas.split(page, offset)
  source.areas += 1
  const { context } = ioas
  if (context.machine.memoryObserver !== undefined)
    context.emit({ type: 'area-split', ioas: ioas.id, after })
}
