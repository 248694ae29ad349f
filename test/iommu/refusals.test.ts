/** Refusals of drivers and of the test interface that the worked examples do not come to. */
import { describe, expect, it } from 'vitest'
import { mapFixed, SELFTEST, T } from '../../conformance/cases/mock.ts'
import { type FieldValues, fails, ok, type Steps, words } from '../../conformance/example.ts'
import { ARRAY, B, slotFd } from '../../conformance/places.ts'
import { byteLength, iova, type Pasid, physAddr, userVa } from '../../src/abi/brands.ts'
import type { ErrnoName } from '../../src/abi/errno.ts'
import type {
  Domain,
  DriverData,
  IommuDriver,
  PagingDomain,
} from '../../src/engine/iommu-driver.ts'
import { Machine } from '../../src/engine/machine.ts'
import { Refusal } from '../../src/engine/reason.ts'
import { AmdIommu } from '../../src/iommu/amd/amd-iommu.ts'
import { SmmuIommu } from '../../src/iommu/arm/smmu-iommu.ts'
import { VtdIommu } from '../../src/iommu/intel/vtd-iommu.ts'
import { MockIommu } from '../../src/iommu/mock/mock-iommu.ts'
import { PlatformDevice, PlatformGroup } from '../../src/iommu/platform-device.ts'
import { type PlatformIommu, platformNamed, platforms } from '../../src/iommu/platforms.ts'
import { RiscvIommu } from '../../src/iommu/riscv/riscv-iommu.ts'
import { TableMemory } from '../../src/iommu/table-memory.ts'
import { callerPages } from '../../src/iommu/test/caller-pages.ts'
import { VirtioIommu } from '../../src/iommu/virtio/virtio-iommu.ts'
import { Program } from '../engine/support/program.ts'
import { Bench, made } from './platform-bench.ts'

const NEST_PARENT = 1
const DIRTY = 2
const FAULT = 4
const PASID = 8

/** What a result was refused for; `ok` for what was not. */
const codeOf = (result: unknown): string => (result instanceof Refusal ? result.code : 'ok')

/** An ioctl of the bench that is refused for exactly this reason. */
const refuses = (
  b: Bench,
  code: string,
  errno: ErrnoName,
  name: string,
  fields: FieldValues,
  outputs = {},
): void => {
  b.play((t) => t.step(name, fields, fails(errno, outputs)))
  expect(b.lastRefusal).toBe(code)
}

const deviceOf = (iommu: PlatformIommu, options = {}): PlatformDevice =>
  new PlatformDevice(iommu.instance, new PlatformGroup(9), { name: 'other', ...options })

const platform = (name: string): PlatformIommu => {
  const iommu = platformNamed(name)?.create()
  if (iommu === undefined) throw new Error(name)
  return iommu
}

/** A page table of a driver, made for one of its devices. */
const domainOf = (iommu: PlatformIommu, flags = 0): PagingDomain => {
  const driver: IommuDriver = iommu
  const result =
    driver.allocPaging?.(deviceOf(iommu), flags, undefined) ??
    driver.allocPagingPlain?.(deviceOf(iommu))
  if (result === undefined || result instanceof Refusal) throw new Error('no page table')
  return result
}

