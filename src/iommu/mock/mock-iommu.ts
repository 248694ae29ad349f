/**
 * The mock IOMMU (05 §A.2, §A.3.1): one instance per machine, any number of devices, real page tables
 * underneath.
 */
import { hex } from '../../abi/brands.ts'
import { iommu_hwpt_selftest, iommu_test_hw_info } from '../../abi/selftest-data.ts'
import {
  IOMMU_HW_INFO_TYPE_SELFTEST,
  IOMMU_HWPT_DATA_SELFTEST,
  IOMMU_VIOMMU_TYPE_SELFTEST,
} from '../../abi/selftest-types.ts'
import { MOCK, MOCK_IOMMUPT } from '../../abi/test-cmd.ts'
import { HwptFlag } from '../../engine/hwpt.ts'
import type {
  DriverData,
  IommuCapability,
  IommuDevice,
  IommuDriver,
  IommuInstance,
  NestedDomain,
  PagingDomain,
  ReservedRegion,
  ViommuOps,
  ViommuServices,
} from '../../engine/iommu-driver.ts'
import { Refusal, type Result, reasonKind, refuse } from '../../engine/reason.ts'
import { amdv1Mock, amdv1MockGeometry } from '../formats/amdv1.ts'
import { PageTable } from '../page-table.ts'
import { TableMemory } from '../table-memory.ts'
import { MockDevice } from './mock-device.ts'
import { asMock, MockBlockedDomain, MockNestedDomain, MockPagingDomain } from './mock-domains.ts'
import { initMockViommu } from './mock-viommu.ts'

export const MockFlagUnsupported = reasonKind<{ flags: number; known: number }>({
  code: 'mock-flag-unsupported',
  errno: 'EOPNOTSUPP',
  cite: '05 §A.3.1 step 2, §A.4',
  say: ({ flags, known }) =>
    `the mock IOMMU supports the flags ${hex(known)} for this kind of page table, not ${hex(flags)}`,
  advice: 'Leave the flag out, or make the mock device with what it needs.',
})

export const MockDataTypeUnknown = reasonKind<{ type: number }>({
  code: 'mock-data-type-unknown',
  errno: 'EOPNOTSUPP',
  cite: '05 §A.3.1 step 3, §A.4',
  say: ({ type }) =>
    `the mock IOMMU takes data of type ${hex(IOMMU_HWPT_DATA_SELFTEST)} (SELFTEST), not ${hex(type)}`,
  advice: 'Set data_type to IOMMU_HWPT_DATA_SELFTEST and pass a struct iommu_hwpt_selftest.',
})

export const MockPageTableTypeUnknown = reasonKind<{ type: number }>({
  code: 'mock-page-table-type-unknown',
  errno: 'EOPNOTSUPP',
  cite: '05 §A.3.1 step 5',
  say: ({ type }) => `pagetable_type is ${type}; 0 (default) and 1 (huge) exist`,
  advice: 'Set pagetable_type to MOCK_IOMMUPT_DEFAULT or MOCK_IOMMUPT_HUGE.',
})

export const MockHwInfoTypeUnknown = reasonKind<{ type: number }>({
  code: 'mock-hw-info-type-unknown',
  errno: 'EOPNOTSUPP',
  cite: '05 §A.2.2',
  say: ({ type }) =>
    `the device is behind the mock IOMMU, which has no information of type ${hex(type)}`,
  advice: 'Ask without IOMMU_HW_INFO_FLAG_INPUT_TYPE to learn the type that there is.',
})

export const MockTableMemoryExhausted = reasonKind({
  code: 'mock-table-memory-exhausted',
  errno: 'ENOMEM',
  cite: '07 §1.6 row 9',
  say: () => 'no memory is left for another page table',
  advice: 'Destroy HWPTs and unmap what is not needed any more.',
})

const PAGING_FLAGS = HwptFlag.NEST_PARENT | HwptFlag.DIRTY_TRACKING | HwptFlag.PASID

/** Page sizes and aperture of the two kinds of table (05 §A.3.2). */
const TABLES = {
  [MOCK_IOMMUPT.MOCK_IOMMUPT_DEFAULT]: {
    pageSizes: 0x1f_ffff_f800n,
    apertureStart: BigInt(MOCK.MOCK_APERTURE_START),
    apertureEnd: BigInt(MOCK.MOCK_APERTURE_LAST),
  },
  [MOCK_IOMMUPT.MOCK_IOMMUPT_HUGE]: {
    pageSizes: 0x10_1000n,
    apertureStart: 0n,
    apertureEnd: 0x3f_ffff_ffffn,
  },
} as const

export interface MockIommuOptions {
  readonly tableMemory?: TableMemory
  /** Group number of the next device; each call gives a new one. */
  readonly nextGroup?: () => number
}

