/** Physical frames and counts per page, against maps with one entry per page (05 §A.9). */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { physAddr } from '../../src/abi/brands.ts'
import { FrameTable } from '../../src/engine/frames.ts'
import { PageCounts } from '../../src/engine/page-counts.ts'
import { PhysicalMemory } from '../../src/engine/physical-memory.ts'
import type { PageObject } from '../../src/engine/ports.ts'

class Pages implements PageObject {
  readonly name = 'pages'
  readonly contiguity: number
  readonly bytes = new Map<number, number>()

  constructor(contiguity: number) {
    this.contiguity = contiguity
  }

  read(page: number, offset: number, into: Uint8Array): boolean {
    for (let i = 0; i < into.length; i += 1) into[i] = this.bytes.get(page * 4096 + offset + i) ?? 0
    return true
  }

  write(page: number, offset: number, bytes: Uint8Array): boolean {
    for (const [i, byte] of bytes.entries()) this.bytes.set(page * 4096 + offset + i, byte)
    return true
  }
}

const range = fc.tuple(fc.nat(3000), fc.oneof(fc.integer({ min: 1, max: 4 }), fc.nat(600)))

test('PageCounts agrees with a count per page, and tells where it begins and ends', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(range, fc.nat(4)), { maxLength: 700, size: 'max' }), (steps) => {
      const counts = new PageCounts()
      const model = new Map<number, number>()
      const held: (readonly [number, number])[] = []
      for (const [[start, length], choice] of steps) {
        if (choice === 0 && held.length > 0) {
          const [[from, to]] = held.splice(start % held.length, 1) as [[number, number]]
          const freed: number[] = []
          for (let page = from; page < to; page += 1) {
            const left = (model.get(page) ?? 0) - 1
            if (left > 0) model.set(page, left)
            else {
              model.delete(page)
              freed.push(page)
            }
          }
          expect(pagesOf(counts.remove(from, to))).toEqual(freed)
        } else {
          const end = start + Math.max(1, length)
          const fresh: number[] = []
          for (let page = start; page < end; page += 1) if (!model.has(page)) fresh.push(page)
          expect(pagesOf(counts.free(start, end))).toEqual(fresh)
          expect(pagesOf(counts.add(start, end))).toEqual(fresh)
          for (let page = start; page < end; page += 1) model.set(page, (model.get(page) ?? 0) + 1)
          held.push([start, end])
        }
      }
      for (const page of [0, 1, 7, 500, 1500, 3599])
        expect(counts.of(page)).toBe(model.get(page) ?? 0)
      let pages = 0
      for (const { start, end, count } of counts) {
        pages += end - start
        expect(model.get(start)).toBe(count)
        expect(model.get(end - 1)).toBe(count)
      }
      expect(pages).toBe(model.size)
      for (const [from, to] of held) counts.remove(from, to)
      expect(counts.isEmpty).toBe(true)
    }),
    { numRuns: 15 },
  )
})

const pagesOf = (ranges: readonly (readonly [number, number])[]): number[] =>
  ranges.flatMap(([from, to]) => Array.from({ length: to - from }, (_, i) => from + i))

describe('frames', () => {
  test('every pinned page has a frame of its own that leads back to it', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(range, fc.nat(1), fc.nat(3)), { maxLength: 60 }), (steps) => {
        const frames = new FrameTable()
        const objects = [new Pages(1), new Pages(512)] as const
        const held: { object: Pages; page: number; count: number }[] = []
        for (const [[page, count], which, choice] of steps) {
          const released =
            choice === 0 ? held.splice(page % Math.max(1, held.length), 1)[0] : undefined
          if (released !== undefined) frames.unpin(released)
          else {
            const run = { object: objects[which] as Pages, page, count: count + 1 }
            frames.pin(run)
            held.push(run)
          }
          const seen = new Map<bigint, string>()
          for (const { object, page: first, count: pages } of held)
            for (const one of new Set([first, first + pages - 1, first + (pages >> 1)])) {
              const phys = frames.physOf(object, one) ?? 0n
              const name = `${object.contiguity}:${one}`
              expect(seen.get(phys) ?? name).toBe(name)
              seen.set(phys, name)
              expect(frames.at(physAddr(phys + 0x123n))).toMatchObject({
                object,
                page: one,
                offset: 0x123,
              })
            }
        }
        for (const run of held) frames.unpin(run)
        expect(frames.isEmpty).toBe(true)
      }),
      { numRuns: 60 },
    )
  })

  test('neighbours are neighbours only within a huge page', () => {
    const frames = new FrameTable()
    const stretches = (object: Pages): [number, number][] => {
      const found: [number, number][] = []
      frames.pin({ object, page: 0, count: 1024 })
      frames.forEachEven({ object, page: 1, count: 1023 }, (_frame, _page, count, spacing) => {
        found.push([count, spacing])
        return true
      })
      return found
    }
    expect(stretches(new Pages(512))).toEqual([
      [511, 1],
      [512, 1],
    ])
    expect(stretches(new Pages(1))).toEqual([[1023, 2]])
  })

  test('DMA crosses from page to page where memory is consecutive, and stops where it is not', () => {
    const frames = new FrameTable()
    const memory = new PhysicalMemory(frames)
    const huge = new Pages(512)
    frames.pin({ object: huge, page: 512, count: 512 })
    const phys = frames.physOf(huge, 512) ?? physAddr(0n)
    const bytes = Uint8Array.from({ length: 5000 }, (_, i) => i)
    expect(memory.write(physAddr(phys + 0xff0n), bytes)).toBe(true)
    const back = new Uint8Array(5000)
    expect(memory.read(physAddr(phys + 0xff0n), back)).toBe(true)
    expect(back).toEqual(bytes)
    expect(memory.write(physAddr(phys + 0x1f_ff00n), bytes)).toBe(false)
    frames.unpin({ object: huge, page: 512, count: 512 })
    expect(memory.read(phys, back)).toBe(false)
  })

  test('a device has addresses without pins', () => {
    const frames = new FrameTable()
    const object = new Pages(4)
    frames.pin({ object, page: 0, count: 4 }, 'mmio')
    expect(frames.pinsOf(object, 0)).toBe(0)
    expect(frames.physOf(object, 3)).toBe((frames.physOf(object, 0) ?? 0n) + 0x3000n)
  })
})
