/** What can be said of a machine beside its devices: the keys of a machine file. */
import { platforms } from '../iommu/platforms.ts'
import { type OptionDeclarations, oneOf, yesOrNo } from './option-kind.ts'

export const machineOptions = {
  platform: oneOf(
    'whose IOMMU PCI devices stand behind; iommufd-user devices describes them',
    platforms.map(({ name }) => name),
  ),
  container: oneOf(
    "what /dev/vfio/vfio is: an iommufd in the place of a container, or VFIO's own container",
    ['iommufd', 'type1'],
  ),
  'compat-ioas': oneOf(
    'whether IOMMU_VFIO_IOAS SET may put the devices of one container on different IOASes',
    ['linux', 'strict'],
  ),
  'test-interface': yesOrNo(
    "whether the mock hardware of Linux's own tests (IOMMU_TEST_CMD) is there",
  ),
} as const satisfies OptionDeclarations
