import { describe, expect, it } from 'vitest'
import { objectId, userVa } from '../../src/abi/brands.ts'
import {
  IOMMU_HWPT_ALLOC,
  IOMMU_HWPT_SET_DIRTY_TRACKING,
  type iommu_hwpt_alloc,
  iommu_hwpt_vtd_s1,
} from '../../src/abi/iommufd/hwpt.ts'
import type { Decoded } from '../../src/abi/layout.ts'
import { NOWHERE } from './support/program.ts'
import { Bench, EVERYTHING, mockDevice, mockIommu } from './support/setup.ts'
import { TestDriver, TestIommu } from './support/test-iommu.ts'

type Args = Partial<Decoded<typeof iommu_hwpt_alloc>>

const withDevice = (iommu?: TestIommu) => {
  const bench = new Bench(iommu)
  bench.ioas()
  const device = bench.bind(bench.iommu.device('A'))
  const alloc = (args: Args) => bench.program.ioctl(bench.context, IOMMU_HWPT_ALLOC, args)
  return { bench, device, alloc }
}

const stage1 = (width = 48): Uint8Array =>
  iommu_hwpt_vtd_s1.encode({ pgtbl_addr: 0x1000n, addr_width: width })

describe('IOMMU_HWPT_ALLOC (03 §7)', () => {
  it('example 9: aperture and alignment', () => {
    const { bench, device } = withDevice()
    expect(bench.map(1, 1n << 48n, 0x1000n)).toBe(0)
    expect(bench.hwpt({ dev: 2, pt: 1 })).toBe('EADDRINUSE')
    expect(bench.attach(device, 1)).toBe('EADDRINUSE')
    const second = bench.ioas()
    const va = bench.program.place(0x1000).address + 0x800n
    expect(bench.map(second, 0x1_0800n, 0x800n, { va })).toBe(0)
    expect(bench.hwpt({ dev: 2, pt: second })).toBe('EADDRINUSE')
    expect(bench.ranges(second)).toEqual({ ranges: [EVERYTHING], alignment: 1n })
  })

  it('example 9.3: an aperture that does not begin at 0', () => {
    const bench = new Bench(mockIommu())
    bench.ioas()
    bench.map(1, 0x1000n, 0x1000n)
    const device = bench.bind(mockDevice(bench.iommu, 'D'), false)
    expect(bench.attach(device, 1)).toBe('EADDRINUSE')
    bench.unmap(1, 0x1000n, 0x1000n)
    expect(bench.attach(device, 1)).toBe(3)
    expect(bench.ranges(1)).toEqual({ ranges: [[0x100_0000n, 0x7fff_ffffn]], alignment: 2048n })
  })

  it('example 10: errors, in order', () => {
    const { alloc } = withDevice()
    const dev_id = objectId(2)
    const pt_id = objectId(1)
    const ok = { dev_id, pt_id }
    const outcomes = [
      { ...ok, size: 20 },
      { ...ok, size: 24 },
      { __reserved: 1, dev_id: objectId(9), pt_id: objectId(9), data_len: 8, flags: 0x10 },
      { ...ok, data_len: 8 },
      { ...ok, data_type: 1 },
      { dev_id: objectId(1), pt_id },
      { dev_id, pt_id: objectId(77) },
      { dev_id, pt_id: objectId(2) },
      { ...ok, flags: 0x10 },
      { ...ok, flags: 5 },
      { ...ok, flags: 4 },
      { ...ok, data_type: 1, data_len: 24 },
      { ...ok, data_uptr: userVa(1n) },
      { ...ok, __reserved2: 5 },
      { ...ok, size: 56 },
    ].map((args) => alloc(args).outcome)
    expect(outcomes).toEqual([
      'EINVAL',
      0,
      'EOPNOTSUPP',
      'EINVAL',
      'EINVAL',
      'ENOENT',
      'EINVAL',
      'EINVAL',
      'EOPNOTSUPP',
      'EOPNOTSUPP',
      'ENOENT',
      'EOPNOTSUPP',
      0,
      0,
      0,
    ])
  })

  it('leaves nothing and writes nothing when the struct cannot be written back', () => {
    const { bench, alloc } = withDevice()
    bench.program.injector.arm(1, 1, ['copy-to-user'])
    const { outcome, after } = alloc({ dev_id: objectId(2), pt_id: objectId(1) })
    expect([outcome, after.out_hwpt_id]).toEqual(['EFAULT', 0])
    expect(bench.objects()).toEqual(['ioas 1', 'device 2'])
    expect(bench.driver.domains.size).toBe(0)
    expect(bench.ranges(1)).toEqual({ ranges: [EVERYTHING], alignment: 1n })
    expect(bench.hwpt({ dev: 2, pt: 1 })).toBe(3)
  })

  it('a look-up of pt_id that is made to fail is EINVAL, any other ENOENT (05 §A.11)', () => {
    const { bench, alloc } = withDevice()
    const outcomes = [1, 2].map((nth) => {
      bench.program.injector.arm(1, nth, ['look-up-object'])
      return alloc({ dev_id: objectId(2), pt_id: objectId(1) }).outcome
    })
    expect(outcomes).toEqual(['ENOENT', 'EINVAL'])
  })

  it('takes no flags and no data where the driver has only the plain allocation (03 §15.6)', () => {
    const { bench, device } = withDevice(new TestIommu(new TestDriver({ plain: true })))
    expect(bench.hwpt({ dev: 2, pt: 1, flags: 1 })).toBe('EOPNOTSUPP')
    expect(bench.hwpt({ dev: 2, pt: 1, flags: 0x10 })).toBe('EOPNOTSUPP')
    expect(bench.hwpt({ dev: 2, pt: 1, dataType: 1, data: stage1() })).toBe('EOPNOTSUPP')
    expect([bench.hwpt({ dev: 2, pt: 1 }), bench.attach(device, 1)]).toEqual([3, 4])
  })

  it('wants the page table to enforce coherency where the IOMMU can (03 §9)', () => {
    const driver = new TestDriver()
    const { bench } = withDevice(new TestIommu(driver))
    driver.enforces = false
    expect(bench.hwpt({ dev: 2, pt: 1 })).toBe('EINVAL')
    expect([bench.objects(), driver.domains.size]).toEqual([['ioas 1', 'device 2'], 0])
  })

  it('is EOPNOTSUPP where the driver has no page tables, or no nested ones', () => {
    const driver = new TestDriver()
    const { bench, device } = withDevice(new TestIommu(driver))
    expect(bench.hwpt({ dev: 2, pt: 1, flags: 1 })).toBe(3)
    Object.defineProperty(driver, 'allocNested', { value: undefined })
    expect(bench.hwpt({ dev: 2, pt: 3, dataType: 1, data: stage1() })).toBe('EOPNOTSUPP')
    Object.defineProperty(driver, 'allocPaging', { value: undefined })
    Object.defineProperty(driver, 'allocPagingPlain', { value: undefined })
    expect(bench.attach(device, 1)).toBe('EOPNOTSUPP')
  })

  it('holds the IOAS, and mirrors what is mapped before and after', () => {
    const { bench } = withDevice()
    bench.map(1, 0x1_0000n, 0x2000n)
    const domain = bench.domain(bench.hwpt({ dev: 2, pt: 1 }))
    bench.map(1, 0x2_0000n, 0x1000n)
    expect([...domain.leaves.keys()]).toEqual([0x1_0000n, 0x1_1000n, 0x2_0000n])
    bench.unmap(1, 0x1_0000n, 0x2000n)
    expect([...domain.leaves.keys()]).toEqual([0x2_0000n])
    expect([bench.destroy(1), bench.destroy(3), bench.destroy(1)]).toEqual(['EBUSY', 0, 0])
    expect(domain.freed).toBe(true)
  })

  it('says who keeps an HWPT busy', () => {
    const { bench, device } = withDevice()
    const parent = Number(bench.hwpt({ dev: 2, pt: 1, flags: 9 }))
    bench.hwpt({ dev: 2, pt: parent, dataType: 1, data: stage1() })
    bench.attach(device, parent)
    bench.attachPasid(device, 5, parent)
    const refused = bench.context.objects.peek(parent)?.usedBy()
    expect(refused).toEqual(['device 2 (A)', 'hwpt-nested 4'])
  })
})

