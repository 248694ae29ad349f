/**
 * The compat IOAS of a context: the one that the VFIO container ioctls act on and that devices get
 * which are opened through their group (02 §2). It is an ordinary object; the context merely points
 * to it, and the pointer does not count as a use.
 */
import type { ObjectId } from '../abi/brands.ts'
import { IOMMU_VFIO_IOAS, IOMMUFD_VFIO_IOAS_OP } from '../abi/iommufd/context.ts'
import { command } from './command.ts'
import type { ContainerDevice } from './container-devices.ts'
import type { Context } from './context.ts'
import { Ioas } from './ioas.ts'
import type { Caller } from './objects.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'

export const NoCompatIoas = reasonKind<{ context: number }>({
  code: 'no-compat-ioas',
  errno: 'ENODEV',
  cite: '02 §2.6, §3',
  say: ({ context }) => `iommufd context ${context} has no compat IOAS`,
  advice:
    'Put a group into the container (VFIO_GROUP_SET_CONTAINER makes one), or name one with IOMMU_VFIO_IOAS SET.',
})

export const VfioIoasReserved = reasonKind<{ value: number }>({
  code: 'vfio-ioas-reserved',
  errno: 'EOPNOTSUPP',
  cite: '02 §2.6 check 5',
  say: ({ value }) => `__reserved is ${value}, it must be 0`,
  advice: 'Set the whole structure to zero before filling it in.',
})

export const VfioIoasUnknownOp = reasonKind<{ op: number }>({
  code: 'vfio-ioas-unknown-op',
  errno: 'EOPNOTSUPP',
  cite: '02 §2.6 check 6',
  say: ({ op }) => `op ${op} is none of GET (0), SET (1) and CLEAR (2)`,
  advice: 'Use IOMMU_VFIO_IOAS_GET, IOMMU_VFIO_IOAS_SET or IOMMU_VFIO_IOAS_CLEAR.',
})

/** Ours, not Linux's: only with `compatIoas: 'strict'`. */
export const CompatIoasWouldSplit = reasonKind<{
  wanted: ObjectId | undefined
  devices: readonly { readonly device: string; readonly ioas: ObjectId }[]
}>({
  code: 'compat-ioas-would-split',
  errno: 'EBUSY',
  cite: '02 §2.5 (policy compat-ioas=strict)',
  say: ({ wanted, devices }) => {
    const change =
      wanted === undefined ? 'forgetting the compat IOAS' : `changing to IOAS ${wanted}`
    const held = devices.map(({ device, ioas }) => `${device} is on IOAS ${ioas}`).join(', ')
    return `${change} would let the devices of one container use different address spaces: ${held}`
  },
  advice:
    'Change the compat IOAS before the first device is opened, or run without the strict policy, as Linux does.',
})

export const NoIommuMode = reasonKind<{ context: number }>({
  code: 'no-iommu-mode',
  errno: 'EINVAL',
  cite: '02 §2.2, §4.4 step 6',
  say: ({ context }) =>
    `iommufd context ${context} is in no-IOMMU mode since a no-IOMMU group was put into it; that never ends`,
  advice: 'Open another iommufd for groups that have an IOMMU.',
})

export const NoIommuGroupNeedsNoCompatIoas = reasonKind<{ ioas: ObjectId }>({
  code: 'no-iommu-group-needs-no-compat-ioas',
  errno: 'EINVAL',
  cite: '02 §2.2, §4.4 step 6',
  say: ({ ioas }) =>
    `IOAS ${ioas} is the compat IOAS of the context; a no-IOMMU group can only join a context without one`,
  advice: 'IOMMU_VFIO_IOAS CLEAR first, or use another iommufd.',
})

const named = ({ device, ioas }: ContainerDevice) => ({ device, ioas: ioas.id })

/** The compat IOAS, or ENODEV. */
export const compatIoasOf = (context: Context): Result<Ioas> =>
  context.compatIoas ?? refuse(NoCompatIoas, { context: context.number })

