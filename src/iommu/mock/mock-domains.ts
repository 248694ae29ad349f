/** The mock's translations: paging, nested and blocked, and who may attach to them (05 §A.2.4 to §A.4). */
import { hex, type Pasid } from '../../abi/brands.ts'
import {
  IOMMU_TEST_INVALIDATE_FLAGS,
  iommu_hwpt_invalidate_selftest,
} from '../../abi/selftest-data.ts'
import { IOMMU_HWPT_INVALIDATE_DATA_SELFTEST } from '../../abi/selftest-types.ts'
import { MOCK } from '../../abi/test-cmd.ts'
import type {
  Domain,
  DriverArray,
  IommuDevice,
  IommuDriver,
  NestedDomain,
  StaticDomain,
  ViommuServices,
} from '../../engine/iommu-driver.ts'
import { Refusal, type Result, reasonKind, refuse } from '../../engine/reason.ts'
import { TableDomain } from '../table-domain.ts'
import { MockDevice } from './mock-device.ts'

export const MockDeviceCannotTrackDirty = reasonKind<{ device: string }>({
  code: 'mock-device-cannot-track-dirty',
  errno: 'EINVAL',
  cite: '05 §A.2.4 rule 1',
  say: ({ device }) =>
    `${device} was made without dirty tracking and this page table tracks dirty pages`,
  advice: 'Allocate the page table without IOMMU_HWPT_ALLOC_DIRTY_TRACKING for this device.',
})

export const MockDeviceNeedsVdevice = reasonKind<{ device: string }>({
  code: 'mock-device-needs-vdevice',
  errno: 'ENOENT',
  cite: '05 §A.2.4 rule 2',
  say: ({ device }) => `${device} has no vDEVICE in the vIOMMU of this nested page table`,
  advice: 'Call IOMMU_VDEVICE_ALLOC for the device before attaching it.',
})

export const MockPasidRigged = reasonKind<{ device: string }>({
  code: 'mock-pasid-rigged',
  errno: 'ENOMEM',
  cite: '05 §A.2.5',
  say: ({ device }) =>
    `PASID ${MOCK.IOMMU_TEST_PASID_RESERVED} of ${device} is rigged to fail every second time`,
  advice: 'Try again: the test interface makes it fail so that tests see how errors are undone.',
})

export const MockInvalidateTypeUnknown = reasonKind<{ type: number }>({
  code: 'mock-invalidate-type-unknown',
  errno: 'EINVAL',
  cite: '05 §A.4 step 1, §A.5.2 steps 1 and 2',
  say: ({ type }) => `the mock IOMMU knows no invalidation requests of type ${hex(type)}`,
  advice:
    'Set data_type to IOMMU_HWPT_INVALIDATE_DATA_SELFTEST or IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST.',
})

export const MockInvalidateFlagUnknown = reasonKind<{ flags: number }>({
  code: 'mock-invalidate-flag-unknown',
  errno: 'EOPNOTSUPP',
  cite: '05 §A.4, §A.5.2',
  say: ({ flags }) => `the flags ${hex(flags)} have a bit that the mock IOMMU does not know`,
  advice: 'Use the flags of iommufd_test.h only.',
})

export const MockCacheIndexTooLarge = reasonKind<{ index: number; last: number }>({
  code: 'mock-cache-index-too-large',
  errno: 'EINVAL',
  cite: '05 §A.4, §A.5.2',
  say: ({ index, last }) => `there is no entry ${index}: the last is ${last}`,
  advice: 'The index is looked at even where the ALL flag makes it meaningless.',
})

/** Mock drivers meet mock devices only: the engine attaches no domain to a device of another driver. */
export const asMock = (device: IommuDevice): MockDevice => {
  if (!(device instanceof MockDevice)) throw new TypeError(`${device.name} is not a mock device`)
  return device
}

/** What attaching a PASID means to every kind of mock domain but the blocked one. */
const attachMockPasid = (device: IommuDevice, pasid: Pasid): Result<void> => {
  if (pasid !== MOCK.IOMMU_TEST_PASID_RESERVED) return
  const mock = asMock(device)
  mock.pasid1024Armed = !mock.pasid1024Armed
  if (!mock.pasid1024Armed) return refuse(MockPasidRigged, { device: mock.name })
}

