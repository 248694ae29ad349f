/** What part of the 64-bit address space is looked at, and how one moves over it. */
import { MAX_U64 } from '../../abi/brands.ts'
import type { IoasState } from './moment.ts'
import type { Range } from './range-set.ts'

export interface MapView {
  readonly start: bigint
  /** Bytes shown, at most 2^64. */
  readonly span: bigint
}

export const WHOLE: MapView = { start: 0n, span: MAX_U64 + 1n }
/** Nothing is smaller than some pages. */
export const LEAST_SPAN = 0x4000n

const inside = (start: bigint, span: bigint): MapView => {
  const fits = span < LEAST_SPAN ? LEAST_SPAN : span > WHOLE.span ? WHOLE.span : span
  const highest = WHOLE.span - fits
  return { start: start < 0n ? 0n : start > highest ? highest : start, span: fits }
}

/** A fraction of a span, exact enough for a screen. */
const part = (span: bigint, fraction: number): bigint =>
  (span * BigInt(Math.round(fraction * 2 ** 30))) >> 30n

/** The address at a fraction (0 the first, 1 behind the last) of the view. */
export const addressAt = ({ start, span }: MapView, fraction: number): bigint =>
  start + part(span, fraction)

/** Where an address is, as a fraction; below 0 or above 1 when it is outside. */
export const fractionOf = ({ start, span }: MapView, address: bigint): number =>
  Number(address - start) / Number(span)

/** `factor` below 1 comes closer; the address at the fraction `at` stays where it is. */
export const zoomed = (view: MapView, factor: number, at = 0.5): MapView => {
  const span = part(view.span, factor)
  const fits = span < LEAST_SPAN ? LEAST_SPAN : span > WHOLE.span ? WHOLE.span : span
  return inside(addressAt(view, at) - part(fits, at), fits)
}

/** Moved by a fraction of what is seen. */
export const moved = (view: MapView, fraction: number): MapView =>
  inside(view.start + part(view.span, fraction), view.span)

/** The whole range with some room around it. */
export const around = ({ start, last }: Range): MapView => {
  const length = last - start + 1n
  const room = length / 8n + 0x1000n
  return inside(start - room, length + 2n * room)
}

/** Of the same size, with the address in the middle. */
export const centred = (view: MapView, address: bigint, span = view.span): MapView =>
  inside(address - span / 2n, span)

/** Everything that is mapped in some address spaces; where nothing is, the whole. */
export const fitting = (spaces: readonly IoasState[]): MapView => {
  let start: bigint | undefined
  let last = 0n
  for (const { areas } of spaces) {
    const lowest = areas.atOrAfter(0n)
    const highest = areas.atOrBefore(MAX_U64)
    if (lowest === undefined || highest === undefined) continue
    if (start === undefined || lowest.start < start) start = lowest.start
    if (highest.last > last) last = highest.last
  }
  return start === undefined ? WHOLE : around({ start, last })
}

/** The area after or before an address; behind the last one the first, and so round. */
export const nextArea = (
  { areas }: IoasState,
  from: bigint,
  direction: 'up' | 'down',
): Range | undefined => {
  if (direction === 'down') return areas.atOrAfter(from + 1n) ?? areas.atOrAfter(0n)
  const before = from === 0n ? undefined : areas.atOrBefore(from - 1n)
  return before ?? areas.atOrBefore(MAX_U64)
}
