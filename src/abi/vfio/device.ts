/** The VFIO device file: what it is, and its tie to an iommufd (02 §5, 06 §3). */
import {
  argsz,
  argszReplaced,
  fd32,
  flags32,
  id32,
  pasid32,
  reserved32,
  u32,
  va64,
} from '../fields.ts'
import { vfioIoctl, vfioStructIoctl } from '../ioctl.ts'
import { nested, struct } from '../layout.ts'
import { vfio_info_cap_header } from './capability.ts'

export const VFIO_DEVICE_FLAGS = {
  VFIO_DEVICE_FLAGS_RESET: 1 << 0,
  VFIO_DEVICE_FLAGS_PCI: 1 << 1,
  VFIO_DEVICE_FLAGS_PLATFORM: 1 << 2,
  VFIO_DEVICE_FLAGS_AMBA: 1 << 3,
  VFIO_DEVICE_FLAGS_CCW: 1 << 4,
  VFIO_DEVICE_FLAGS_AP: 1 << 5,
  VFIO_DEVICE_FLAGS_FSL_MC: 1 << 6,
  VFIO_DEVICE_FLAGS_CAPS: 1 << 7,
  VFIO_DEVICE_FLAGS_CDX: 1 << 8,
} as const

export const vfio_device_info = struct('vfio_device_info', {
  argsz: argszReplaced(),
  flags: flags32(VFIO_DEVICE_FLAGS, 'out', 'Kind of device, and what works.'),
  num_regions: u32('out', 'Regions, numbered from 0; some may be empty.'),
  num_irqs: u32('out', 'Kinds of interrupt, numbered from 0; some may have no vector.'),
  cap_offset: u32(
    'out',
    'Where the capability chain begins; 0 if there is none or it did not fit.',
  ),
  pad: u32('out', 'Zero.'),
})

export const VFIO_DEVICE_GET_INFO = vfioStructIoctl(
  'device',
  'VFIO_DEVICE_GET_INFO',
  7,
  vfio_device_info,
  { meaning: 'Describes the device.', minimum: 'num_irqs', writeBack: 'whole' },
)

export const VFIO_DEVICE_INFO_CAPS = {
  VFIO_DEVICE_INFO_CAP_ZPCI_BASE: 1,
  VFIO_DEVICE_INFO_CAP_ZPCI_GROUP: 2,
  VFIO_DEVICE_INFO_CAP_ZPCI_UTIL: 3,
  VFIO_DEVICE_INFO_CAP_ZPCI_PFIP: 4,
  VFIO_DEVICE_INFO_CAP_PCI_ATOMIC_COMP: 5,
} as const

export const VFIO_PCI_ATOMIC_COMP_FLAGS = {
  VFIO_PCI_ATOMIC_COMP32: 1 << 0,
  VFIO_PCI_ATOMIC_COMP64: 1 << 1,
  VFIO_PCI_ATOMIC_COMP128: 1 << 2,
} as const

export const vfio_device_info_cap_pci_atomic_comp = struct('vfio_device_info_cap_pci_atomic_comp', {
  header: nested(vfio_info_cap_header, 'out', 'Capability 5, version 1.'),
  flags: flags32(VFIO_PCI_ATOMIC_COMP_FLAGS, 'out', 'Widths of atomic operations completed.'),
  reserved: reserved32('Zero.'),
})

export const VFIO_DEVICE_RESET = vfioIoctl(
  'device',
  'VFIO_DEVICE_RESET',
  11,
  'none',
  'Resets the device.',
)

export const VFIO_DEVICE_BIND_FLAGS = { VFIO_DEVICE_BIND_FLAG_TOKEN: 1 << 0 } as const

export const vfio_device_bind_iommufd = struct('vfio_device_bind_iommufd', {
  argsz: argsz(),
  flags: flags32(VFIO_DEVICE_BIND_FLAGS, 'in', 'Whether a token is given.'),
  iommufd: fd32('in', 'The iommufd.'),
  out_devid: id32('out', 'ID of the device in the iommufd.'),
  token_uuid_ptr: va64('in', 'The 16 bytes of the token, with TOKEN.'),
})

export const VFIO_DEVICE_BIND_IOMMUFD = vfioStructIoctl(
  'device',
  'VFIO_DEVICE_BIND_IOMMUFD',
  18,
  vfio_device_bind_iommufd,
  {
    meaning: 'Gives the device to an iommufd; only then can it be used.',
    minimum: 'out_devid',
    // 02 §5.4: the tail beyond the structure must be zero, unlike with other VFIO requests.
    argument: 'size-word',
    writeBack: { field: 'out_devid' },
  },
)

export const VFIO_DEVICE_ATTACH_FLAGS = { VFIO_DEVICE_ATTACH_PASID: 1 << 0 } as const

export const vfio_device_attach_iommufd_pt = struct('vfio_device_attach_iommufd_pt', {
  argsz: argsz(),
  flags: flags32(VFIO_DEVICE_ATTACH_FLAGS, 'in', 'Whether pasid counts.'),
  pt_id: id32('inout', 'In: the IOAS or hardware page table; out: the page table in effect.'),
  pasid: pasid32('in', 'The PASID to attach, with PASID.'),
})

export const VFIO_DEVICE_ATTACH_IOMMUFD_PT = vfioStructIoctl(
  'device',
  'VFIO_DEVICE_ATTACH_IOMMUFD_PT',
  19,
  vfio_device_attach_iommufd_pt,
  {
    meaning: 'Attaches the device, or a PASID of it, to an address space.',
    minimum: 'pt_id',
    writeBack: { field: 'pt_id' },
  },
)

export const VFIO_DEVICE_DETACH_FLAGS = { VFIO_DEVICE_DETACH_PASID: 1 << 0 } as const

export const vfio_device_detach_iommufd_pt = struct('vfio_device_detach_iommufd_pt', {
  argsz: argsz(),
  flags: flags32(VFIO_DEVICE_DETACH_FLAGS, 'in', 'Whether pasid counts.'),
  pasid: pasid32('in', 'The PASID to detach, with PASID.'),
})

export const VFIO_DEVICE_DETACH_IOMMUFD_PT = vfioStructIoctl(
  'device',
  'VFIO_DEVICE_DETACH_IOMMUFD_PT',
  20,
  vfio_device_detach_iommufd_pt,
  {
    meaning: 'Detaches the device, or a PASID of it.',
    minimum: 'flags',
    writeBack: 'none',
  },
)
