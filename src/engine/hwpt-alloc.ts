/** IOMMU_HWPT_ALLOC (03 §7): paging HWPTs over an IOAS, nested ones on a parent or a vIOMMU. */

import { hex } from '../abi/brands.ts'
import { IOMMU_HWPT_ALLOC } from '../abi/iommufd/hwpt.ts'
import { command } from './command.ts'
import { Device } from './device.ts'
import { driverData } from './driver-data.ts'
import { FaultQueue } from './fault-queue.ts'
import { type Hwpt, HwptFlag, HwptNested, HwptPaging } from './hwpt.ts'
import { Ioas } from './ioas.ts'
import type { DriverData, IommuDevice, PagingDomain } from './iommu-driver.ts'
import type { Caller } from './objects.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'
import { Viommu } from './viommu.ts'

export const HwptReservedNotZero = reasonKind<{ value: number }>({
  code: 'hwpt-reserved-not-zero',
  errno: 'EOPNOTSUPP',
  cite: '03 §7.4 step 2',
  say: ({ value }) => `__reserved is ${hex(value)} and must be 0`,
  advice: 'Set the whole structure to zero before filling it in.',
})

export const HwptDataContradicts = reasonKind<{ dataType: number; length: number }>({
  code: 'hwpt-data-contradicts',
  errno: 'EINVAL',
  cite: '03 §7.4 step 3',
  say: ({ dataType, length }) =>
    dataType === 0
      ? `data_type is NONE but data_len is ${length}`
      : `data_type is ${hex(dataType)} but data_len is 0`,
  advice: 'Give both the type and the length of the driver data, or neither.',
})

export const HwptPtUnknown = reasonKind<{ id: number; found: string | undefined }>({
  code: 'hwpt-pt-unknown',
  errno: 'EINVAL',
  cite: '03 §7.4 steps 5 and 6, §18.1',
  say: ({ id, found }) =>
    found === undefined
      ? `pt_id ${id} names nothing (which is EINVAL here, not ENOENT)`
      : `pt_id ${id} names a ${found}; an HWPT stands on an IOAS, a nesting parent or a vIOMMU`,
  advice:
    'Pass as pt_id an IOAS, a HWPT allocated with NEST_PARENT, or a vIOMMU that still exists.',
})

export const HwptFlagsUnknown = reasonKind<{ flags: number; allowed: number }>({
  code: 'hwpt-flags-unknown',
  errno: 'EOPNOTSUPP',
  cite: '03 §7.4 step 6',
  say: ({ flags, allowed }) =>
    `flags ${hex(flags)} has bits beyond ${hex(allowed)}, which is all that this kind of HWPT takes`,
  advice:
    'Use the flags of this kind of HWPT only; dirty tracking and NEST_PARENT belong to one that stands on an IOAS.',
})

export const DriverTakesNoOptions = reasonKind<{ driver: string; flags: number }>({
  code: 'driver-takes-no-options',
  errno: 'EOPNOTSUPP',
  cite: '03 §7.4 IOAS step 1',
  say: ({ driver, flags }) =>
    `the IOMMU driver ${driver} allocates page tables without flags (${hex(flags)}) and data only`,
  advice: 'Set flags, data_type and data_len to 0, or run on an IOMMU that offers more.',
})

export const DeviceCannotTrackDirty = reasonKind<{ device: string }>({
  code: 'device-cannot-track-dirty',
  errno: 'EOPNOTSUPP',
  cite: '03 §7.4 IOAS step 3',
  say: ({ device }) => `the IOMMU in front of ${device} cannot track dirty pages`,
  advice: 'GET_HW_INFO reports IOMMU_HW_CAP_DIRTY_TRACKING.',
})

export const ParentTakesNoFaults = reasonKind({
  code: 'parent-takes-no-faults',
  errno: 'EOPNOTSUPP',
  cite: '03 §7.4 IOAS step 4',
  say: () => 'FAULT_ID_VALID and NEST_PARENT exclude each other',
  advice: 'Give the fault queue to the nested HWPT, not to its parent.',
})

export const CoherencyNotEnforceable = reasonKind<{ device: string }>({
  code: 'coherency-not-enforceable',
  errno: 'EINVAL',
  cite: '03 §9',
  say: ({ device }) =>
    `the IOMMU can enforce cache coherency for ${device}, but not with this page table`,
  advice:
    "Make another HWPT for this device, or let IOMMU_HWPT_ALLOC with this device's dev_id choose.",
})

export const DriverAllocatesNoTables = reasonKind<{ driver: string }>({
  code: 'driver-allocates-no-tables',
  errno: 'EOPNOTSUPP',
  cite: '03 §14.3',
  say: ({ driver }) => `the IOMMU driver ${driver} offers no page tables`,
  advice: 'Use a device behind an IOMMU that translates.',
})

