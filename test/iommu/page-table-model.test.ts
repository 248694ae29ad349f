/** The table against a plain map of pages: whatever is mapped and unmapped, the words say the same. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { byteLength, iova, physAddr } from '../../src/abi/brands.ts'
import { Refusal } from '../../src/engine/reason.ts'
import {
  amdv1,
  amdv1Geometry,
  amdv1Mock,
  amdv1MockGeometry,
} from '../../src/iommu/formats/amdv1.ts'
import { PageTable } from '../../src/iommu/page-table.ts'
import type { TableFormat, TableGeometry } from '../../src/iommu/table-format.ts'
import { TableMemory } from '../../src/iommu/table-memory.ts'

const RW = { read: true, write: true, mmio: false }

const kinds: { name: string; format: TableFormat; geometry: TableGeometry }[] = [
  { name: 'AMDv1', format: amdv1, geometry: amdv1Geometry(64) },
  { name: 'mock', format: amdv1Mock, geometry: amdv1MockGeometry(0x1ffffff800n) },
  { name: 'mock huge', format: amdv1Mock, geometry: amdv1MockGeometry(0x101000n) },
]

/** Runs are placed so that they meet, cross table borders and allow leaves of several sizes. */
const run = fc.record({
  page: fc.oneof(fc.nat(3000), fc.integer({ min: 512 * 512 - 40, max: 512 * 512 + 40 })),
  frame: fc.oneof(fc.nat(5000), fc.constantFrom(0x10000, 0x40000, 0x40200)),
  pages: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 2500 })),
})

describe.each(kinds)('a $name table equals a map of pages', ({ format, geometry }) => {
  it('for any runs mapped and unmapped again, and gives back what it took', () => {
    fc.assert(
      fc.property(fc.array(run, { maxLength: 12 }), fc.infiniteStream(fc.nat()), (runs, picks) => {
        const memory = new TableMemory()
        const table = new PageTable(format, geometry, memory)
        const model = new Map<number, number>()
        const live: typeof runs = []
        const check = (page: number): void => {
          const at = BigInt(page) * 4096n
          const frame = model.get(page)
          const expected = frame === undefined ? undefined : BigInt(frame) * 4096n + 0x123n
          expect(table.iovaToPhys(iova(at + 0x123n))).toBe(expected)
        }
        for (const one of runs) {
          const { page, frame, pages } = one
          let free = true
          for (let n = 0; n < pages && free; n++) free = !model.has(page + n)
          const result = table.map(
            iova(BigInt(page) * 4096n),
            physAddr(BigInt(frame) * 4096n),
            byteLength(BigInt(pages) * 4096n),
            RW,
          )
          expect(result instanceof Refusal).toBe(!free)
          if (free) {
            live.push(one)
            for (let n = 0; n < pages; n++) model.set(page + n, frame + n)
          }
          for (const probe of [page - 1, page, page + (pages >> 1), page + pages - 1, page + pages])
            if (probe >= 0) check(probe)
        }
        while (live.length > 0) {
          const [gone] = live.splice((picks.next().value ?? 0) % live.length, 1)
          if (gone === undefined) break
          const length = byteLength(BigInt(gone.pages) * 4096n)
          expect(table.unmap(iova(BigInt(gone.page) * 4096n), length)).toBe(length)
          for (let n = 0; n < gone.pages; n++) model.delete(gone.page + n)
          for (const probe of [gone.page - 1, gone.page, gone.page + gone.pages])
            if (probe >= 0) check(probe)
        }
        table.free()
        expect(memory.usedBytes).toBe(0)
      }),
      { numRuns: 150 },
    )
  })
})