describe('page tables of platforms', () => {
  it('run out of memory', () => {
    for (const { name, create } of platforms) {
      const iommu: IommuDriver = create(new TableMemory({ limit: 0 }))
      const { instance } = create()
      const device = new PlatformDevice(instance, new PlatformGroup(1), { name })
      const result = iommu.allocPaging?.(device, 0, undefined) ?? iommu.allocPagingPlain?.(device)
      expect(codeOf(result)).toMatch(/-table-memory-exhausted$/)
    }
    const mock = new MockIommu({ tableMemory: new TableMemory({ limit: 0 }) })
    expect(codeOf(mock.allocPaging(mock.createDevice(0), 0, undefined))).toBe(
      'mock-table-memory-exhausted',
    )
  })

  it('take no data over an IOAS, and have information of their own type only', () => {
    const data = { pt_id: 1, data_type: 1, data_len: 8, data_uptr: ARRAY }
    const info = { dev_id: 2, flags: 1, in_data_type: 0x77 }
    for (const [name, prefix] of [
      ['intel-sm-48', 'vtd'],
      ['arm-smmuv3-48', 'smmu'],
    ] as const) {
      const b = new Bench(name)
      refuses(b, `${prefix}-paging-takes-no-data`, 'EOPNOTSUPP', 'HWPT_ALLOC', {
        dev_id: 2,
        ...data,
      })
      refuses(b, `${prefix}-hw-info-type-unknown`, 'EOPNOTSUPP', 'GET_HW_INFO', info)
    }
    const amd = new Bench(new AmdIommu({ efr: 0x25bf732fa2295afen, efr2: 0x1dn, iommufd: true }))
    refuses(amd, 'amd-paging-takes-no-data', 'EOPNOTSUPP', 'HWPT_ALLOC', { dev_id: 2, ...data })
    refuses(amd, 'amd-hw-info-type-unknown', 'EOPNOTSUPP', 'GET_HW_INFO', info)
    amd.hwptAlloc({ flags: NEST_PARENT }, made(3))
    amd.play((t) => {
      t.step(
        'GET_HW_INFO',
        { dev_id: 2 },
        ok({ data_len: 16, out_data_type: 4, out_capabilities: 9n, out_max_pasid_log2: 0 }),
      )
      t.step('VIOMMU_ALLOC', { type: 77, dev_id: 2, hwpt_id: 3 }, ok({ out_viommu_id: 4 }))
    })
  })

  it('do not fit devices behind other units', () => {
    const attach = (domain: Domain, from: PlatformIommu, options = {}): string => {
      const device = deviceOf(from, options)
      return codeOf(domain.attach(device, from.blockedDomain))
    }
    const sm48 = platform('intel-sm-48')
    expect(attach(domainOf(sm48, DIRTY), platform('intel-server-48'))).toBe(
      'vtd-domain-does-not-fit',
    )
    expect(attach(domainOf(sm48), platform('intel-server-48'))).toBe('vtd-domain-does-not-fit')
    const server = domainOf(platform('intel-server-48'))
    expect(attach(server, platform('intel-client-39'))).toBe('vtd-domain-does-not-fit')
    expect(attach(server, platform('intel-server-48'))).toBe('ok')
    const faulting = domainOf(platform('intel-sm-57'))
    faulting.faultCapable = true
    expect(attach(faulting, platform('intel-sm-57'))).toBe('vtd-page-requests-off')
    expect(attach(faulting, platform('intel-sm-57'), { pri: true })).toBe('ok')

    expect(attach(domainOf(platform('amd-server'), DIRTY), platform('amd-client'))).toBe(
      'amd-domain-tracks-dirty',
    )
    expect(attach(domainOf(platform('arm-smmuv3-48')), platform('arm-smmuv3-48'))).toBe(
      'smmu-other-instance',
    )
    expect(attach(domainOf(platform('virtio-x86')), platform('virtio-x86'))).toBe(
      'virtio-other-instance',
    )
    const sv39 = new RiscvIommu({ mode: 39, asIfCoherent: true })
    expect(attach(domainOf(platform('riscv-sv57')), sv39)).toBe('riscv-mode-missing')
  })

  it('of VT-d need a width, and PASIDs where PASIDs are asked for', () => {
    const narrow = new VtdIommu({ cap: 0x1d_0200n, ecap: 0n })
    expect(codeOf(narrow.allocPaging(deviceOf(narrow), 0, undefined))).toBe('vtd-no-table-fits')
    const sm48 = platform('intel-sm-48')
    const refusal = domainOf(sm48).attachPasid?.(deviceOf(sm48), 1 as Pasid, undefined)
    expect(codeOf(refusal)).toBe('vtd-no-pasid')
  })

  it('of virtio map device memory only with the feature for it', () => {
    const mmio = { read: true, write: true, mmio: true }
    const map = (domain: PagingDomain): string =>
      codeOf(domain.map(iova(0n), physAddr(0x1000n), byteLength(0x1000n), mmio))
    expect(map(domainOf(platform('virtio-x86')))).toBe('virtio-no-mmio')
    expect(map(domainOf(new VirtioIommu({ pageSizeMask: 0x1000n, mmio: true })))).toBe('ok')
  })

  it('of an SMMU: PASIDs beside stage 1 only, coherency where the platform has it', () => {
    const smmu = platform('arm-smmuv3-48')
    const device = deviceOf(smmu, { pasids: 16 })
    const [stage1, stage2] = [domainOf(smmu), domainOf(smmu, NEST_PARENT)]
    const pasid = 5 as Pasid
    expect(codeOf(stage2.attach(device, smmu.blockedDomain))).toBe('ok')
    expect(codeOf(stage1.attachPasid?.(device, pasid, undefined))).toBe('smmu-pasid-needs-stage1')
    expect(codeOf(stage1.attach(device, stage2))).toBe('ok')
    expect(codeOf(stage2.attachPasid?.(device, pasid, undefined))).toBe('smmu-pasid-needs-stage1')
    expect(codeOf(stage1.attachPasid?.(device, pasid, undefined))).toBe('ok')
    expect(codeOf(stage2.attach(device, stage1))).toBe('smmu-pasids-in-use')
    const blocked: Domain = smmu.blockedDomain
    blocked.attachPasid?.(device, pasid, stage1)
    expect(codeOf(stage2.attach(device, stage1))).toBe('ok')
  })
})

