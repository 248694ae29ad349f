/** The flags of IOMMU_IOAS_MAP and its relatives, by the letters that the specification uses. */
export const F = 1
export const W = 2
export const R = 4
