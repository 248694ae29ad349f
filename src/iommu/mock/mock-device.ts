/** A mock device (05 §A.2.2): alone in its group, behind the one mock IOMMU. */
import { MOCK, MOCK_DEVICE_FLAGS } from '../../abi/test-cmd.ts'
import type {
  IommuDevice,
  IommuGroup,
  IommuInstance,
  ViommuServices,
} from '../../engine/iommu-driver.ts'

export class MockDevice implements IommuDevice {
  readonly name: string
  readonly instance: IommuInstance
  readonly group: IommuGroup
  readonly maxPasids: number
  readonly msiIsolated = true
  readonly dirtyCapable: boolean
  /** Which `iommufd_mockN` it is. */
  readonly number: number
  /** Cleared by vIOMMU invalidation, never set again. */
  readonly cache: Uint32Array
  /** The vIOMMU whose nested domain the RID is on, and the virtual ID recorded when it came there. */
  viommu: ViommuServices | undefined
  virtId = 0n
  /** The fault simulator of PASID 1024: the next set of a domain there fails (05 §A.2.5). */
  pasid1024Armed = false

  constructor(instance: IommuInstance, number: number, groupNumber: number, flags: number) {
    this.name = `iommufd_mock${number}`
    this.number = number
    this.instance = instance
    this.group = { number: groupNumber, devices: [this] }
    this.dirtyCapable = (flags & MOCK_DEVICE_FLAGS.MOCK_FLAGS_DEVICE_NO_DIRTY) === 0
    this.maxPasids =
      (flags & MOCK_DEVICE_FLAGS.MOCK_FLAGS_DEVICE_PASID) !== 0 ? 1 << MOCK.MOCK_PASID_WIDTH : 1
    this.cache = new Uint32Array(MOCK.MOCK_DEV_CACHE_NUM).fill(MOCK.IOMMU_TEST_DEV_CACHE_DEFAULT)
  }
}