export const NestingNotOffered = reasonKind<{ driver: string }>({
  code: 'nesting-not-offered',
  errno: 'EOPNOTSUPP',
  cite: '03 §7.4 step 6',
  say: ({ driver }) =>
    `the IOMMU driver ${driver} has no nested page tables on this kind of parent`,
  advice:
    "Ask IOMMU_GET_HW_INFO what the IOMMU can do, and shadow the guest's tables where it cannot nest.",
})

export const NestedNeedsData = reasonKind({
  code: 'nested-needs-data',
  errno: 'EOPNOTSUPP',
  cite: '03 §7.4 step 6',
  say: () => "a nested HWPT needs the driver's data: data_len is 0",
  advice: "Pass the struct that describes the guest's stage-1 table.",
})

export const NotANestParent = reasonKind<{ hwpt: number; auto: boolean; driver: string }>({
  code: 'not-a-nest-parent',
  errno: 'EINVAL',
  cite: '03 §7.4 HWPT_PAGING step 2',
  say: ({ hwpt, auto, driver }) =>
    auto
      ? `HWPT ${hwpt} was made automatically and cannot be a parent`
      : `HWPT ${hwpt} was not allocated with IOMMU_HWPT_ALLOC_NEST_PARENT by the driver ${driver} of the device`,
  advice: 'Allocate the parent with IOMMU_HWPT_ALLOC_NEST_PARENT.',
})

export const ViommuOnOtherIommu = reasonKind<{ viommu: number; iommu: string; device: string }>({
  code: 'viommu-on-other-iommu',
  errno: 'EINVAL',
  cite: '03 §7.4 vIOMMU step 1',
  say: ({ viommu, iommu, device }) =>
    `vIOMMU ${viommu} belongs to ${iommu}, and ${device} is behind another IOMMU`,
  advice:
    'Make one vIOMMU for each physical IOMMU, and use for each device the one that belongs to its own.',
})

const ALL_FLAGS =
  HwptFlag.NEST_PARENT | HwptFlag.DIRTY_TRACKING | HwptFlag.FAULT_ID_VALID | HwptFlag.PASID
const NESTED_FLAGS = HwptFlag.FAULT_ID_VALID | HwptFlag.PASID

export const hwptAlloc = command(IOMMU_HWPT_ALLOC, (request): Result<void> => {
  const { args, call, context } = request
  if (args.__reserved !== 0) return refuse(HwptReservedNotZero, { value: args.__reserved })
  if ((args.data_type === 0) !== (args.data_len === 0))
    return refuse(HwptDataContradicts, { dataType: args.data_type, length: args.data_len })
  const device = context.objects.find(args.dev_id, Device, 'device', call)
  if (device instanceof Refusal) return device
  // A look-up that is made to fail is like an ID that names nothing: EINVAL here (05 §A.11).
  const target = call.fails('look-up-object') ? undefined : context.objects.peek(args.pt_id)
  const data = driverData(call, args.data_type, args.data_uptr, args.data_len)
  const hwpt =
    target instanceof Ioas
      ? pagingOn(call, device, target, args.flags, data)
      : target instanceof HwptPaging
        ? nestedOnParent(call, device, target, args.flags, data)
        : target instanceof Viommu
          ? nestedOnViommu(call, device, target, args.flags, data)
          : refuse(HwptPtUnknown, { id: args.pt_id, found: target?.type })
  if (hwpt instanceof Refusal) return hwpt
  const finished = giveFaultQueue(call, hwpt, args) ?? request.respond({ out_hwpt_id: hwpt.id })
  if (finished instanceof Refusal) hwpt.discard()
  else context.objects.publish(hwpt)
  return finished
})

/** The fault queue is looked up when everything else has succeeded (03 §7.4 step 7). */
const giveFaultQueue = (
  caller: Caller,
  hwpt: Hwpt,
  { flags, fault_id }: { readonly flags: number; readonly fault_id: number },
): Refusal | undefined => {
  if ((flags & HwptFlag.FAULT_ID_VALID) === 0) return
  const fault = hwpt.context.objects.find(fault_id, FaultQueue, 'fault', caller)
  if (fault instanceof Refusal) return fault
  hwpt.giveFaultQueue(fault)
}

