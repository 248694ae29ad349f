/** Finding the first gap that takes a request, down from any part of the area store (01 §12.3 step 7). */
import type { Inner } from './area-node.ts'
import type { RoomRequest } from './area-room.ts'
import type { AreaRows } from './area-rows.ts'
import { PAGE } from './page-address.ts'

/** Found; not here, look further; or past the window's end. */
export type Look = 'found' | 'not-here' | 'past'

/** Where a window ends (inclusive). */
export interface WindowEnd {
  readonly page: number
  readonly offset: number
}

/** The gap behind (lastPage, lastOffset) and before (nextPage, nextOffset), as far as the window goes. */
export const lookBetween = (
  request: RoomRequest,
  end: WindowEnd,
  lastPage: number,
  lastOffset: number,
  nextPage: number,
  nextOffset: number,
): Look => {
  const atPageEnd = lastOffset === PAGE - 1
  const startPage = atPageEnd ? lastPage + 1 : lastPage
  const startOffset = atPageEnd ? 0 : lastOffset + 1
  if (startPage > end.page || (startPage === end.page && startOffset > end.offset)) return 'past'
  const gapPage = nextOffset === 0 ? nextPage - 1 : nextPage
  const gapOffset = nextOffset === 0 ? PAGE - 1 : nextOffset - 1
  const clipped = gapPage > end.page || (gapPage === end.page && gapOffset > end.offset)
  return request.fits(
    startPage,
    startOffset,
    clipped ? end.page : gapPage,
    clipped ? end.offset : gapOffset,
  )
    ? 'found'
    : 'not-here'
}

/** The gaps of a leaf before the rows from a position on. */
export const lookInLeaf = (
  request: RoomRequest,
  end: WindowEnd,
  rows: AreaRows,
  leaf: number,
  from: number,
): Look => {
  const count = rows.count(leaf)
  if (from >= count) return 'not-here'
  let row = rows.row(leaf, from - 1)
  for (let position = from; position < count; position += 1) {
    const next = rows.row(leaf, position)
    const look = lookBetween(
      request,
      end,
      rows.lastPage(row),
      rows.lastOffset(row),
      rows.firstPage(next),
      rows.firstOffset(next),
    )
    if (look !== 'not-here') return look
    row = next
  }
  return 'not-here'
}

/** The gaps below and before the children of a node from an index on. */
export const lookInInner = (
  request: RoomRequest,
  end: WindowEnd,
  rows: AreaRows,
  inner: Inner,
  from: number,
): Look => {
  const { shift, offset, atLeast } = request
  const aligned = inner.roomsFor(shift, 0)
  // With a sub-page offset the room without it is only a bound, but one that is known more often.
  const exact = offset === 0 ? aligned : inner.roomsFor(shift, offset)
  for (let index = from; index < inner.count; index += 1) {
    if (
      inner.before(aligned, index) >= atLeast &&
      (exact === aligned || inner.before(exact, index) >= atLeast)
    ) {
      const look = lookBetween(
        request,
        end,
        inner.lastPages[index - 1] as number,
        inner.lastOffsets[index - 1] as number,
        inner.firstPages[index] as number,
        inner.firstOffsets[index] as number,
      )
      if (look !== 'not-here') return look
    }
    if (inner.inside(aligned, index) < atLeast) continue
    if (exact !== aligned && inner.inside(exact, index) < atLeast) continue
    const child = inner.children[index]
    const look =
      typeof child === 'number'
        ? lookInLeaf(request, end, rows, child, 1)
        : lookInInner(request, end, rows, child as Inner, 0)
    if (look !== 'not-here') return look
  }
  return 'not-here'
}