const point = (context: Context, ioas: Ioas | undefined, by: 'auto' | 'set' | 'clear'): void => {
  const previous = context.compatIoas
  context.compatIoas = ioas
  if (previous !== undefined && previous !== ioas)
    context.containerDevices.pointerLeft(previous, context.machine.currentCall)
  if (context.machine.observer !== undefined)
    context.emit({ type: 'compat-ioas', ioas: ioas?.id, previous: previous?.id, by })
}

/**
 * VFIO_GROUP_SET_CONTAINER of a normal group: makes sure that there is a compat IOAS (02 §2.2). An ID
 * is reserved before the look, and given back, also when one exists (02 §2.7).
 */
export const ensureCompatIoas = (context: Context, caller: Caller): Result<Ioas> => {
  if (context.noIommu) return refuse(NoIommuMode, { context: context.number })
  const id = context.objects.reserve(caller)
  if (id instanceof Refusal) return id
  if (context.compatIoas !== undefined) {
    context.objects.abort(id)
    return context.compatIoas
  }
  const ioas = new Ioas(context, id)
  context.objects.publish(ioas)
  point(context, ioas, 'auto')
  return ioas
}

/** VFIO_GROUP_SET_CONTAINER of a no-IOMMU group: switches no-IOMMU mode on, for good (02 §2.1). */
export const admitNoIommu = (context: Context): Result<void> => {
  if (context.compatIoas !== undefined)
    return refuse(NoIommuGroupNeedsNoCompatIoas, { ioas: context.compatIoas.id })
  context.noIommu = true
}

/**
 * A device was opened through its group and attached to the compat IOAS, where it stays until it is
 * closed (02 §2.5). Tells when that leaves the container's devices on different IOASes. Returns what
 * to call when the device is closed.
 */
export const attachedThroughContainer = (
  context: Context,
  device: string,
  ioas: Ioas,
): (() => void) => {
  const joined = { device, ioas }
  const { containerDevices: devices, machine } = context
  const [other] = devices.elsewhere(ioas)
  devices.add(joined)
  if (other !== undefined && machine.observer !== undefined)
    context.emit({
      type: 'container-split',
      devices: devices.all().map(named),
      setCall: devices.leftBy(other.ioas),
    })
  return () => devices.remove(joined)
}

const checkSplit = (context: Context, wanted: Ioas | undefined): Refusal | undefined => {
  if (context.machine.compatIoas !== 'strict') return undefined
  const elsewhere = context.containerDevices.elsewhere(wanted)
  if (elsewhere.length === 0) return undefined
  return refuse(CompatIoasWouldSplit, { wanted: wanted?.id, devices: elsewhere.map(named) })
}

const set = (context: Context, caller: Caller, id: ObjectId): Result<void> => {
  const ioas = context.objects.find(id, Ioas, 'IOAS', caller)
  if (ioas instanceof Refusal) return ioas
  const split = checkSplit(context, ioas)
  if (split !== undefined) return split
  point(context, ioas, 'set')
}

const clear = (context: Context): Result<void> => {
  const split = checkSplit(context, undefined)
  if (split !== undefined) return split
  point(context, undefined, 'clear')
}

/** 02 §2.6. */
export const vfioIoas = command(IOMMU_VFIO_IOAS, ({ context, call, args, respond }) => {
  if (args.__reserved !== 0) return refuse(VfioIoasReserved, { value: args.__reserved })
  switch (args.op) {
    case IOMMUFD_VFIO_IOAS_OP.IOMMU_VFIO_IOAS_GET: {
      const ioas = compatIoasOf(context)
      return ioas instanceof Refusal ? ioas : respond({ ioas_id: ioas.id })
    }
    case IOMMUFD_VFIO_IOAS_OP.IOMMU_VFIO_IOAS_SET:
      return set(context, call, args.ioas_id)
    case IOMMUFD_VFIO_IOAS_OP.IOMMU_VFIO_IOAS_CLEAR:
      return clear(context)
    default:
      return refuse(VfioIoasUnknownOp, { op: args.op })
  }
})
