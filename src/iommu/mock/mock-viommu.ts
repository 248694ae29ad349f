/** The mock's vIOMMU, its mapped pages, its cache invalidation and its hardware queues (05 §A.5). */
import { byteLength, fileOffset, hex, type ObjectId } from '../../abi/brands.ts'
import { iommu_viommu_selftest } from '../../abi/iommufd/viommu.ts'
import { iommu_viommu_invalidate_selftest } from '../../abi/selftest-data.ts'
import {
  IOMMU_HW_QUEUE_TYPE_SELFTEST,
  IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST,
  IOMMU_VIOMMU_TYPE_SELFTEST,
} from '../../abi/selftest-types.ts'
import { MOCK } from '../../abi/test-cmd.ts'
import type {
  DriverArray,
  DriverData,
  HwQueueRequest,
  PagingDomain,
  PublishedRegion,
  ViommuOps,
  ViommuServices,
} from '../../engine/iommu-driver.ts'
import { Refusal, type Result, reasonKind, refuse } from '../../engine/reason.ts'
import {
  asMock,
  checkInvalidation,
  invalidateEntries,
  MockInvalidateTypeUnknown,
} from './mock-domains.ts'
import type { MockIommu } from './mock-iommu.ts'

export const MockInvalidateArrayTooLarge = reasonKind<{ entries: number; most: number }>({
  code: 'mock-invalidate-array-too-large',
  errno: 'ENOMEM',
  cite: '05 §A.5.2 step 3',
  say: ({ entries, most }) =>
    `${entries} requests do not fit the 4 MiB that are copied at once; ${most} do`,
  advice: 'Pass the requests in several calls.',
})

export const MockVirtIdUnknown = reasonKind<{ virtId: number }>({
  code: 'mock-virt-id-unknown',
  errno: 'EINVAL',
  cite: '05 §A.5.2 step 4',
  say: ({ virtId }) => `no vDEVICE of this vIOMMU has the virtual ID ${hex(virtId)}`,
  advice: 'Allocate a vDEVICE with that virt_id first.',
})

export const MockQueueIndexTooLarge = reasonKind<{ index: number }>({
  code: 'mock-queue-index-too-large',
  errno: 'EINVAL',
  cite: '05 §A.5.3',
  say: ({ index }) =>
    `there is no hardware queue ${index}: a mock vIOMMU has ${MOCK.IOMMU_TEST_HW_QUEUE_MAX}`,
  advice: 'Use an index below IOMMU_TEST_HW_QUEUE_MAX.',
})

export const MockQueueTaken = reasonKind<{ index: number; by: ObjectId }>({
  code: 'mock-queue-taken',
  errno: 'EEXIST',
  cite: '05 §A.5.3',
  say: ({ index, by }) => `hardware queue ${index} of this vIOMMU is object ${by} already`,
  advice: 'Destroy the earlier queue, or use another index.',
})

export const MockQueueOutOfOrder = reasonKind<{ index: number }>({
  code: 'mock-queue-out-of-order',
  errno: 'EIO',
  cite: '05 §A.5.3',
  say: ({ index }) => `hardware queue ${index} needs queue ${index - 1}, which does not exist`,
  advice: 'Allocate the queues in ascending order of their index.',
})

export const MockQueueNotTranslated = reasonKind<{ iova: bigint }>({
  code: 'mock-queue-not-translated',
  errno: 'EFAULT',
  cite: '05 §A.5.3',
  say: ({ iova }) =>
    `the parent page table does not translate IOVA ${hex(iova)} to the memory that was pinned`,
  advice:
    "Map the queue's memory into the IOAS of the parent HWPT, and let nesting_parent_iova name it.",
})

const REGION_BYTES = 8192
const DATA_MINIMUM = 8
const MAX_COPIED = 4 << 20

