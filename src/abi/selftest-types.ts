/** Type numbers that only kernels with the test interface know (05 §A.1.3). */

export const IOMMU_HW_INFO_TYPE_SELFTEST = 0xfeed_beef
export const IOMMU_HWPT_DATA_SELFTEST = 0xdead
export const IOMMU_HWPT_INVALIDATE_DATA_SELFTEST = 0xdead_beef
/** Never accepted; there so that a test can pass a wrong type. */
export const IOMMU_HWPT_INVALIDATE_DATA_SELFTEST_INVALID = 0x0dad_beef
export const IOMMU_VIOMMU_TYPE_SELFTEST = 0xdead_beef
export const IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST = 0xdead_beef
/** Never accepted either. */
export const IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST_INVALID = 0x0dad_beef
export const IOMMU_VEVENTQ_TYPE_SELFTEST = 0xbeef_beef
export const IOMMU_HW_QUEUE_TYPE_SELFTEST = 0xdead_beef
