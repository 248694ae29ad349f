/** The file that a device's migration data is read from (02 §5.11). */
import { argsz, flags32, u64 } from '../fields.ts'
import { vfioStructIoctl } from '../ioctl.ts'
import { struct } from '../layout.ts'

export const VFIO_PRECOPY_INFO_FLAGS = { VFIO_PRECOPY_INFO_REINIT: 1 << 0 } as const

export const vfio_precopy_info = struct('vfio_precopy_info', {
  argsz: argsz(),
  flags: flags32(VFIO_PRECOPY_INFO_FLAGS, 'inout', 'Initial data has begun anew.'),
  initial_bytes: u64('out', 'Initial bytes still to read.'),
  dirty_bytes: u64('out', 'Bytes that have changed since.'),
})

export const VFIO_MIG_GET_PRECOPY_INFO = vfioStructIoctl(
  'migration',
  'VFIO_MIG_GET_PRECOPY_INFO',
  21,
  vfio_precopy_info,
  { meaning: 'Says how much is left to transfer.', writeBack: 'whole' },
)
