/** Mapping evenly scattered pages in one call writes the same words as one call for each page. */
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
import { armGeometry, armStage1 } from '../../src/iommu/formats/arm-lpae.ts'
import { LpaeTable } from '../../src/iommu/lpae-table.ts'
import { PageTable } from '../../src/iommu/page-table.ts'
import { memory } from './play.ts'

const RW = { read: true, write: true, mmio: false }
const PAGE = 4096n

const tables = [
  { name: 'AMDv1', make: () => new PageTable(amdv1, amdv1Geometry(64), memory()) },
  {
    name: 'mock',
    make: () => new PageTable(amdv1Mock, amdv1MockGeometry(0x1ffffff800n), memory()),
  },
  {
    name: 'mock huge',
    make: () => new PageTable(amdv1Mock, amdv1MockGeometry(0x101000n), memory()),
  },
  {
    name: 'ARM',
    make: () =>
      new LpaeTable(
        armStage1({ granuleShift: 12, outputBits: 48, dirty: false }),
        armGeometry(1, 12, 48, 48),
        memory(),
      ),
  },
]

describe.each(tables)('$name', ({ name, make }) => {
  it('one call or many: the same tables, the same refusals', () => {
    fc.assert(
      fc.property(
        fc.record({
          first: fc.integer({ min: 500, max: 520 }),
          count: fc.integer({ min: 1, max: 1100 }),
          frame: fc.integer({ min: 1, max: 5000 }),
          spacing: fc.integer({ min: 1, max: 4 }),
          half: fc.boolean(),
          taken: fc.option(fc.integer({ min: 400, max: 1700 }), { nil: undefined }),
        }),
        ({ first, count, frame, spacing, half, taken }) => {
          // Only the mock's default table has pages below 4 KiB.
          const shift = half && name === 'mock' ? 0x800n : 0n
          const start = BigInt(first) * PAGE + shift
          const phys = BigInt(frame) * PAGE
          const apart = BigInt(spacing) * PAGE
          const one = make()
          const many = make()
          for (const table of [one, many])
            if (taken !== undefined)
              table.map(iova(BigInt(taken) * PAGE), physAddr(PAGE), byteLength(PAGE), RW)
          const whole = one.mapSpaced(iova(start), physAddr(phys), byteLength(apart), count, RW)
          let refusal: Refusal | undefined
          for (let n = 0n; n < BigInt(count) && refusal === undefined; n++) {
            const result = many.map(
              iova(start + n * PAGE),
              physAddr(phys + n * apart),
              byteLength(PAGE),
              RW,
            )
            if (result instanceof Refusal) refusal = result
          }
          if (refusal !== undefined) {
            expect(whole instanceof Refusal && whole.code).toBe(refusal.code)
            // All or nothing: what was mapped before is all there is.
            for (let n = 0; n < count; n++)
              if (taken !== undefined && first + n !== taken && first + n + 1 !== taken)
                expect(one.iovaToPhys(iova(start + BigInt(n) * PAGE))).toBeUndefined()
            return
          }
          expect(whole).toBeUndefined()
          for (const n of [0n, BigInt(count >> 1), BigInt(count - 1)])
            for (const inside of [0n, 0x800n]) {
              const at = iova(start + n * PAGE + inside)
              expect(one.walk(at)).toEqual(many.walk(at))
              expect(one.iovaToPhys(at)).toBe(phys + n * apart + inside)
            }
          expect(one.iovaToPhys(iova(start + BigInt(count) * PAGE + 0x1000n))).toBe(
            many.iovaToPhys(iova(start + BigInt(count) * PAGE + 0x1000n)),
          )
        },
      ),
      { numRuns: 100 },
    )
  })
})
