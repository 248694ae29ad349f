/** The VFIO group file (02 §4). */
import { argsz, flags32 } from '../fields.ts'
import { vfioIoctl, vfioStructIoctl } from '../ioctl.ts'
import { struct } from '../layout.ts'

export const VFIO_GROUP_FLAGS = {
  VFIO_GROUP_FLAGS_VIABLE: 1 << 0,
  VFIO_GROUP_FLAGS_CONTAINER_SET: 1 << 1,
} as const

export const vfio_group_status = struct('vfio_group_status', {
  argsz: argsz(),
  flags: flags32(VFIO_GROUP_FLAGS, 'out', 'Whether the group can be used, and is in a container.'),
})

export const VFIO_GROUP_GET_STATUS = vfioStructIoctl(
  'group',
  'VFIO_GROUP_GET_STATUS',
  3,
  vfio_group_status,
  { meaning: 'Says whether the group can be used.', writeBack: 'whole' },
)
export const VFIO_GROUP_SET_CONTAINER = vfioIoctl(
  'group',
  'VFIO_GROUP_SET_CONTAINER',
  4,
  'int-pointer',
  'Puts the group into a container, or connects it to an iommufd.',
)
export const VFIO_GROUP_UNSET_CONTAINER = vfioIoctl(
  'group',
  'VFIO_GROUP_UNSET_CONTAINER',
  5,
  'none',
  'Takes the group out of its container.',
)
export const VFIO_GROUP_GET_DEVICE_FD = vfioIoctl(
  'group',
  'VFIO_GROUP_GET_DEVICE_FD',
  6,
  'string',
  'Opens a device of the group by its name.',
)
