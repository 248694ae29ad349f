/**
 * The VFIO container ioctls on an iommufd (02 §3): what a VFIO program's container descriptor answers
 * when it is an iommufd. They act on whatever IOAS is the compat IOAS at that moment.
 */
import type { UserVa } from '../abi/brands.ts'
import {
  VFIO_API_VERSION,
  VFIO_CHECK_EXTENSION,
  VFIO_EXTENSIONS,
  VFIO_GET_API_VERSION,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_SET_IOMMU,
} from '../abi/vfio/container.ts'
import { UnknownRequest } from './command.ts'
import { compatIoasOf } from './compat-ioas.ts'
import type { Context } from './context.ts'
import type { Call } from './ports.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'
import { vfioGetInfo } from './vfio-info.ts'
import { vfioMapDma, vfioUnmapDma } from './vfio-map.ts'

export const SetIommuNeedsRawIo = reasonKind<{ pid: number }>({
  code: 'set-iommu-needs-raw-io',
  errno: 'EPERM',
  cite: '02 §3.3 step 1',
  say: ({ pid }) => `process ${pid} lacks CAP_SYS_RAWIO, which VFIO_NOIOMMU_IOMMU takes`,
  advice: 'Run it with CAP_SYS_RAWIO, or use a device behind an IOMMU with VFIO_TYPE1v2_IOMMU.',
})

export const SetIommuUnknownType = reasonKind<{ type: bigint; noIommu: boolean }>({
  code: 'set-iommu-unknown-type',
  errno: 'EINVAL',
  cite: '02 §3.3 step 2',
  say: ({ type, noIommu }) =>
    noIommu
      ? `the context is in no-IOMMU mode, which has no IOMMU type ${type}`
      : `IOMMU type ${type} is none of TYPE1 (1) and TYPE1v2 (3)`,
  advice: 'Ask VFIO_CHECK_EXTENSION which types there are.',
})

/** Argument values, all 64 bits of which count. */
const TYPE1 = BigInt(VFIO_EXTENSIONS.VFIO_TYPE1_IOMMU)
const TYPE1V2 = BigInt(VFIO_EXTENSIONS.VFIO_TYPE1v2_IOMMU)
const DMA_CC = BigInt(VFIO_EXTENSIONS.VFIO_DMA_CC_IOMMU)
const NOIOMMU = BigInt(VFIO_EXTENSIONS.VFIO_NOIOMMU_IOMMU)
const UNMAP_ALL = BigInt(VFIO_EXTENSIONS.VFIO_UNMAP_ALL)

/** Every request number outside iommufd's own (01 §4.1 step 1); unknown ones touch no memory. */
export const vfioContainerIoctl = (
  context: Context,
  call: Call,
  request: number,
  argument: UserVa,
): Result<number> => {
  switch (request) {
    case VFIO_GET_API_VERSION.request:
      return VFIO_API_VERSION
    case VFIO_CHECK_EXTENSION.request:
      return checkExtension(context, argument)
    case VFIO_SET_IOMMU.request:
      return setIommu(context, call, argument)
    case VFIO_IOMMU_GET_INFO.request:
      return vfioGetInfo(context, call, argument)
    case VFIO_IOMMU_MAP_DMA.request:
      return vfioMapDma(context, call, argument)
    case VFIO_IOMMU_UNMAP_DMA.request:
      return vfioUnmapDma(context, call, argument)
    default:
      return refuse(UnknownRequest, { request })
  }
}

/** 02 §3.2. */
const checkExtension = (context: Context, extension: bigint): Result<number> => {
  switch (extension) {
    case TYPE1:
    case TYPE1V2:
    case UNMAP_ALL:
      return context.noIommu ? 0 : 1
    case NOIOMMU:
      return context.machine.noIommu ? 1 : 0
    case DMA_CC: {
      const ioas = compatIoasOf(context)
      if (ioas instanceof Refusal) return ioas
      return ioas.domains.every(({ domain }) => domain.coherencyEnforced) ? 1 : 0
    }
    default:
      return 0
  }
}

/** 02 §3.3. The type is not remembered: TYPE1 is nothing but "large pages off" on the compat IOAS. */
const setIommu = (context: Context, call: Call, type: bigint): Result<number> => {
  if (type === NOIOMMU && context.machine.noIommu && context.noIommu) {
    if (call.process.capable('CAP_SYS_RAWIO')) return 0
    return refuse(SetIommuNeedsRawIo, { pid: call.process.pid })
  }
  if ((type !== TYPE1 && type !== TYPE1V2) || context.noIommu)
    return refuse(SetIommuUnknownType, { type, noIommu: context.noIommu })
  const ioas = compatIoasOf(context)
  if (ioas instanceof Refusal) return ioas
  return type === TYPE1V2 ? 0 : (ioas.setLargePages(false) ?? 0)
}
