/** Sets of addresses as disjoint ranges, never changed: what is dirty, for one. */
import { OrderedMap } from './ordered-map.ts'

/** Inclusive. */
export interface Range {
  readonly start: bigint
  readonly last: bigint
}

/** By their first address; disjoint and not adjacent. */
export type RangeSet = OrderedMap<bigint, Range>

const bytes = ({ start, last }: Range): number => Number(last - start) + 1

export const noRanges: RangeSet = OrderedMap.empty<bigint, Range>(bytes)

/** The ranges that meet this one, ascending. */
export function* meeting<R extends Range>(
  set: OrderedMap<bigint, R>,
  { start, last }: Range,
): Generator<R> {
  const before = set.atOrBefore(start)
  if (before !== undefined && before.start < start && before.last >= start) yield before
  for (const range of set.values(start)) {
    if (range.start > last) return
    yield range
  }
}

export const withRange = (set: RangeSet, added: Range): RangeSet => {
  let { start, last } = added
  let result = set
  const wider = { start: start === 0n ? 0n : start - 1n, last: last + 1n }
  for (const range of meeting(set, wider)) {
    result = result.without(range.start)
    if (range.start < start) start = range.start
    if (range.last > last) last = range.last
  }
  return result.with(start, { start, last })
}

export const withoutRange = (set: RangeSet, cut: Range): RangeSet => {
  let result = set
  for (const range of meeting(set, cut)) {
    result = result.without(range.start)
    if (range.start < cut.start)
      result = result.with(range.start, { start: range.start, last: cut.start - 1n })
    if (range.last > cut.last)
      result = result.with(cut.last + 1n, { start: cut.last + 1n, last: range.last })
  }
  return result
}