describe('nesting', () => {
  it('on VT-d: flags at attach, and invalidation', () => {
    // intel-sm-48 without supervisor requests (ECAP.SRS).
    const b = new Bench(new VtdIommu({ cap: 0x09ed008c40780466n, ecap: 0x0003ee9e06f050dfn }))
    b.hwptAlloc({ flags: NEST_PARENT }, made(3))
    const stage1 = (flags: number, id: number): void => {
      b.play((t) => t.poke(ARRAY, words(flags, 0, 0, 0, 48, 0)))
      b.hwptAlloc({ pt_id: 3, data_type: 1, data_len: 24, data_uptr: ARRAY }, made(id))
    }
    stage1(1, 4)
    expect(b.attach(4)).toBe('EINVAL')
    stage1(0, 5)
    const request = (entry: readonly number[], data_type = 0): FieldValues => {
      b.play((t) => t.poke(ARRAY, words(...entry)))
      return { hwpt_id: 5, data_uptr: ARRAY, data_type, entry_len: 24, entry_num: 1 }
    }
    const none = { entry_num: 0 }
    const good = [0x1000, 0, 1, 0, 1, 0]
    refuses(b, 'vtd-invalidate-type', 'EINVAL', 'HWPT_INVALIDATE', request(good, 9), none)
    refuses(
      b,
      'vtd-invalidate-range',
      'EINVAL',
      'HWPT_INVALIDATE',
      request([1, 0, 1, 0, 0, 0]),
      none,
    )
    refuses(
      b,
      'vtd-invalidate-reserved',
      'EOPNOTSUPP',
      'HWPT_INVALIDATE',
      request([0, 0, 1, 0, 2, 0]),
      none,
    )
    b.play((t) => t.poke(ARRAY, words(...good)))
    b.play((t) =>
      t.step(
        'HWPT_INVALIDATE',
        { hwpt_id: 5, data_uptr: ARRAY, data_type: 0, entry_len: 24, entry_num: 1 },
        ok(),
      ),
    )
  })

  it('on an SMMU: what a guest may not ask for', () => {
    const b = new Bench('arm-smmuv3-48')
    b.hwptAlloc({ flags: NEST_PARENT }, made(3))
    b.play((t) =>
      t.step('VIOMMU_ALLOC', { type: 1, dev_id: 2, hwpt_id: 3 }, ok({ out_viommu_id: 4 })),
    )
    const data = { dev_id: 2, pt_id: 4, data_len: 16, data_uptr: ARRAY }
    refuses(b, 'smmu-nested-data-type', 'EINVAL', 'HWPT_ALLOC', { ...data, data_type: 1 })
    refuses(b, 'smmu-nested-flag', 'EOPNOTSUPP', 'HWPT_ALLOC', {
      ...data,
      data_type: 2,
      flags: PASID,
    })
    const array = { hwpt_id: 4, data_uptr: ARRAY, data_type: 7, entry_len: 16, entry_num: 1 }
    refuses(b, 'smmu-invalidate-type', 'EINVAL', 'HWPT_INVALIDATE', array, { entry_num: 0 })
    const coherent = new SmmuIommu({
      idr: [0x0d4d749b, 0x02739d20, 0, 0x1500, 0, 0x75],
      iidr: 0,
      aidr: 2,
      canWriteBack: true,
    })
    expect(coherent.capable(deviceOf(coherent), 'enforce-coherency')).toBe(true)
  })
})