export const initMockViommu = (
  iommu: MockIommu,
  services: ViommuServices,
  parent: PagingDomain,
  data: DriverData | undefined,
): Result<ViommuOps> => {
  if (data === undefined) return new MockViommu(iommu, services, parent, undefined)
  const { size, decode, encode } = iommu_viommu_selftest
  const type = IOMMU_VIOMMU_TYPE_SELFTEST
  const bytes = data.copyIn(type, DATA_MINIMUM, size)
  if (bytes instanceof Refusal) return bytes
  const { in_data } = decode(bytes)
  const region = services.publishRegion(REGION_BYTES)
  if (region instanceof Refusal) return region
  const word = new Uint8Array(4)
  new DataView(word.buffer).setUint32(0, in_data, true)
  region.write(0, word)
  const answer = encode({
    in_data,
    out_data: in_data,
    out_mmap_offset: fileOffset(region.mmapOffset),
    out_mmap_length: byteLength(BigInt(REGION_BYTES)),
  })
  const copied = data.copyOut(type, DATA_MINIMUM, answer)
  if (copied instanceof Refusal) {
    region.withdraw()
    return copied
  }
  return new MockViommu(iommu, services, parent, region)
}

class MockViommu implements ViommuOps {
  readonly #iommu: MockIommu
  readonly #services: ViommuServices
  readonly #parent: PagingDomain
  readonly #region: PublishedRegion | undefined
  readonly #queues: (ObjectId | undefined)[] = []

  constructor(
    iommu: MockIommu,
    services: ViommuServices,
    parent: PagingDomain,
    region: PublishedRegion | undefined,
  ) {
    this.#iommu = iommu
    this.#services = services
    this.#parent = parent
    this.#region = region
  }

  destroy(): void {
    this.#region?.withdraw()
  }

  allocNested(_device: unknown, flags: number, data: DriverData) {
    return this.#iommu.nested(flags, data, this.#services)
  }

  invalidate(requests: DriverArray): Result<void> {
    const type = IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST
    if (requests.type !== type) return refuse(MockInvalidateTypeUnknown, { type: requests.type })
    if (requests.entryCount === 0) return
    const { size, decode } = iommu_viommu_invalidate_selftest
    const most = Math.floor(MAX_COPIED / size)
    if (requests.entryCount > most) {
      // The one case in which entry_num comes back as it was.
      requests.handled = requests.entryCount
      return refuse(MockInvalidateArrayTooLarge, { entries: requests.entryCount, most })
    }
    const all = requests.copyAll(type, size)
    if (all instanceof Refusal) return all
    for (let at = 0; at < all.length; at += size) {
      const { flags, vdev_id, cache_id } = decode(all.subarray(at, at + size))
      const refusal = this.#invalidateOne(flags, vdev_id, cache_id)
      if (refusal instanceof Refusal) return refusal
      requests.handled++
    }
  }

  #invalidateOne(flags: number, virtId: number, index: number): Result<void> {
    const refusal = checkInvalidation(NO_CACHE, flags, index)
    if (refusal !== undefined) return refusal
    const device = this.#services.deviceOf(BigInt(virtId))
    if (device === undefined) return refuse(MockVirtIdUnknown, { virtId })
    return invalidateEntries(asMock(device).cache, flags, index)
  }

  offersHwQueue(type: number): boolean {
    return type === IOMMU_HW_QUEUE_TYPE_SELFTEST
  }

  initHwQueue(queue: HwQueueRequest): Result<{ destroy(): void; dependsOn?: ObjectId }> {
    const { id, index, iova, phys } = queue
    if (index >= MOCK.IOMMU_TEST_HW_QUEUE_MAX) return refuse(MockQueueIndexTooLarge, { index })
    const taken = this.#queues[index]
    if (taken !== undefined) return refuse(MockQueueTaken, { index, by: taken })
    const before = index === 0 ? undefined : this.#queues[index - 1]
    if (index > 0 && before === undefined) return refuse(MockQueueOutOfOrder, { index })
    if (this.#parent.iovaToPhys(iova) !== phys) return refuse(MockQueueNotTranslated, { iova })
    this.#queues[index] = id
    return {
      destroy: () => {
        this.#queues[index] = undefined
      },
      ...(before === undefined ? {} : { dependsOn: before }),
    }
  }
}

/** Has as many entries as a device's cache: for checking an index before the device is known. */
const NO_CACHE = new Uint32Array(MOCK.MOCK_DEV_CACHE_NUM)