const pagingOn = (
  caller: Caller,
  device: Device,
  ioas: Ioas,
  flags: number,
  data: DriverData | undefined,
): Result<HwptPaging> => {
  const { iommuDevice } = device
  const { driver } = iommuDevice.instance
  if ((flags !== 0 || data !== undefined) && driver.allocPaging === undefined)
    return refuse(DriverTakesNoOptions, { driver: driver.name, flags })
  if ((flags & ~ALL_FLAGS) !== 0) return refuse(HwptFlagsUnknown, { flags, allowed: ALL_FLAGS })
  if ((flags & HwptFlag.DIRTY_TRACKING) !== 0 && !driver.capable(iommuDevice, 'dirty-tracking'))
    return refuse(DeviceCannotTrackDirty, { device: device.name })
  if ((flags & HwptFlag.FAULT_ID_VALID) !== 0 && (flags & HwptFlag.NEST_PARENT) !== 0)
    return refuse(ParentTakesNoFaults, {})
  const hwpt = allocatePaging(caller, device, ioas, { auto: false, flags, data })
  if (hwpt instanceof Refusal) return hwpt
  const joined = hwpt.join(caller)
  if (!(joined instanceof Refusal)) return hwpt
  hwpt.discard()
  return joined
}

/**
 * A paging HWPT with its domain, in enforcing mode where the device wants it (03 §9), neither joined to
 * the IOAS nor published yet.
 */
export const allocatePaging = (
  caller: Caller,
  device: Device,
  ioas: Ioas,
  how: { readonly auto: boolean; readonly flags: number; readonly data?: DriverData | undefined },
): Result<HwptPaging> => {
  const id = ioas.context.objects.reserve(caller)
  if (id instanceof Refusal) return id
  const domain = allocateDomain(device.iommuDevice, how.flags, how.data)
  if (domain instanceof Refusal) {
    ioas.context.objects.abort(id)
    return domain
  }
  const hwpt = new HwptPaging(ioas, id, domain, how)
  if (device.enforcesCoherency && !domain.enforceCoherency?.()) {
    hwpt.discard()
    return refuse(CoherencyNotEnforceable, { device: device.name })
  }
  return hwpt
}

const allocateDomain = (
  device: IommuDevice,
  flags: number,
  data: DriverData | undefined,
): Result<PagingDomain> => {
  const { driver } = device.instance
  return (
    driver.allocPaging?.(device, flags & ~HwptFlag.FAULT_ID_VALID, data) ??
    driver.allocPagingPlain?.(device) ??
    refuse(DriverAllocatesNoTables, { driver: driver.name })
  )
}

const nestedOnParent = (
  caller: Caller,
  device: Device,
  parent: HwptPaging,
  flags: number,
  data: DriverData | undefined,
): Result<HwptNested> => {
  const { iommuDevice } = device
  const { driver } = iommuDevice.instance
  if ((flags & ~NESTED_FLAGS) !== 0)
    return refuse(HwptFlagsUnknown, { flags, allowed: NESTED_FLAGS })
  if (data === undefined) return refuse(NestedNeedsData, {})
  if (driver.allocNested === undefined) return refuse(NestingNotOffered, { driver: driver.name })
  if (parent.auto || !parent.nestParent || parent.domain.driver !== driver)
    return refuse(NotANestParent, { hwpt: parent.id, auto: parent.auto, driver: driver.name })
  const id = parent.context.objects.reserve(caller)
  if (id instanceof Refusal) return id
  const domain = driver.allocNested(
    iommuDevice,
    parent.domain,
    flags & ~HwptFlag.FAULT_ID_VALID,
    data,
  )
  if (!(domain instanceof Refusal)) return new HwptNested(parent, id, domain, flags)
  parent.context.objects.abort(id)
  return domain
}

const nestedOnViommu = (
  caller: Caller,
  device: Device,
  viommu: Viommu,
  flags: number,
  data: DriverData | undefined,
): Result<HwptNested> => {
  const { iommuDevice } = device
  if (viommu.instance !== iommuDevice.instance)
    return refuse(ViommuOnOtherIommu, {
      viommu: viommu.id,
      iommu: viommu.instance.name,
      device: device.name,
    })
  if ((flags & ~NESTED_FLAGS) !== 0)
    return refuse(HwptFlagsUnknown, { flags, allowed: NESTED_FLAGS })
  if (data === undefined) return refuse(NestedNeedsData, {})
  const { ops } = viommu
  if (ops.allocNested === undefined)
    return refuse(NestingNotOffered, { driver: viommu.instance.driver.name })
  const id = viommu.context.objects.reserve(caller)
  if (id instanceof Refusal) return id
  const domain = ops.allocNested(iommuDevice, flags & ~HwptFlag.FAULT_ID_VALID, data)
  if (!(domain instanceof Refusal)) return new HwptNested(viommu, id, domain, flags)
  viommu.context.objects.abort(id)
  return domain
}
