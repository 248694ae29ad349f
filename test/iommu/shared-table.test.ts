/** A table as another thread walks it translates as the domain itself does, on every platform (07 §9). */
import { describe, expect, test } from 'vitest'
import { byteLength, iova, physAddr } from '../../src/abi/brands.ts'
import { Refusal } from '../../src/engine/reason.ts'
import { PlatformDevice, PlatformGroup } from '../../src/iommu/platform-device.ts'
import { platforms } from '../../src/iommu/platforms.ts'
import { sharedTable, sharedTableWalker } from '../../src/iommu/shared-table.ts'
import { TableDomain } from '../../src/iommu/table-domain.ts'

const PAGE = 4096n
/** IOVA, physical address, length, may be written. */
const MAPPINGS = [
  [0x10_0000n, 0x1_0000_0000n, 4096n, true],
  [0x10_1000n, 0x1_2345_6000n, 4096n, false],
  [0x20_0000n, 0x2_0000_0000n, 0x20_0000n, true],
  [0x4000_0000n, 0x3_0000_1000n, 0x3_5000n, true],
] as const

describe.each(platforms.map((platform) => [platform.name, platform] as const))(
  '%s',
  (_name, platform) => {
    test('walks, in another thread, to the same frames with the same permissions', () => {
      const { instance } = platform.create()
      const { driver } = instance
      const device = new PlatformDevice(instance, new PlatformGroup(0), { name: '0000:01:00.0' })
      const domain = driver.allocPaging?.(device, 0, undefined) ?? driver.allocPagingPlain?.(device)
      if (domain === undefined || domain instanceof Refusal) throw new Error('there is no domain')
      expect(domain).toBeInstanceOf(TableDomain)
      for (const [at, phys, length, write] of MAPPINGS) {
        const protection = { read: true, write, mmio: false }
        expect(domain.map(iova(at), physAddr(phys), byteLength(length), protection)).toBeUndefined()
      }
      const shared = sharedTable(domain, device)
      // What postMessage does to it.
      const walker = shared && sharedTableWalker(structuredClone(shared))
      if (walker === undefined || shared === undefined)
        throw new Error('the table cannot be shared')
      const access = { device, pasid: undefined, memory: { read: () => false } }
      for (const [at, , length] of MAPPINGS)
        for (const offset of [0n, length - PAGE, length])
          for (const write of [false, true]) {
            const where = iova(at + offset)
            const target = domain.translate?.(where, { ...access, write })
            const walked = walker.walk(Number(where / PAGE), write)
            expect(walked, `${where} ${write}`).toBe(typeof target !== 'string')
            if (typeof target === 'object') expect(BigInt(walker.frame) * PAGE).toBe(target.phys)
          }
      // An unmap is seen at once, since the memory is the same.
      domain.unmap(iova(0x10_0000n), byteLength(PAGE))
      expect(walker.walk(0x100, false)).toBe(false)
      expect(walker.walk(0x101, false)).toBe(true)
    })
  },
)
