/** What a device worker is told of frames leads to the memory that the engine has them in. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { physAddr } from '../../src/abi/brands.ts'
import { DmaChanges } from '../../src/engine/dma-changes.ts'
import { FrameTable } from '../../src/engine/frames.ts'
import { addressIn, framesOf, placeOfFrame } from '../../src/host/frame-place.ts'
import { MemoryObject, type PagePlace } from '../../src/host/page-objects.ts'

const PAGE = 4096

/** Memory of a process that maps pages [first, end) of the object at an address. */
const objectAt = (contiguity: number, places: readonly PagePlace[]): MemoryObject => {
  const object = new MemoryObject('test memory', contiguity)
  for (const place of places)
    object.reachedBy({
      place: (page) => (page >= place.firstPage && page < place.endPage ? place : undefined),
      read: (_page, _offset, into) => into.fill(7) !== undefined,
      write: () => true,
    })
  return object
}

const range = fc.tuple(fc.nat(2000), fc.nat(300)).map(([page, more]) => ({ page, count: more + 1 }))

test('every page of an extent is found where its memory is, huge pages too', () => {
  const pins = fc.record({
    contiguity: fc.constantFrom(1, 512),
    ranges: fc.array(range, { minLength: 1, maxLength: 8 }),
    cut: fc.nat(2300),
  })
  fc.assert(
    fc.property(pins, ({ contiguity, ranges, cut }) => {
      // Two mappings of one object, at addresses that have nothing to do with each other.
      const object = objectAt(contiguity, [
        { descriptor: 5, process: 50, address: 0x7000_0000, firstPage: 0, endPage: cut },
        { descriptor: 6, process: 60, address: 0x1_2000_0000, firstPage: cut, endPage: 4000 },
      ])
      const frames = new FrameTable()
      for (const run of ranges) frames.pin({ object, ...run })
      for (const { page: first, count } of ranges)
        for (let page = first; page < first + count; page++) {
          const phys = frames.physOf(object, page) ?? physAddr(0n)
          const extent = frames.extentAt(phys)
          const frame = Number(phys >> 12n)
          const place = extent && placeOfFrame(extent, frame)
          if (place === undefined) throw new Error(`page ${page} has no place`)
          const expected =
            page < cut
              ? [5, 50, 0x7000_0000 + page * PAGE]
              : [6, 60, 0x1_2000_0000 + (page - cut) * PAGE]
          expect([place.descriptor, place.process, addressIn(place, frame)]).toEqual(expected)
          const { start, end } = framesOf(place)
          expect(frame).toBeGreaterThanOrEqual(start)
          expect(frame).toBeLessThan(end)
          expect(addressIn(place, start - 1)).toBeUndefined()
          expect(addressIn(place, end)).toBeUndefined()
        }
    }),
    { numRuns: 25 },
  )
})

test('pages that were saved have no place, and their neighbours only one of their own', () => {
  const object = objectAt(1, [
    { descriptor: 5, process: 50, address: 0x7000_0000, firstPage: 0, endPage: 100 },
  ])
  const frames = new FrameTable()
  frames.pin({ object, page: 10, count: 10 })
  object.hold(10, 10)
  object.save(12, 14)
  const placeOf = (page: number) => {
    const phys = frames.physOf(object, page) ?? physAddr(0n)
    const extent = frames.extentAt(phys)
    return extent && placeOfFrame(extent, Number(phys >> 12n))
  }
  expect(placeOf(12)).toBeUndefined()
  expect(placeOf(13)).toBeUndefined()
  expect(placeOf(11)).toMatchObject({ pages: 1, address: 0x7000_0000 + 11 * PAGE })
  object.unsave()
  expect(placeOf(12)?.pages).toBeGreaterThan(2)
})

test('an extent that is given up is named, when its last pin goes', () => {
  const freed: number[] = []
  const changes = new DmaChanges()
  changes.follow({
    unmapped: () => {},
    translationChanged: () => {},
    framesFreed: (first) => freed.push(first),
  })
  const frames = new FrameTable(changes)
  const object = objectAt(1, [])
  frames.pin({ object, page: 0, count: 2 })
  const frame = Number((frames.physOf(object, 0) ?? 0n) >> 12n)
  frames.unpin({ object, page: 0, count: 1 })
  expect(freed).toEqual([])
  frames.unpin({ object, page: 1, count: 1 })
  expect(freed).toEqual([frame])
})
