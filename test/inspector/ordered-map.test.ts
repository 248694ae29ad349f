/** The map that is never changed, against one that is. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { OrderedMap } from '../../src/inspector/model/ordered-map.ts'
import { noRanges, withoutRange, withRange } from '../../src/inspector/model/range-set.ts'

const key = fc.bigInt({ min: 0n, max: 60n })
const change = fc.record({ put: fc.boolean(), key, value: fc.integer({ min: 1, max: 9 }) })

const sorted = (map: ReadonlyMap<bigint, number>): [bigint, number][] =>
  [...map].sort(([a], [b]) => (a < b ? -1 : 1))

it('has what was put and not taken away, finds neighbours, and adds up ranges', () => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 120 }), key, key, (changes, one, other) => {
      let map = OrderedMap.empty<bigint, number>((value) => value)
      const model = new Map<bigint, number>()
      for (const { put, key: at, value } of changes)
        if (put) {
          map = map.with(at, value)
          model.set(at, value)
        } else {
          map = map.without(at)
          model.delete(at)
        }
      const entries = sorted(model)
      expect([...map.values()]).toEqual(entries.map(([, value]) => value))
      expect(map.size).toBe(model.size)
      expect(map.get(one)).toBe(model.get(one))
      expect(map.atOrBefore(one)).toBe(entries.filter(([at]) => at <= one).at(-1)?.[1])
      expect(map.atOrAfter(one)).toBe(entries.find(([at]) => at >= one)?.[1])
      expect([...map.values(one)]).toEqual(
        entries.filter(([at]) => at >= one).map(([, value]) => value),
      )
      const within = entries.filter(([at]) => at >= one && at <= other)
      expect(map.sum(one, other)).toEqual({
        count: within.length,
        weight: within.reduce((sum, [, value]) => sum + value, 0),
      })
    }),
  )
})

it('leaves the map as it was that it was made from', () => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 60 }), (changes) => {
      let map = OrderedMap.empty<bigint, number>()
      const before: { map: typeof map; values: number[] }[] = []
      for (const { put, key: at, value } of changes) {
        before.push({ map, values: [...map.values()] })
        map = put ? map.with(at, value) : map.without(at)
      }
      for (const { map: old, values } of before) expect([...old.values()]).toEqual(values)
    }),
  )
})

it('does not degenerate, which would overflow the stack, when entries come in order', () => {
  let map = OrderedMap.empty<number, number>()
  for (let i = 0; i < 100_000; i++) map = map.with(i, i)
  for (let i = 0; i < 99_000; i++) map = map.without(i)
  expect(map.size).toBe(1000)
  expect(map.atOrAfter(0)).toBe(99_000)
})

it('keeps ranges disjoint and apart, as a set of addresses would be', () => {
  const range = fc
    .tuple(fc.bigInt({ min: 0n, max: 60n }), fc.bigInt({ min: 0n, max: 12n }))
    .map(([start, length]) => ({ start, last: start + length }))
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), range), { maxLength: 40 }), (changes) => {
      let set = noRanges
      const model = new Set<bigint>()
      for (const [add, { start, last }] of changes) {
        set = add ? withRange(set, { start, last }) : withoutRange(set, { start, last })
        for (let at = start; at <= last; at++)
          if (add) model.add(at)
          else model.delete(at)
      }
      const ranges = [...set.values()]
      const addresses = ranges.flatMap(({ start, last }) =>
        Array.from({ length: Number(last - start) + 1 }, (_, i) => start + BigInt(i)),
      )
      expect(addresses).toEqual([...model].sort((a, b) => (a < b ? -1 : 1)))
      for (const [index, { start }] of ranges.entries())
        expect(index === 0 || start > (ranges[index - 1]?.last ?? 0n) + 1n).toBe(true)
    }),
  )
})
