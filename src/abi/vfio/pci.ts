/** What only PCI devices have: bus resets and eventfds that write registers (06 §7 and §8). */
import {
  argsz,
  fd32,
  flags32,
  flexible,
  hex8,
  hex32,
  hex64,
  id32,
  offset64,
  overlay,
  reserved32,
  u16,
  u32,
} from '../fields.ts'
import { vfioIoctl, vfioStructIoctl } from '../ioctl.ts'
import { nested, struct } from '../layout.ts'

export const VFIO_PCI_DEVIDS = {
  /** Not bound, but its group belongs to the same iommufd. */
  VFIO_PCI_DEVID_OWNED: 0,
  /** -1 in the header. */
  VFIO_PCI_DEVID_NOT_OWNED: 0xffff_ffff,
} as const

export const vfio_pci_dependent_device = struct('vfio_pci_dependent_device', {
  group_id: u32('out', 'Its IOMMU group, without DEV_ID.'),
  devid: overlay(
    'group_id',
    id32('out', 'Its ID in the iommufd or a VFIO_PCI_DEVID, with DEV_ID.'),
  ),
  segment: u16('out', 'PCI domain.'),
  bus: hex8('out', 'Bus number.'),
  devfn: hex8('out', 'Device number times 8 plus function number.'),
})

export const VFIO_PCI_HOT_RESET_FLAGS = {
  VFIO_PCI_HOT_RESET_FLAG_DEV_ID: 1 << 0,
  VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED: 1 << 1,
} as const

export const vfio_pci_hot_reset_info = struct('vfio_pci_hot_reset_info', {
  argsz: argsz(),
  flags: flags32(VFIO_PCI_HOT_RESET_FLAGS, 'out', 'What the entries hold; all are owned.'),
  count: u32('out', 'Functions that a reset affects.'),
  devices: flexible(nested(vfio_pci_dependent_device, 'out', 'Those functions.')),
})

export const VFIO_DEVICE_GET_PCI_HOT_RESET_INFO = vfioStructIoctl(
  'device',
  'VFIO_DEVICE_GET_PCI_HOT_RESET_INFO',
  12,
  vfio_pci_hot_reset_info,
  { meaning: 'Lists the functions that a bus reset affects.', writeBack: 'whole' },
)

export const vfio_pci_hot_reset = struct('vfio_pci_hot_reset', {
  argsz: argsz(),
  flags: flags32({}, 'in', 'None are defined.'),
  count: u32('in', 'Number of descriptors.'),
  group_fds: flexible(fd32('in', 'Groups that prove ownership of all functions.')),
})

export const VFIO_DEVICE_PCI_HOT_RESET = vfioStructIoctl(
  'device',
  'VFIO_DEVICE_PCI_HOT_RESET',
  13,
  vfio_pci_hot_reset,
  { meaning: "Resets the device's slot or bus.", writeBack: 'none' },
)

export const VFIO_GFX_PLANE_FLAGS = {
  VFIO_GFX_PLANE_TYPE_PROBE: 1 << 0,
  VFIO_GFX_PLANE_TYPE_DMABUF: 1 << 1,
  VFIO_GFX_PLANE_TYPE_REGION: 1 << 2,
} as const

/** Of graphics devices; vfio-pci does not answer it. */
export const vfio_device_gfx_plane_info = struct('vfio_device_gfx_plane_info', {
  argsz: argsz(),
  flags: flags32(VFIO_GFX_PLANE_FLAGS, 'in', 'How the plane is wanted.'),
  drm_plane_type: u32('in', 'Which plane.'),
  drm_format: hex32('out', 'Pixel format.'),
  drm_format_mod: hex64('out', 'Modifier of the format.'),
  width: u32('out', 'Pixels.'),
  height: u32('out', 'Pixels.'),
  stride: u32('out', 'Bytes of a line.'),
  size: u32('out', 'Bytes of the plane.'),
  x_pos: u32('out', 'Horizontal position of a cursor.'),
  y_pos: u32('out', 'Vertical position of a cursor.'),
  x_hot: u32('out', 'Horizontal hot spot.'),
  y_hot: u32('out', 'Vertical hot spot.'),
  region_index: u32('out', 'The region that holds it.'),
  dmabuf_id: overlay('region_index', u32('out', 'Its number for GET_GFX_DMABUF.')),
  reserved: reserved32(),
})

export const VFIO_DEVICE_QUERY_GFX_PLANE = vfioStructIoctl(
  'device',
  'VFIO_DEVICE_QUERY_GFX_PLANE',
  14,
  vfio_device_gfx_plane_info,
  { meaning: 'Describes a graphics plane.', writeBack: 'whole' },
)
export const VFIO_DEVICE_GET_GFX_DMABUF = vfioIoctl(
  'device',
  'VFIO_DEVICE_GET_GFX_DMABUF',
  15,
  'int-pointer',
  'Gives a descriptor for a graphics plane.',
)

export const VFIO_DEVICE_IOEVENTFD_FLAGS = {
  VFIO_DEVICE_IOEVENTFD_8: 1 << 0,
  VFIO_DEVICE_IOEVENTFD_16: 1 << 1,
  VFIO_DEVICE_IOEVENTFD_32: 1 << 2,
  VFIO_DEVICE_IOEVENTFD_64: 1 << 3,
} as const

export const VFIO_DEVICE_IOEVENTFD_SIZE_MASK = 0xf

export const vfio_device_ioeventfd = struct('vfio_device_ioeventfd', {
  argsz: argsz(),
  flags: flags32(VFIO_DEVICE_IOEVENTFD_FLAGS, 'in', 'Width of the write: exactly one.'),
  offset: offset64('in', "The register, as offset in the device's file."),
  data: hex64('in', 'What to write there.'),
  fd: fd32('in', 'The eventfd that causes the write; -1 removes it.'),
  reserved: reserved32('Not looked at.'),
})

export const VFIO_DEVICE_IOEVENTFD = vfioStructIoctl(
  'device',
  'VFIO_DEVICE_IOEVENTFD',
  16,
  vfio_device_ioeventfd,
  {
    meaning: 'Lets an eventfd write a register.',
    minimum: 'fd',
    writeBack: 'none',
  },
)