describe('nesting (03 §8)', () => {
  it('example 11: parents, data, attach', () => {
    const { bench, device, alloc } = withDevice()
    const nested = (pt: number, args: { flags?: number; type?: number; data?: Uint8Array } = {}) =>
      bench.hwpt({
        dev: 2,
        pt,
        flags: args.flags ?? 0,
        dataType: args.type ?? 1,
        data: args.data ?? stage1(),
      })
    expect(bench.hwpt({ dev: 2, pt: 1, flags: 1 })).toBe(3)
    expect(bench.hwpt({ dev: 2, pt: 1 })).toBe(4)
    expect(nested(4)).toBe('EINVAL')
    expect(bench.hwpt({ dev: 2, pt: 3 })).toBe('EOPNOTSUPP')
    expect(nested(3, { flags: 1 })).toBe('EOPNOTSUPP')
    expect(nested(3, { type: 2, data: new Uint8Array(16) })).toBe('EOPNOTSUPP')
    expect(nested(3, { data: new Uint8Array(16) })).toBe('EINVAL')
    expect(nested(3, { data: new Uint8Array(32) })).toBe('EINVAL')
    expect(
      alloc({
        dev_id: objectId(2),
        pt_id: objectId(3),
        data_type: 1,
        data_len: 24,
        data_uptr: NOWHERE,
      }).outcome,
    ).toBe('EFAULT')
    expect(nested(3)).toBe(5)
    expect(nested(5)).toBe('EINVAL')
    expect(
      bench.program.ioctl(bench.context, IOMMU_HWPT_SET_DIRTY_TRACKING, {
        flags: 1,
        hwpt_id: objectId(5),
      }).outcome,
    ).toBe('ENOENT')
    expect(bench.destroy(3)).toBe('EBUSY')
    expect(bench.attach(device, 5)).toBe(5)
    expect(bench.ranges(1).ranges).toHaveLength(2)
    expect(bench.destroy(5)).toBe('EBUSY')
    expect(bench.attach(device, 3)).toBe(3)
    expect(bench.ranges(1).ranges).toHaveLength(2)
    expect(bench.destroy(5)).toBe(0)
    bench.detach(device)
    expect(bench.destroy(3)).toBe(0)
  })

  it('example 11.11: what VT-d judges when the HWPT is attached', () => {
    const { bench, device } = withDevice()
    bench.hwpt({ dev: 2, pt: 1, flags: 1 })
    expect(bench.hwpt({ dev: 2, pt: 3, dataType: 1, data: stage1(40) })).toBe(4)
    expect(bench.attach(device, 4)).toBe('EINVAL')
    expect(bench.ranges(1).ranges).toHaveLength(1)
  })

  it('does not make a parent of an automatic HWPT', () => {
    const { bench, device } = withDevice()
    const auto = Number(bench.attach(device, 1))
    expect(bench.hwpt({ dev: 2, pt: auto, dataType: 1, data: stage1() })).toBe('EINVAL')
  })

  it('releases the parent when the nested HWPT is discarded', () => {
    const { bench } = withDevice()
    bench.hwpt({ dev: 2, pt: 1, flags: 1 })
    expect(bench.hwpt({ dev: 2, pt: 3, flags: 4, fault: 1, dataType: 1, data: stage1() })).toBe(
      'ENOENT',
    )
    expect(bench.destroy(3)).toBe(0)
    expect(bench.driver.domains.size).toBe(0)
  })
})
