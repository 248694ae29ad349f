/** What the mock IOMMU takes and gives as driver's data (05 §A.2 to §A.5). */
import { enum32, flags32, hex32, u32 } from './fields.ts'
import { struct } from './layout.ts'
import { MOCK_IOMMUPT } from './test-cmd.ts'

/** Answer of GET_HW_INFO. */
export const iommu_test_hw_info = struct('iommu_test_hw_info', {
  flags: flags32({}, 'out', 'None are defined.'),
  test_reg: hex32('out', 'IOMMU_HW_INFO_SELFTEST_REGVAL.'),
})

/** Data of HWPT_ALLOC; at least `iotlb`. */
export const iommu_hwpt_selftest = struct('iommu_hwpt_selftest', {
  iotlb: hex32('in', 'What all cache entries of a nested table hold at first.'),
  pagetable_type: enum32(MOCK_IOMMUPT, 'in', 'Geometry of a paging table.'),
})

export const IOMMU_TEST_INVALIDATE_FLAGS = { IOMMU_TEST_INVALIDATE_FLAG_ALL: 1 << 0 } as const

/** Entry of HWPT_INVALIDATE on a nested table. */
export const iommu_hwpt_invalidate_selftest = struct('iommu_hwpt_invalidate_selftest', {
  flags: flags32(IOMMU_TEST_INVALIDATE_FLAGS, 'in', 'All entries.'),
  iotlb_id: u32('in', 'Which entry.'),
})

/** Entry of HWPT_INVALIDATE on a vIOMMU. */
export const iommu_viommu_invalidate_selftest = struct('iommu_viommu_invalidate_selftest', {
  flags: flags32(IOMMU_TEST_INVALIDATE_FLAGS, 'in', 'All entries.'),
  vdev_id: hex32('in', 'Virtual ID of the device.'),
  cache_id: u32('in', 'Which entry.'),
})
