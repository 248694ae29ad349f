/**
 * What is drawn of an address space: as much as fits the pixels, however much is mapped. Each row of
 * CELL pixels is either part of something large enough to be seen by itself, or a haze that tells how
 * much lies there. So the work is bounded by the height of the picture.
 */
import { addressAt, fractionOf, type MapView } from './map-view.ts'
import type { IoasState } from './moment.ts'
import { EVERYWHERE } from './moment.ts'
import type { OrderedMap } from './ordered-map.ts'
import type { Range } from './range-set.ts'

/** Something large enough to be seen by itself; pixels from the top. */
export interface Block<V> {
  readonly of: V
  readonly top: number
  readonly bottom: number
}

/** Many small things in a few pixels. */
export interface Haze {
  readonly top: number
  readonly bottom: number
  readonly count: number
  /** Sum of their weights. */
  readonly weight: number
  readonly range: Range
}

export interface Layer<V> {
  readonly blocks: readonly Block<V>[]
  readonly haze: readonly Haze[]
}

export const CELL = 3

export interface Frame {
  readonly view: MapView
  /** Pixels. */
  readonly height: number
}

const pixel = ({ view, height }: Frame, address: bigint): number =>
  Math.max(-4, Math.min(height + 4, fractionOf(view, address) * height))

/** The visible part of disjoint things that are ordered by their first address. */
export const layer = <V>(
  frame: Frame,
  things: OrderedMap<bigint, V>,
  rangeOf: (thing: V) => Range,
): Layer<V> => {
  const { view, height } = frame
  const end = view.start + view.span
  const blocks: Block<V>[] = []
  const haze: Haze[] = []
  const before = things.atOrBefore(view.start)
  let next =
    before !== undefined && rangeOf(before).last >= view.start
      ? before
      : things.atOrAfter(view.start)
  while (next !== undefined) {
    const { start, last } = rangeOf(next)
    if (start >= end) break
    const top = pixel(frame, start)
    const bottom = pixel(frame, last + 1n)
    if (bottom - top >= CELL) {
      blocks.push({ of: next, top, bottom })
      next = things.atOrAfter(last + 1n)
      continue
    }
    const cell = Math.floor(Math.max(0, top) / CELL)
    const cellEnd = addressAt(view, Math.min(1, ((cell + 1) * CELL) / height))
    // What begins in this cell, but what is large enough by itself, which begins a block.
    const upTo = cellEnd > last ? cellEnd - 1n : last
    const sum = things.sum(start, upTo)
    haze.push({
      top: cell * CELL,
      bottom: (cell + 1) * CELL,
      ...sum,
      range: { start, last: upTo },
    })
    const latest = things.atOrBefore(upTo)
    if (latest !== undefined) {
      const range = rangeOf(latest)
      const end = pixel(frame, range.last + 1n)
      if (range.start > start && end - pixel(frame, range.start) >= CELL)
        blocks.push({ of: latest, top: pixel(frame, range.start), bottom: end })
      next = things.atOrAfter(range.last > upTo ? range.last + 1n : upTo + 1n)
    } else next = things.atOrAfter(upTo + 1n)
  }
  return { blocks, haze }
}

/** Ranges from a short list, as bands in pixels. */
export const bands = (frame: Frame, ranges: readonly Range[]): readonly Block<Range>[] => {
  const { view } = frame
  const end = view.start + view.span
  const seen: Block<Range>[] = []
  let bottomBefore = -1
  for (const range of ranges) {
    if (range.last < view.start || range.start >= end) continue
    const top = Math.floor(pixel(frame, range.start))
    const bottom = Math.max(top + 1, Math.ceil(pixel(frame, range.last + 1n)))
    // Several within one pixel are one.
    if (bottom <= bottomBefore) continue
    seen.push({ of: range, top, bottom })
    bottomBefore = bottom
  }
  return seen
}

/** What cannot be mapped: everything between the usable ranges. */
export const reservedRanges = ({ usable }: IoasState): readonly Range[] => {
  const reserved: Range[] = []
  let next = 0n
  for (const { start, last } of usable) {
    if (start > next) reserved.push({ start: next, last: start - 1n })
    next = last + 1n
  }
  if (next <= EVERYWHERE.last) reserved.push({ start: next, last: EVERYWHERE.last })
  return reserved
}

/** Round addresses to label, far enough apart for `room` pixels each. */
export const ticks = (frame: Frame, room: number): readonly { at: bigint; y: number }[] => {
  const { view, height } = frame
  const wanted = addressAt(view, Math.min(1, room / height)) - view.start
  let step = 0x1000n
  while (step < wanted) step *= 2n
  const all: { at: bigint; y: number }[] = []
  const end = view.start + view.span
  for (let at = ((view.start + step - 1n) / step) * step; at < end; at += step)
    all.push({ at, y: fractionOf(view, at) * height })
  return all
}
