/** VFIO_DEVICE_FEATURE: the framing around what drivers offer (02 §5.10). */
import { hex, type UserVa } from '../abi/brands.ts'
import {
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_FLAGS,
  VFIO_DEVICE_FEATURE_MASK,
  VFIO_DEVICE_FEATURES,
} from '../abi/vfio/features.ts'
import type { Machine } from '../engine/machine.ts'
import type { Call } from '../engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../engine/reason.ts'
import { addressAt, readVfioStruct } from '../engine/vfio-struct.ts'
import type { DeviceFeature, VfioDriver } from './driver.ts'

const { VFIO_DEVICE_FEATURE_GET: GET, VFIO_DEVICE_FEATURE_SET: SET } = VFIO_DEVICE_FEATURE_FLAGS
const { VFIO_DEVICE_FEATURE_PROBE: PROBE } = VFIO_DEVICE_FEATURE_FLAGS
const HEADER = 8
/** EINVAL, not ENOTTY, where it is missing. */
const { VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2: MIG_PRECOPY_INFO_V2 } = VFIO_DEVICE_FEATURES

export const FeatureUnknownFlags = reasonKind<{ flags: number }>({
  code: 'feature-unknown-flags',
  errno: 'EINVAL',
  cite: '02 §5.10 step 3',
  say: ({ flags }) => `flags ${hex(flags)} has bits beside the index, GET, SET and PROBE`,
  advice: "Use the feature's index with VFIO_DEVICE_FEATURE_GET, SET and PROBE only.",
})

export const FeatureGetAndSet = reasonKind<{ flags: number }>({
  code: 'feature-get-and-set',
  errno: 'EINVAL',
  cite: '02 §5.10 step 4',
  say: ({ flags }) => `flags ${hex(flags)} asks to GET and to SET at once without PROBE`,
  advice: 'GET and SET in two calls; with PROBE both can be asked for at once.',
})

export const FeatureNotOffered = reasonKind<{ driver: string; index: number }>({
  code: 'feature-not-offered',
  errno: 'ENOTTY',
  cite: '02 §5.10 step 5',
  say: ({ driver, index }) => `the driver ${driver} has no feature ${index} for this device`,
  advice:
    'Ask with VFIO_DEVICE_FEATURE_PROBE first, and do without the feature where it is missing.',
})

export const FeatureNeedsPrecopy = reasonKind<{ driver: string }>({
  code: 'feature-needs-precopy',
  errno: 'EINVAL',
  cite: '02 §5.10, index 12',
  say: ({ driver }) => `the driver ${driver} does not migrate this device with PRE_COPY`,
  advice: 'Migrate with STOP_COPY alone, or use a device whose migration flags have PRE_COPY.',
})

export const FeatureOperationNotOffered = reasonKind<{ index: number; operation: string }>({
  code: 'feature-operation-not-offered',
  errno: 'EINVAL',
  cite: '02 §5.10 step 6',
  say: ({ index, operation }) => `feature ${index} does not offer ${operation}`,
  advice: 'Ask with VFIO_DEVICE_FEATURE_PROBE whether GET and SET are offered.',
})

export const FeatureWithoutOperation = reasonKind<{ index: number }>({
  code: 'feature-without-operation',
  errno: 'EINVAL',
  cite: '02 §5.10 step 6',
  say: ({ index }) => `feature ${index} with none of GET, SET and PROBE`,
  advice: 'Add VFIO_DEVICE_FEATURE_GET, SET or PROBE to the index.',
})

export const FeatureDataTooShort = reasonKind<{ index: number; length: number; needed: number }>({
  code: 'feature-data-too-short',
  errno: 'EINVAL',
  cite: '02 §5.10 step 6',
  say: ({ index, length, needed }) =>
    `feature ${index} takes ${needed} bytes of data, argsz leaves ${length}`,
  advice: "Set argsz to the size of the header and of the feature's data together.",
})

export const deviceFeature = (
  machine: Machine,
  driver: VfioDriver,
  call: Call,
  argument: UserVa,
): Result<number> => {
  const args = readVfioStruct(machine, call, argument, VFIO_DEVICE_FEATURE)
  if (args instanceof Refusal) return args
  const { argsz, flags } = args
  if ((flags & ~(VFIO_DEVICE_FEATURE_MASK | GET | SET | PROBE)) !== 0)
    return refuse(FeatureUnknownFlags, { flags })
  const wanted = flags & (GET | SET | PROBE)
  if (wanted === (GET | SET)) return refuse(FeatureGetAndSet, { flags })
  const index = flags & VFIO_DEVICE_FEATURE_MASK
  const feature = driver.feature?.(index)
  if (feature instanceof Refusal) return feature
  if (feature === undefined) {
    if (index === MIG_PRECOPY_INFO_V2) return refuse(FeatureNeedsPrecopy, { driver: driver.name })
    return refuse(FeatureNotOffered, { driver: driver.name, index })
  }
  return frame(call, argument, { feature, index, wanted, length: argsz - HEADER })
}

const frame = (
  call: Call,
  argument: UserVa,
  asked: { feature: DeviceFeature; index: number; wanted: number; length: number },
): Result<number> => {
  const { feature, index, wanted, length } = asked
  if ((wanted & GET) !== 0 && !feature.get)
    return refuse(FeatureOperationNotOffered, { index, operation: 'GET' })
  if ((wanted & SET) !== 0 && !feature.set)
    return refuse(FeatureOperationNotOffered, { index, operation: 'SET' })
  if ((wanted & PROBE) !== 0) return 0
  if (wanted === 0) return refuse(FeatureWithoutOperation, { index })
  if (length < feature.dataLength)
    return refuse(FeatureDataTooShort, { index, length, needed: feature.dataLength })
  const operation = (wanted & SET) !== 0 ? 'set' : 'get'
  return feature.run(call, operation, addressAt(argument, HEADER), length)
}
