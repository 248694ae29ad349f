/** The ordered store of areas against a plain sorted list, with the IOVA rule of 01 §12.3 step 7. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { AREA_READABLE } from '../../src/engine/area-cursor.ts'
import { RoomRequest } from '../../src/engine/area-room.ts'
import { AreaTree } from '../../src/engine/area-tree.ts'
import { addressOf, offsetOf, pageOf } from '../../src/engine/page-address.ts'
import type { PageSource } from '../../src/engine/page-source.ts'

const source = {} as PageSource

interface Area {
  first: bigint
  last: bigint
}

class Model {
  readonly areas: Area[] = []

  overlapping(first: bigint, last: bigint): Area | undefined {
    return this.areas.find((area) => area.first <= last && area.last >= first)
  }

  add(area: Area): void {
    this.areas.push(area)
    this.areas.sort((a, b) => (a.first < b.first ? -1 : 1))
  }

  /** 01 §12.3 step 7 within one window, word for word. */
  room(shift: number, or: bigint, length: bigint, start: bigint, end: bigint): bigint | undefined {
    const align = 1n << BigInt(shift)
    const place = (first: bigint, last: bigint): bigint | undefined => {
      const t = (((first + align - 1n) / align) * align) | or
      return t < last && last - t >= length - 1n ? t : undefined
    }
    let from = start
    for (const area of [...this.areas, { first: end + 1n, last: end + 1n }]) {
      if (area.last < start) continue
      if (area.first > from) {
        const last = area.first - 1n < end ? area.first - 1n : end
        if (from <= last) {
          const t = place(from, last)
          if (t !== undefined) return t
        }
      }
      if (area.last + 1n > from) from = area.last + 1n
    }
    return undefined
  }
}

const insert = (tree: AreaTree, area: Area): void => {
  tree.seek(pageOf(area.first), offsetOf(area.first))
  tree.insert(
    pageOf(area.first),
    offsetOf(area.first),
    pageOf(area.last),
    offsetOf(area.last),
    source,
    0,
    0,
    AREA_READABLE,
  )
}

const all = (tree: AreaTree): Area[] => {
  const areas: Area[] = []
  for (let more = tree.seek(0, 0); more; more = tree.next())
    areas.push({
      first: addressOf(tree.firstPage, tree.firstOffset),
      last: addressOf(tree.lastPage, tree.lastOffset),
    })
  return areas
}

/** Bases near 0, in the middle and at the very end of the address space; many collide and adjoin. */
const address = fc.tuple(
  fc.constantFrom(0n, 0x10_0000n, 0x7fff_ffff_0000n, 0xffff_ffff_fff0_0000n),
  fc.oneof(
    fc.bigInt({ min: 0n, max: 0x1ffn }).map((page) => page * 0x800n),
    fc.bigInt({ min: 0n, max: 0xf_ffffn }),
  ),
)

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('insert' as const),
      at: address,
      length: fc.constantFrom(1n, 2n, 0x10n, 0x800n, 0x1000n, 0x3000n, 0x2_0000n),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('remove' as const), at: address }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('split' as const), at: address }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('room' as const),
      shift: fc.integer({ min: 0, max: 21 }),
      or: fc.integer({ min: 0, max: 4095 }),
      length: fc.constantFrom(1n, 2n, 0x10n, 0x800n, 0x1000n, 0x1001n, 0x5000n, 0x20_0000n),
      window: fc.tuple(address, address),
    }),
  },
)

describe('the area store', () => {
  test('agrees with a sorted list', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 1500, size: 'max' }), (steps) => {
        const tree = new AreaTree()
        const model = new Model()
        for (const what of steps) {
          if (what.do === 'insert') {
            const first = what.at[0] + what.at[1]
            const last = first + what.length - 1n
            if (last > 0xffff_ffff_ffff_ffffn) continue
            const hit = model.overlapping(first, last)
            const found = tree.seek(pageOf(first), offsetOf(first))
            const overlaps = found && addressOf(tree.firstPage, tree.firstOffset) <= last
            expect(overlaps).toBe(hit !== undefined)
            if (hit !== undefined) continue
            insert(tree, { first, last })
            expect(addressOf(tree.firstPage, tree.firstOffset)).toBe(first)
            model.add({ first, last })
          } else if (what.do === 'remove') {
            const at = what.at[0] + what.at[1]
            const index = model.areas.findIndex((area) => area.last >= at)
            expect(tree.seek(pageOf(at), offsetOf(at))).toBe(index >= 0)
            if (index < 0) continue
            tree.remove()
            model.areas.splice(index, 1)
          } else if (what.do === 'split') {
            const at = what.at[0] + what.at[1]
            const area = model.areas.find((one) => one.first <= at && one.last > at)
            if (area === undefined) continue
            tree.seek(pageOf(at), offsetOf(at))
            tree.split(pageOf(at), offsetOf(at))
            expect(addressOf(tree.lastPage, tree.lastOffset)).toBe(at)
            model.add({ first: at + 1n, last: area.last })
            area.last = at
          } else {
            const one = what.window[0][0] + what.window[0][1]
            const other = what.window[1][0] + what.window[1][1]
            const [start, end] = one < other ? [one, other] : [other, one]
            const or = what.shift < 12 ? (what.or >> what.shift) << what.shift : 0
            const span = what.length - 1n
            const request = new RoomRequest(what.shift, or, pageOf(span), offsetOf(span))
            const found = tree.findRoom(
              request,
              pageOf(start),
              offsetOf(start),
              pageOf(end),
              offsetOf(end),
            )
            expect(found ? addressOf(request.page, request.pageOffset) : undefined).toBe(
              model.room(what.shift, BigInt(or), what.length, start, end),
            )
          }
        }
        expect(all(tree)).toEqual(model.areas)
        expect(tree.size).toBe(model.areas.length)
        for (let shift = 0; shift <= 12; shift += 1) {
          const mask = (1n << BigInt(shift)) - 1n
          expect(tree.conforms(shift)).toBe(
            all(tree).every((area) => ((area.first | (area.last + 1n)) & mask) === 0n),
          )
        }
      }),
      { numRuns: 60 },
    )
  })

  test('stays right through thousands of areas, up and down', () => {
    const tree = new AreaTree()
    const model = new Model()
    const spread = (i: number): bigint => BigInt((i * 7919) % 20011) * 0x3000n
    for (let i = 0; i < 20011; i += 1) insert(tree, { first: spread(i), last: spread(i) + 0xfffn })
    expect(tree.size).toBe(20011)
    const request = new RoomRequest(12, 0, 1, 0xfff)
    expect(tree.findRoom(request, 1, 0, 2 ** 40, 0)).toBe(true)
    expect(addressOf(request.page, request.pageOffset)).toBe(0x1000n)
    const big = new RoomRequest(12, 0, 2, 0)
    expect(tree.findRoom(big, 1, 0, 2 ** 40, 0)).toBe(true)
    expect(addressOf(big.page, big.pageOffset)).toBe(20010n * 0x3000n + 0x1000n)
    for (let i = 0; i < 20000; i += 1) {
      expect(tree.seek(pageOf(spread(i)), 0)).toBe(true)
      tree.remove()
    }
    for (let i = 20000; i < 20011; i += 1) model.add({ first: spread(i), last: spread(i) + 0xfffn })
    expect(all(tree)).toEqual(model.areas)
  })
})
