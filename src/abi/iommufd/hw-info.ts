/** What the IOMMU behind a device can do: GET_HW_INFO and each platform's answer (03 §10). */
import {
  array,
  enum32,
  flags32,
  flags64,
  hex32,
  hex64,
  id32,
  overlay,
  reserved8,
  reserved32,
  sizeWord,
  u8,
  u32,
  va64,
} from '../fields.ts'
import { iommufdCommand } from '../ioctl.ts'
import { struct } from '../layout.ts'
import { IOMMU_HW_INFO_TYPE_SELFTEST } from '../selftest-types.ts'

export const IOMMUFD_HW_INFO_FLAGS = {
  IOMMU_HW_INFO_FLAG_INPUT_TYPE: 1 << 0,
} as const

export const IOMMU_HW_INFO_TYPE = {
  /** Also IOMMU_HW_INFO_TYPE_DEFAULT, as input. */
  IOMMU_HW_INFO_TYPE_NONE: 0,
  IOMMU_HW_INFO_TYPE_INTEL_VTD: 1,
  IOMMU_HW_INFO_TYPE_ARM_SMMUV3: 2,
  IOMMU_HW_INFO_TYPE_TEGRA241_CMDQV: 3,
  IOMMU_HW_INFO_TYPE_AMD: 4,
} as const

export const IOMMU_HW_INFO_TYPE_DEFAULT = 0

export const IOMMUFD_HW_CAPABILITIES = {
  IOMMU_HW_CAP_DIRTY_TRACKING: 1 << 0,
  IOMMU_HW_CAP_PCI_PASID_EXEC: 1 << 1,
  IOMMU_HW_CAP_PCI_PASID_PRIV: 1 << 2,
  IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED: 1 << 3,
} as const

const hwInfoTypes = { ...IOMMU_HW_INFO_TYPE, IOMMU_HW_INFO_TYPE_SELFTEST }

export const iommu_hw_info = struct('iommu_hw_info', {
  size: sizeWord(),
  flags: flags32(IOMMUFD_HW_INFO_FLAGS, 'in', 'Whether in_data_type counts.'),
  dev_id: id32('in', 'The device.'),
  data_len: u32('inout', 'In: bytes that data_uptr holds; out: bytes that there are.'),
  data_uptr: va64('in', "Where the driver's answer goes."),
  in_data_type: enum32(hwInfoTypes, 'in', 'The answer wanted, with INPUT_TYPE.'),
  out_data_type: overlay('in_data_type', enum32(hwInfoTypes, 'out', 'The answer given.')),
  out_max_pasid_log2: u8('out', 'Bits of a PASID; 0 without PASIDs.'),
  __reserved: array(reserved8(), 3),
  out_capabilities: flags64(IOMMUFD_HW_CAPABILITIES, 'out', 'What works for this device.'),
})

export const IOMMU_GET_HW_INFO = iommufdCommand('IOMMU_GET_HW_INFO', 0x8a, iommu_hw_info, {
  meaning: "Describes a device's IOMMU.",
  minimum: '__reserved',
  writeBack: 'whole',
})

export const IOMMU_HW_INFO_VTD_FLAGS = {
  IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17: 1 << 0,
} as const

export const iommu_hw_info_vtd = struct('iommu_hw_info_vtd', {
  flags: flags32(IOMMU_HW_INFO_VTD_FLAGS, 'out', 'Errata that user space must know.'),
  __reserved: reserved32('Zero.'),
  cap_reg: hex64('out', 'Capability register.'),
  ecap_reg: hex64('out', 'Extended capability register.'),
})

export const iommu_hw_info_arm_smmuv3 = struct('iommu_hw_info_arm_smmuv3', {
  flags: flags32({}, 'out', 'None are defined.'),
  __reserved: reserved32('Zero.'),
  idr: array(hex32('out', 'Identification registers IDR0 to IDR5.'), 6),
  iidr: hex32('out', 'Implementation identification register.'),
  aidr: hex32('out', 'Architecture identification register.'),
})

export const iommu_hw_info_tegra241_cmdqv = struct('iommu_hw_info_tegra241_cmdqv', {
  flags: flags32({}, 'out', 'None are defined.'),
  version: u8('out', 'Version of the command queue hardware.'),
  log2vcmdqs: u8('out', 'Virtual command queues, as a power of two.'),
  log2vsids: u8('out', 'Stream ID replacements, as a power of two.'),
  __reserved: reserved8('Zero.'),
})

export const iommu_hw_info_amd = struct('iommu_hw_info_amd', {
  efr: hex64('out', 'Extended feature register.'),
  efr2: hex64('out', 'Extended feature register 2.'),
})
