/** What is drawn of an address space: everything that is there, in a number of pieces that the window bounds. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { objectId } from '../../src/abi/brands.ts'
import { bands, CELL, layer, ticks } from '../../src/inspector/model/map-picture.ts'
import {
  addressAt,
  around,
  fractionOf,
  LEAST_SPAN,
  moved,
  nextArea,
  WHOLE,
  zoomed,
} from '../../src/inspector/model/map-view.ts'
import { newIoas } from '../../src/inspector/model/moment.ts'
import { OrderedMap } from '../../src/inspector/model/ordered-map.ts'
import type { Range } from '../../src/inspector/model/range-set.ts'

const HEIGHT = 600
const itself = (range: Range): Range => range

/** Disjoint areas, some next to each other, of very different sizes, over all 64 bits. */
const areas = fc
  .array(
    fc.tuple(
      fc.bigInt({ min: 0n, max: 0xffff_ffffn }),
      fc.integer({ min: 0, max: 32 }),
      fc.bigInt({ min: 1n, max: 0x1000n }),
    ),
    { maxLength: 60 },
  )
  .map((parts) => {
    const ranges: Range[] = []
    let next = 0n
    for (const [gap, scale, length] of parts) {
      const start = next + (gap << BigInt(scale)) / 64n
      const last = start + (length << BigInt(scale)) - 1n
      if (last > 0xffff_ffff_ffff_ffffn) break
      ranges.push({ start, last })
      next = last + 1n
    }
    return ranges
  })

const mapOf = (ranges: readonly Range[]): OrderedMap<bigint, Range> => {
  let map = OrderedMap.empty<bigint, Range>(({ start, last }) => Number(last - start) + 1)
  for (const range of ranges) map = map.with(range.start, range)
  return map
}

/** Some view: zoomed in at a place. */
const view = fc
  .tuple(fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 20 }))
  .map(([places]) => places.reduce((seen, at) => zoomed(seen, 0.2, at), WHOLE))

describe('the layer', () => {
  it('has a piece wherever something lies in view, and no more pieces than fit', () => {
    fc.assert(
      fc.property(areas, view, (ranges, seen) => {
        const frame = { view: seen, height: HEIGHT }
        const { blocks, haze } = layer(frame, mapOf(ranges), itself)
        expect(blocks.length + haze.length).toBeLessThanOrEqual((2 * HEIGHT) / CELL + 2)
        const end = seen.start + seen.span
        for (const range of ranges) {
          if (range.last < seen.start || range.start >= end) continue
          const top = fractionOf(seen, range.start) * HEIGHT
          const bottom = fractionOf(seen, range.last + 1n) * HEIGHT
          const middle = (Math.max(0, top) + Math.min(HEIGHT, bottom)) / 2
          const covered = [...blocks, ...haze].some(
            (piece) => piece.top <= middle + CELL && piece.bottom >= middle - CELL,
          )
          expect(covered, `${range.start}`).toBe(true)
        }
      }),
    )
  })

  it('shows as a block of its own what is large enough, and nothing else', () => {
    fc.assert(
      fc.property(areas, view, (ranges, seen) => {
        const frame = { view: seen, height: HEIGHT }
        const { blocks } = layer(frame, mapOf(ranges), itself)
        for (const { of, top, bottom } of blocks) {
          expect(ranges).toContain(of)
          expect(bottom - top).toBeGreaterThanOrEqual(CELL)
        }
      }),
    )
  })

  it('counts everything that it does not show by itself', () => {
    const ranges = Array.from({ length: 1000 }, (_, i) => ({
      start: BigInt(i) * 0x2000n,
      last: BigInt(i) * 0x2000n + 0xfffn,
    }))
    const { blocks, haze } = layer({ view: WHOLE, height: HEIGHT }, mapOf(ranges), itself)
    expect(blocks).toEqual([])
    expect(haze).toHaveLength(1)
    expect(haze[0]).toMatchObject({ count: 1000, weight: 1000 * 0x1000 })
  })
})

describe('the view', () => {
  it('never leaves the address space, and is never smaller than some pages', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.tuple(
            fc.constantFrom('zoom' as const, 'move' as const),
            fc.double({ min: 0.01, max: 8, noNaN: true }),
            fc.double({ min: 0, max: 1, noNaN: true }),
          ),
          { maxLength: 30 },
        ),
        (steps) => {
          let seen = WHOLE
          for (const [what, factor, at] of steps)
            seen = what === 'zoom' ? zoomed(seen, factor, at) : moved(seen, factor - 4)
          expect(seen.start).toBeGreaterThanOrEqual(0n)
          expect(seen.span).toBeGreaterThanOrEqual(LEAST_SPAN)
          expect(seen.start + seen.span).toBeLessThanOrEqual(WHOLE.span)
        },
      ),
    )
  })

  it('keeps the address under the pointer where it is', () => {
    const seen = around({ start: 0x10_0000n, last: 0x1f_ffffn })
    const under = addressAt(seen, 0.3)
    const closer = zoomed(seen, 0.5, 0.3)
    expect(Number(addressAt(closer, 0.3) - under)).toBeLessThan(2)
  })

  it('goes from area to area, and round', () => {
    const ranges = [0x1000n, 0x5000n, 0x9000n].map((start) => ({ start, last: start + 0xfffn }))
    const ioas = newIoas(objectId(1))
    let mapped = ioas.areas
    for (const range of ranges)
      mapped = mapped.with(range.start, {
        ...range,
        source: 'memory',
        readable: true,
        writable: true,
        call: 1,
        shared: 1,
      })
    const space = { ...ioas, areas: mapped }
    expect(nextArea(space, 0x1000n, 'down')?.start).toBe(0x5000n)
    expect(nextArea(space, 0x9000n, 'down')?.start).toBe(0x1000n)
    expect(nextArea(space, 0x1000n, 'up')?.start).toBe(0x9000n)
    expect(nextArea(space, -1n, 'down')?.start).toBe(0x1000n)
  })

  it('labels round addresses, none closer than asked', () => {
    fc.assert(
      fc.property(view, (seen) => {
        const marks = ticks({ view: seen, height: HEIGHT }, 40)
        expect(marks.length).toBeLessThanOrEqual(HEIGHT / 40 + 1)
        for (const { at } of marks) expect(at % 0x1000n).toBe(0n)
      }),
    )
  })

  it('joins bands that one pixel cannot tell apart', () => {
    const ranges = Array.from({ length: 500 }, (_, i) => ({
      start: BigInt(i) * 0x2000n,
      last: BigInt(i) * 0x2000n + 0xfffn,
    }))
    expect(bands({ view: WHOLE, height: HEIGHT }, ranges).length).toBeLessThanOrEqual(2)
  })
})
