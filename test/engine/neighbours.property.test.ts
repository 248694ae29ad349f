/** The nearest mappings around an IOVA, against a list that is searched from end to end. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { byteLength, iova, objectId } from '../../src/abi/brands.ts'
import { IOMMU_IOAS_ALLOC, IOMMU_IOAS_MAP, IOMMU_IOAS_UNMAP } from '../../src/abi/iommufd/ioas.ts'
import { Ioas } from '../../src/engine/ioas.ts'
import { Machine } from '../../src/engine/machine.ts'
import { Refusal } from '../../src/engine/reason.ts'
import { Program } from './support/program.ts'

const PAGE = 0x1000n
const pages = fc.array(fc.nat({ max: 400 }), { maxLength: 200 })

test('below and above are what a list says', () => {
  fc.assert(
    fc.property(pages, pages, fc.array(fc.nat({ max: 401 * 4096 })), (mapped, unmapped, asked) => {
      const program = new Program(new Machine())
      const context = program.open()
      const ioas_id = objectId(program.must(context, IOMMU_IOAS_ALLOC).out_ioas_id)
      const { address } = program.memory.allocate(0x1000)
      for (const page of mapped)
        program.ioctl(context, IOMMU_IOAS_MAP, {
          ...{ flags: 7, ioas_id, user_va: address, length: byteLength(PAGE) },
          iova: iova(BigInt(page) * PAGE),
        })
      for (const page of unmapped)
        program.ioctl(context, IOMMU_IOAS_UNMAP, {
          ...{ ioas_id, iova: iova(BigInt(page) * PAGE), length: byteLength(PAGE) },
        })
      const there = [...new Set(mapped)]
        .filter((page) => !unmapped.includes(page))
        .sort((a, b) => a - b)
      const ioas = context.objects.find(ioas_id, Ioas, 'IOAS', program.call())
      if (ioas instanceof Refusal) throw new Error('the IOAS is gone')
      for (const at of asked) {
        const page = Math.floor(at / 4096)
        if (there.includes(page)) continue
        const { below, above } = ioas.neighboursOf(iova(BigInt(at)))
        const start = (found: number | undefined) =>
          found === undefined ? undefined : BigInt(found) * PAGE
        expect(below?.start).toBe(start(there.findLast((other) => other < page)))
        expect(above?.start).toBe(start(there.find((other) => other > page)))
      }
    }),
    { seed: 4, numRuns: 60 },
  )
})
