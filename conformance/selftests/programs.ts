/** Linux's own test programs that are run, and how. */

export interface SelftestProgram {
  readonly name: string
  /** Directory below tools/testing/selftests. */
  readonly suite: 'iommu' | 'vfio'
  /** Options of `iommufd-user run`. */
  readonly runOptions: readonly string[]
  readonly arguments: readonly string[]
  /** Where its tests end otherwise than on Linux, and why that is no fault. */
  readonly explained: readonly Explained[]
}

export interface Explained {
  readonly tests: RegExp
  readonly because: string
}

const iommu = (name: string): SelftestProgram => ({
  name,
  suite: 'iommu',
  runOptions: [],
  arguments: [],
  explained: [],
})

/** The first edu device of the machine that doors/real-kernel.ts boots; vfio-pci drives it there. */
const EDU = '0000:00:10.0'

const vfio = (name: string, explained: readonly Explained[] = []): SelftestProgram => ({
  name,
  suite: 'vfio',
  runOptions: ['--device', `edu,addr=${EDU}`],
  arguments: [EDU],
  explained,
})

export const selftestPrograms: readonly SelftestProgram[] = [
  iommu('iommufd'),
  iommu('iommufd_fail_nth'),
  vfio('vfio_dma_mapping_test'),
  vfio('vfio_dma_mapping_mmio_test', [
    {
      tests: /./,
      because: 'the registers of edu trap here, so that none of its BARs can be mapped',
    },
  ]),
  vfio('vfio_iommufd_setup_test'),
  vfio('vfio_pci_device_test', [
    { tests: /\.reset$/, because: 'edu can be reset here; in the recording machine it cannot' },
  ]),
]
