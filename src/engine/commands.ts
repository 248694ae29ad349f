/** All iommufd commands of a machine without the test interface: one line each. */
import type { UserVa } from '../abi/brands.ts'
import { changeProcess } from './change-process.ts'
import type { Command } from './command.ts'
import { vfioIoas } from './compat-ioas.ts'
import type { Context } from './context.ts'
import { destroy } from './destroy.ts'
import { getDirtyBitmap, setDirtyTracking } from './dirty-tracking.ts'
import { faultQueueAlloc } from './fault-queue.ts'
import { getHwInfo } from './hw-info.ts'
import { hwQueueAlloc } from './hw-queue.ts'
import { hwptAlloc } from './hwpt-alloc.ts'
import { hwptInvalidate } from './hwpt-invalidate.ts'
import { ioasAlloc } from './ioas-alloc.ts'
import { ioasCopy } from './ioas-copy.ts'
import { ioasMap, ioasMapFile } from './ioas-map.ts'
import { ioasAllowIovas, ioasIovaRanges } from './ioas-ranges.ts'
import { ioasUnmap } from './ioas-unmap.ts'
import { option } from './option.ts'
import type { Call } from './ports.ts'
import type { Result } from './reason.ts'
import { vdeviceAlloc } from './vdevice.ts'
import { veventqAlloc } from './veventq.ts'
import { vfioContainerIoctl } from './vfio-compat.ts'
import { viommuAlloc } from './viommu.ts'

export const commands: readonly Command[] = [
  destroy,
  ioasAlloc,
  ioasAllowIovas,
  ioasCopy,
  ioasIovaRanges,
  ioasMap,
  ioasUnmap,
  option,
  vfioIoas,
  hwptAlloc,
  getHwInfo,
  setDirtyTracking,
  getDirtyBitmap,
  hwptInvalidate,
  faultQueueAlloc,
  ioasMapFile,
  viommuAlloc,
  vdeviceAlloc,
  changeProcess,
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