export class MockIommu implements IommuDriver {
  readonly name = 'mock'
  readonly userPasidTables = true
  readonly blockedDomain: MockBlockedDomain = new MockBlockedDomain(this)
  readonly defaultDomain: MockBlockedDomain = this.blockedDomain
  readonly instance: IommuInstance = {
    name: 'iommufd_selftest_iommu.0',
    driver: this,
    maxPasids: 1 << MOCK.MOCK_PASID_WIDTH,
  }
  readonly tableMemory: TableMemory
  readonly #nextGroup: () => number
  readonly #numbers = new Set<number>()
  #groups = 0

  constructor(options: MockIommuOptions = {}) {
    this.tableMemory = options.tableMemory ?? new TableMemory()
    this.#nextGroup = options.nextGroup ?? (() => this.#groups++)
  }

  /** A new device alone in a new group, with the lowest free number (05 §A.2.1). */
  createDevice(flags: number): MockDevice {
    let number = 0
    while (this.#numbers.has(number)) number++
    this.#numbers.add(number)
    return new MockDevice(this.instance, number, this.#nextGroup(), flags)
  }

  removeDevice(device: MockDevice): void {
    this.#numbers.delete(device.number)
  }

  capable(device: IommuDevice, capability: IommuCapability): boolean {
    if (capability === 'coherent') return true
    return capability === 'dirty-tracking' && asMock(device).dirtyCapable
  }

  hwInfo(_device: IommuDevice, requested: number): Result<{ type: number; data: Uint8Array }> {
    const type = IOMMU_HW_INFO_TYPE_SELFTEST
    if (requested !== 0 && requested !== type)
      return refuse(MockHwInfoTypeUnknown, { type: requested })
    const test_reg = MOCK.IOMMU_HW_INFO_SELFTEST_REGVAL
    return { type, data: iommu_test_hw_info.encode({ flags: 0, test_reg }) }
  }

  allocPaging(
    _device: IommuDevice,
    flags: number,
    data: DriverData | undefined,
  ): Result<PagingDomain> {
    if ((flags & ~PAGING_FLAGS) !== 0)
      return refuse(MockFlagUnsupported, { flags, known: PAGING_FLAGS })
    let kind: number = MOCK_IOMMUPT.MOCK_IOMMUPT_DEFAULT
    if (data !== undefined) {
      const selftest = selftestData(data)
      if (selftest instanceof Refusal) return selftest
      kind = selftest.pagetable_type
    }
    if (kind !== MOCK_IOMMUPT.MOCK_IOMMUPT_DEFAULT && kind !== MOCK_IOMMUPT.MOCK_IOMMUPT_HUGE)
      return refuse(MockPageTableTypeUnknown, { type: kind })
    const { pageSizes, apertureStart, apertureEnd } = TABLES[kind]
    const table = PageTable.create(amdv1Mock, amdv1MockGeometry(pageSizes), this.tableMemory)
    if (table === undefined) return refuse(MockTableMemoryExhausted, {})
    return new MockPagingDomain(this, table, {
      apertureStart,
      apertureEnd,
      dirtyTracking: (flags & HwptFlag.DIRTY_TRACKING) !== 0,
      nestParent: (flags & HwptFlag.NEST_PARENT) !== 0,
    })
  }

  allocNested(
    _device: IommuDevice,
    _parent: PagingDomain,
    flags: number,
    data: DriverData,
  ): Result<NestedDomain> {
    return this.nested(flags, data)
  }

  /** The checks are the same on a parent and through a vIOMMU (05 §A.4). */
  nested(flags: number, data: DriverData, viommu?: ViommuServices): Result<NestedDomain> {
    if ((flags & ~HwptFlag.PASID) !== 0)
      return refuse(MockFlagUnsupported, { flags, known: HwptFlag.PASID })
    const selftest = selftestData(data)
    if (selftest instanceof Refusal) return selftest
    return new MockNestedDomain(this, selftest.iotlb, viommu)
  }

  reservedRegions(): readonly ReservedRegion[] {
    return []
  }

  offersViommu(_device: IommuDevice, viommuType: number): boolean {
    return viommuType === IOMMU_VIOMMU_TYPE_SELFTEST
  }

  initViommu(
    viommu: ViommuServices,
    parent: PagingDomain,
    data: DriverData | undefined,
  ): Result<ViommuOps> {
    return initMockViommu(this, viommu, parent, data)
  }
}

const MINIMUM = 4

const selftestData = (data: DriverData): Result<{ iotlb: number; pagetable_type: number }> => {
  const type = IOMMU_HWPT_DATA_SELFTEST
  if (data.type !== type) return refuse(MockDataTypeUnknown, { type: data.type })
  const bytes = data.copyIn(type, MINIMUM, iommu_hwpt_selftest.size)
  return bytes instanceof Refusal ? bytes : iommu_hwpt_selftest.decode(bytes)
}
