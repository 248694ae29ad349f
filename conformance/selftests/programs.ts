/** Linux's own test programs that are run, and how. */

export interface SelftestProgram {
  readonly name: string
  /** Directory below tools/testing/selftests. */
  readonly suite: 'iommu' | 'vfio'
  /** Options of `iommufd-user run`. */
  readonly runOptions: readonly string[]
  readonly arguments: readonly string[]
  /** Shell-free preparation in a real machine: what is written to which file, in order. */
  readonly prepare: readonly (readonly [path: string, text: string])[]
}

const iommu = (name: string): SelftestProgram => ({
  name,
  suite: 'iommu',
  runOptions: [],
  arguments: [],
  prepare: [],
})

export const selftestPrograms: readonly SelftestProgram[] = [
  iommu('iommufd'),
  iommu('iommufd_fail_nth'),
]