export class MockPagingDomain extends TableDomain {
  attach(device: IommuDevice, _old: Domain): Result<void> {
    const mock = asMock(device)
    if (this.dirty !== undefined && !mock.dirtyCapable)
      return refuse(MockDeviceCannotTrackDirty, { device: mock.name })
    mock.viommu = undefined
  }

  override attachPasid(device: IommuDevice, pasid: Pasid): Result<void> {
    return attachMockPasid(device, pasid)
  }
}

export class MockNestedDomain implements NestedDomain {
  readonly type = 'nested'
  readonly driver: IommuDriver
  faultCapable = false
  /** Stand for cached translations: an invalidation zeroes them. */
  readonly iotlb: Uint32Array
  /** Set when it was allocated through a vIOMMU. */
  readonly viommu: ViommuServices | undefined

  constructor(driver: IommuDriver, iotlb: number, viommu?: ViommuServices) {
    this.driver = driver
    this.iotlb = new Uint32Array(MOCK.MOCK_NESTED_DOMAIN_IOTLB_NUM).fill(iotlb)
    this.viommu = viommu
  }

  attach(device: IommuDevice, _old: Domain): Result<void> {
    const mock = asMock(device)
    if (this.viommu === undefined) {
      mock.viommu = undefined
      return
    }
    const virtId = this.viommu.virtIdOf(mock)
    if (virtId === undefined) return refuse(MockDeviceNeedsVdevice, { device: mock.name })
    // Moving within one vIOMMU keeps the virtual ID recorded when the device came there.
    if (mock.viommu !== this.viommu) mock.virtId = virtId
    mock.viommu = this.viommu
  }

  attachPasid(device: IommuDevice, pasid: Pasid): Result<void> {
    return attachMockPasid(device, pasid)
  }

  invalidate(requests: DriverArray): Result<void> {
    const { size, decode } = iommu_hwpt_invalidate_selftest
    const type = IOMMU_HWPT_INVALIDATE_DATA_SELFTEST
    if (requests.type !== type) return refuse(MockInvalidateTypeUnknown, { type: requests.type })
    for (let index = 0; index < requests.entryCount; index++) {
      const bytes = requests.copyEntry(type, index, size, size)
      if (bytes instanceof Refusal) return bytes
      const { flags, iotlb_id } = decode(bytes)
      const refusal = invalidateEntries(this.iotlb, flags, iotlb_id)
      if (refusal instanceof Refusal) return refusal
      requests.handled++
    }
  }

  free(): void {}
}

/** Zeroes one entry or all of them; the index is checked in any case. */
export const invalidateEntries = (
  entries: Uint32Array,
  flags: number,
  index: number,
): Result<void> => {
  const refusal = checkInvalidation(entries, flags, index)
  if (refusal !== undefined) return refusal
  if ((flags & IOMMU_TEST_INVALIDATE_FLAGS.IOMMU_TEST_INVALIDATE_FLAG_ALL) !== 0) entries.fill(0)
  else entries[index] = 0
}

export const checkInvalidation = (
  entries: Uint32Array,
  flags: number,
  index: number,
): Refusal | undefined => {
  if ((flags & ~IOMMU_TEST_INVALIDATE_FLAGS.IOMMU_TEST_INVALIDATE_FLAG_ALL) !== 0)
    return refuse(MockInvalidateFlagUnknown, { flags })
  const last = entries.length - 1
  if (index > last) return refuse(MockCacheIndexTooLarge, { index, last })
  return undefined
}

/** No DMA passes; what a mock device idles on. */
export class MockBlockedDomain implements StaticDomain {
  readonly type = 'blocked'
  readonly driver: IommuDriver
  faultCapable = false

  constructor(driver: IommuDriver) {
    this.driver = driver
  }

  attach(device: IommuDevice): Result<void> {
    asMock(device).viommu = undefined
  }

  attachPasid(device: IommuDevice, pasid: Pasid): Result<void> {
    if (pasid === MOCK.IOMMU_TEST_PASID_RESERVED) asMock(device).pasid1024Armed = false
  }

  free(): void {}
}
