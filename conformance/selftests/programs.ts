/** Linux's own test programs that are run, and how. */
import { scratchImage } from './scratch-image.ts'

export interface SelftestProgram {
  readonly name: string
  /** Tells apart ways to run the same program; undefined for the way in which it was recorded. */
  readonly way?: string
  /** Directory below tools/testing/selftests. */
  readonly suite: 'iommu' | 'vfio'
  /** Options of `iommufd-user run`. */
  readonly runOptions: readonly string[]
  readonly arguments: readonly string[]
  /** No Linux was recorded, as the device is not to be had there: every test has to pass. */
  readonly allPass?: boolean
  /** But for these, which Linux skips. */
  readonly skipped?: RegExp
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
const IOAT = '0000:01:00.0'

/** As in the recording machine, whose /dev/vfio/vfio is VFIO's own container. */
const vfio = (name: string, explained: readonly Explained[] = []): SelftestProgram => ({
  name,
  suite: 'vfio',
  runOptions: ['--container=type1', '--device', `edu,addr=${EDU}`],
  arguments: [EDU],
  explained,
})

/** With an iommufd in the place of VFIO's container. */
const throughIommufd = (
  program: SelftestProgram,
  explained: readonly Explained[] = [],
): SelftestProgram => ({
  ...program,
  way: 'with --container=iommufd',
  runOptions: ['--container=iommufd', ...program.runOptions.slice(1)],
  explained: [...program.explained, ...explained],
})

const edu = {
  mapping: vfio('vfio_dma_mapping_test'),
  mmio: vfio('vfio_dma_mapping_mmio_test'),
  setup: vfio('vfio_iommufd_setup_test'),
  device: vfio('vfio_pci_device_test', [
    { tests: /\.reset$/, because: 'edu can be reset here; in the recording machine it cannot' },
  ]),
}

const driver: SelftestProgram = {
  name: 'vfio_pci_driver_test',
  suite: 'vfio',
  runOptions: ['--container=type1', '--device', `ioat,addr=${IOAT}`],
  arguments: [IOAT],
  allPass: true,
  explained: [],
}

const NVME = '0000:02:00.0'

/** The recording machine has no second NVMe device; what Linux gives with one is known (06 §11.1). */
const nvme: SelftestProgram = {
  name: 'vfio_pci_device_test',
  way: 'with an NVMe device',
  suite: 'vfio',
  runOptions: ['--container=type1', '--device', `nvme:${scratchImage(64)},addr=${NVME}`],
  arguments: [NVME],
  allPass: true,
  // The controller has MSI-X and no MSI.
  skipped: /\.msi\./,
  explained: [],
}

export const selftestPrograms: readonly SelftestProgram[] = [
  iommu('iommufd'),
  iommu('iommufd_fail_nth'),
  edu.mapping,
  edu.mmio,
  edu.setup,
  edu.device,
  driver,
  nvme,
  throughIommufd(edu.mapping),
  throughIommufd(edu.mmio, [
    {
      tests: /\.vfio_type1(v2)?_iommu\./,
      because: 'an iommufd takes no BAR, in the place of a container either (06 §11.1)',
    },
  ]),
  throughIommufd(driver),
]