describe('the mock and the test interface', () => {
  const mock = (play: (b: Bench) => void): void => {
    const b = new Bench('intel-server-48')
    // Objects so far: IOAS 1, the Intel device 2.
    b.play((t) =>
      T(t, 'MOCK_DOMAIN', { id: 1 }, ok({ out_stdev_id: 3, out_idev_id: 4, out_hwpt_id: 5 })),
    )
    play(b)
  }

  it('tell mock devices and page tables from others', () => {
    mock((b) => {
      b.hwptAlloc({ dev_id: 2 }, made(6))
      const test = (name: string, op: number, fields: FieldValues): [string, FieldValues] => [
        `TEST_${name}`,
        { op, ...fields },
      ]
      refuses(b, 'test-device-not-mock', 'EINVAL', ...test('DEV_CHECK_CACHE', 16, { id: 2 }))
      refuses(b, 'test-device-not-mock', 'EINVAL', ...test('TRIGGER_IOPF', 15, { dev_id: 2 }))
      refuses(b, 'test-no-virtual-device', 'ENOENT', ...test('TRIGGER_VEVENT', 17, { dev_id: 2 }))
      refuses(b, 'test-domain-not-mock', 'EINVAL', ...test('MD_CHECK_MAP', 3, { id: 6 }))
      const dirty = { id: 5, iova: 0n, length: 0x1000n, page_size: 0x1000n, uptr: ARRAY }
      refuses(
        b,
        'test-dirty-arguments',
        'EINVAL',
        ...test('DIRTY', 13, { ...dirty, page_size: 0n }),
      )
      refuses(
        b,
        'test-dirty-too-long',
        'EOVERFLOW',
        ...test('DIRTY', 13, { ...dirty, page_size: 1n, length: 134217729n }),
      )
    })
  })

  it('judge flags and data of page tables, and of invalidations', () => {
    mock((b) => {
      const data = { dev_id: 4, pt_id: 1, data_len: 8, data_uptr: ARRAY }
      b.play((t) => t.poke(ARRAY, words(0, 2)))
      refuses(b, 'mock-data-type-unknown', 'EOPNOTSUPP', 'HWPT_ALLOC', {
        ...data,
        data_type: 0xdeae,
      })
      refuses(b, 'mock-page-table-type-unknown', 'EOPNOTSUPP', 'HWPT_ALLOC', {
        ...data,
        data_type: 0xdead,
      })
      const iommu = new MockIommu()
      expect(codeOf(iommu.allocPaging(iommu.createDevice(0), FAULT, undefined))).toBe(
        'mock-flag-unsupported',
      )
      b.hwptAlloc({ dev_id: 4, flags: NEST_PARENT }, made(6))
      b.play((t) =>
        t.step('VIOMMU_ALLOC', { type: SELFTEST, dev_id: 4, hwpt_id: 6 }, ok({ out_viommu_id: 7 })),
      )
      // More than 4 MiB of requests: entry_num comes back as it was (05 §A.5.2).
      const array = { data_uptr: B, data_type: SELFTEST, entry_len: 12, entry_num: 349526 }
      refuses(b, 'mock-invalidate-array-too-large', 'ENOMEM', 'HWPT_INVALIDATE', {
        hwpt_id: 7,
        ...array,
      })
    })
  })

  it('keep dma-bufs out of processes', () => {
    mock((b) => {
      b.play((t: Steps) => {
        t.descriptorStep('TEST_DMABUF_GET', { op: 22, length: 0x1000, open_flags: 2 }, 1)
        t.plain(`mapfd 0x200020000000 4096 rw shared 1 0`, -22)
        mapFixed(t, 0x1000000n, 0x1000n)
        T(t, 'ACCESS_PAGES', { id: slotFd(1), iova: 0x1000000n, length: 0x1000n }, fails('EBADFD'))
      })
    })
  })
})

it('VT-d nests on a parent that was made for it alone', () => {
  const iommu = platform('intel-sm-57')
  const driver: IommuDriver = iommu
  const device = deviceOf(iommu)
  const data: DriverData = {
    type: 1,
    length: 0,
    copyIn: () => new Uint8Array(0),
    copyOut: () => undefined,
  }
  const nested = driver.allocNested?.(device, domainOf(iommu), 0, data)
  expect(codeOf(nested)).toBe('vtd-parent-not-nest-parent')
})

it('the last page of all addresses belongs to nobody', () => {
  const program = new Program(new Machine())
  const [page] = callerPages(program.call(), userVa(0xffff_ffff_ffff_f000n), 0x1000n)
  expect(codeOf(page?.object)).toBe('caller-page-at-the-end')
})
