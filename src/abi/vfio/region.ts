/** Regions of a device: where in its file they are, and their capabilities (06 §4). */
import {
  argszReplaced,
  flags32,
  flexible,
  hex32,
  len64,
  offset64,
  reserved32,
  u32,
} from '../fields.ts'
import { vfioStructIoctl } from '../ioctl.ts'
import { nested, struct } from '../layout.ts'
import { vfio_info_cap_header } from './capability.ts'

export const VFIO_REGION_INFO_FLAGS = {
  VFIO_REGION_INFO_FLAG_READ: 1 << 0,
  VFIO_REGION_INFO_FLAG_WRITE: 1 << 1,
  VFIO_REGION_INFO_FLAG_MMAP: 1 << 2,
  VFIO_REGION_INFO_FLAG_CAPS: 1 << 3,
} as const

export const VFIO_PCI_REGIONS = {
  VFIO_PCI_BAR0_REGION_INDEX: 0,
  VFIO_PCI_BAR1_REGION_INDEX: 1,
  VFIO_PCI_BAR2_REGION_INDEX: 2,
  VFIO_PCI_BAR3_REGION_INDEX: 3,
  VFIO_PCI_BAR4_REGION_INDEX: 4,
  VFIO_PCI_BAR5_REGION_INDEX: 5,
  VFIO_PCI_ROM_REGION_INDEX: 6,
  VFIO_PCI_CONFIG_REGION_INDEX: 7,
  VFIO_PCI_VGA_REGION_INDEX: 8,
} as const

export const VFIO_PCI_NUM_REGIONS = 9

export const vfio_region_info = struct('vfio_region_info', {
  argsz: argszReplaced(),
  flags: flags32(VFIO_REGION_INFO_FLAGS, 'out', 'What can be done with it.'),
  index: u32('in', 'Which region.'),
  cap_offset: u32('inout', 'Where the capability chain begins; 0 if it did not fit.'),
  size: len64('out', 'Bytes of the region; 0 if there is none.'),
  offset: offset64('out', "Where it begins in the device's file."),
})

export const VFIO_DEVICE_GET_REGION_INFO = vfioStructIoctl(
  'device',
  'VFIO_DEVICE_GET_REGION_INFO',
  8,
  vfio_region_info,
  { meaning: 'Describes one region.', writeBack: 'whole' },
)

export const VFIO_REGION_INFO_CAPS = {
  VFIO_REGION_INFO_CAP_SPARSE_MMAP: 1,
  VFIO_REGION_INFO_CAP_TYPE: 2,
  VFIO_REGION_INFO_CAP_MSIX_MAPPABLE: 3,
  VFIO_REGION_INFO_CAP_NVLINK2_SSATGT: 4,
  VFIO_REGION_INFO_CAP_NVLINK2_LNKSPD: 5,
} as const

export const vfio_region_sparse_mmap_area = struct('vfio_region_sparse_mmap_area', {
  offset: offset64('out', 'First byte within the region.'),
  size: len64('out', 'Bytes.'),
})

export const vfio_region_info_cap_sparse_mmap = struct('vfio_region_info_cap_sparse_mmap', {
  header: nested(vfio_info_cap_header, 'out', 'Capability 1, version 1.'),
  nr_areas: u32('out', 'Number of areas.'),
  reserved: reserved32('Zero.'),
  areas: flexible(nested(vfio_region_sparse_mmap_area, 'out', 'The parts that can be mapped.')),
})

export const vfio_region_info_cap_type = struct('vfio_region_info_cap_type', {
  header: nested(vfio_info_cap_header, 'out', 'Capability 2, version 1.'),
  type: hex32('out', 'Kind of a region that has no fixed index.'),
  subtype: u32('out', 'Kind within the kind.'),
})

export const VFIO_REGION_TYPES = {
  VFIO_REGION_TYPE_GFX: 1,
  VFIO_REGION_TYPE_CCW: 2,
  VFIO_REGION_TYPE_MIGRATION_DEPRECATED: 3,
  /** With a PCI vendor ID in the lower 16 bits. */
  VFIO_REGION_TYPE_PCI_VENDOR_TYPE: 0x8000_0000,
} as const

export const VFIO_REGION_TYPE_PCI_VENDOR_MASK = 0xffff
