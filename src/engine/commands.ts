/** All iommufd commands of a machine without the test interface: one line each. */
import type { UserVa } from '../abi/brands.ts'
import type { Command } from './command.ts'
import { vfioIoas } from './compat-ioas.ts'
import type { Context } from './context.ts'
import { getDirtyBitmap, setDirtyTracking } from './dirty-tracking.ts'
import { faultQueueAlloc } from './fault-queue.ts'
import { getHwInfo } from './hw-info.ts'
import { hwQueueAlloc } from './hw-queue.ts'
import { hwptAlloc } from './hwpt-alloc.ts'
import { hwptInvalidate } from './hwpt-invalidate.ts'
import type { Call } from './ports.ts'
import type { Result } from './reason.ts'
import { vdeviceAlloc } from './vdevice.ts'
import { veventqAlloc } from './veventq.ts'
import { vfioContainerIoctl } from './vfio-compat.ts'
import { viommuAlloc } from './viommu.ts'

export const commands: readonly Command[] = [
  vfioIoas,
  hwptAlloc,
  getHwInfo,
  setDirtyTracking,
  getDirtyBitmap,
  hwptInvalidate,
  faultQueueAlloc,
  viommuAlloc,
  vdeviceAlloc,
  veventqAlloc,
  hwQueueAlloc,
]

/** Answers the VFIO container requests (02 §3), and ENOTTY to everything else. */
export type ContainerIoctl = (
  context: Context,
  call: Call,
  request: number,
  argument: UserVa,
) => Result<number>

export const containerIoctl: ContainerIoctl = vfioContainerIoctl
