/**
 * Attach, replace and detach of a device's DMA without PASID (03 §5). The calls are per device, but the
 * translation they change is the group's.
 */
import { type Iova, iova, type ObjectId } from '../abi/brands.ts'
import { Attachment } from './attachment.ts'
import { moveTo } from './auto-hwpt.ts'
import type { Device } from './device.ts'
import { endAttachment } from './fault-report.ts'
import type { Hwpt } from './hwpt.ts'
import type { Ioas } from './ioas.ts'
import type { ReservedKind } from './iommu-driver.ts'
import type { GroupState } from './iommu-group.ts'
import type { Caller } from './objects.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'
import type { ReservationPurpose } from './reserved-ranges.ts'
import { mapDoorbells } from './software-msi.ts'

export const DeviceAttachedAlready = reasonKind<{ device: string; hwpt: number }>({
  code: 'device-attached-already',
  errno: 'EBUSY',
  cite: '03 §5.3 step 1',
  say: ({ device, hwpt }) => `${device} is attached to HWPT ${hwpt} already`,
  advice: 'Replace the attachment, or detach first.',
})

export const GroupOnOtherHwpt = reasonKind<{
  group: number
  hwpt: number
  wanted: number
  through: readonly string[]
}>({
  code: 'group-on-other-hwpt',
  errno: 'EINVAL',
  cite: '03 §5.3 step 2',
  say: ({ group, hwpt, wanted, through }) =>
    `IOMMU group ${group} is on HWPT ${hwpt} through ${through.join(', ')}, so that another of its devices ` +
    `cannot be attached to HWPT ${wanted}`,
  advice:
    'Devices of one group share one translation: attach to the same HWPT, or replace it for the group.',
})

export const DeviceNotAttached = reasonKind<{ device: string; group: number }>({
  code: 'device-not-attached',
  errno: 'EINVAL',
  cite: '03 §5.7 step 1',
  say: ({ device, group }) =>
    `${device} (IOMMU group ${group}) is not attached, so there is nothing to replace`,
  advice: 'Attach the device first; only what is attached can be replaced.',
})

export const ReservedRegionsFail = reasonKind<{ device: string }>({
  code: 'reserved-regions-fail',
  errno: 'EINVAL',
  cite: '05 §A.11',
  say: ({ device }) =>
    `taking the reserved regions of ${device} was made to fail (injected failure)`,
  advice:
    'This failure was injected: make sure that the program can go on with the device where it was.',
})

export const MsiWindowsContradict = reasonKind<{ device: string }>({
  code: 'msi-windows-contradict',
  errno: 'EINVAL',
  cite: '03 §5.5',
  say: ({ device }) =>
    `${device} has both a hardware and a software MSI region, or two software MSI regions`,
  advice:
    'This is a fault of the platform description: it must give a device either a hardware MSI region or one software region.',
})

export const VirtualFunctionSharesPri = reasonKind<{ device: string; hwpt: number }>({
  code: 'virtual-function-shares-pri',
  errno: 'EINVAL',
  cite: '03 §5.3 step 4.2',
  say: ({ device, hwpt }) =>
    `HWPT ${hwpt} has a fault queue, and ${device} is a virtual function whose page requests are those of ` +
    'its physical function',
  advice: 'Attach virtual functions to HWPTs without a fault queue.',
})

export const RidNeedsPasidHwpt = reasonKind<{ hwpt: number; pasids: readonly number[] }>({
  code: 'rid-needs-pasid-hwpt',
  errno: 'EINVAL',
  cite: '03 §6.2',
  say: ({ hwpt, pasids }) =>
    `HWPT ${hwpt} was not allocated with IOMMU_HWPT_ALLOC_PASID while PASID ${pasids.join(', ')} of the ` +
    'group is attached',
  advice: 'Detach the PASIDs first, or use an HWPT allocated with IOMMU_HWPT_ALLOC_PASID.',
})

/** Attaches the device to what `ptId` names; returns the HWPT used. */
export const attachDevice = (
  caller: Caller,
  device: Device,
  ptId: number,
  options: { readonly throughContainer: boolean } = { throughContainer: false },
): Result<Hwpt> => {
  const hwpt = moveTo(
    caller,
    {
      kind: 'attach',
      device,
      to: (target) => attachTo(caller, device, target),
      undo: () => leave(device, false),
    },
    ptId,
  )
  if (!(hwpt instanceof Refusal)) announce(device, [device], hwpt, options)
  return hwpt
}

/** Moves the whole group to what `ptId` names; returns the HWPT used. */
export const replaceDevice = (caller: Caller, device: Device, ptId: number): Result<Hwpt> => {
  const before = device.group.rid
  const hwpt = moveTo(
    caller,
    {
      kind: 'replace',
      device,
      to: (target) => replaceBy(caller, device, target),
      undo: () => undefined,
    },
    ptId,
  )
  if (!(hwpt instanceof Refusal) && device.group.rid !== before)
    announce(device, device.group.rid?.devices ?? [], hwpt, { replaced: before?.hwpt.id })
  return hwpt
}

const announce = (
  through: Device,
  devices: Iterable<Device>,
  hwpt: Hwpt,
  how: { readonly throughContainer?: boolean; readonly replaced?: ObjectId | undefined },
): void => {
  const { context } = through
  if (context.machine.observer === undefined) return
  for (const device of devices)
    context.emit({
      type: 'attached',
      device: device.name,
      object: device.id,
      ioas: hwpt.paging.ioas.id,
      hwpt: hwpt.id,
      through: through.id,
      ...(how.replaced === undefined ? {} : { replaced: how.replaced }),
      throughContainer: how.throughContainer ?? false,
    })
}

/** 03 §5.3, with a concrete HWPT. */
const attachTo = (caller: Caller, device: Device, hwpt: Hwpt): Result<void> => {
  const { group } = device
  const { rid } = group
  if (device.hwpt !== undefined)
    return refuse(DeviceAttachedAlready, { device: device.name, hwpt: device.hwpt.id })
  if (rid !== undefined && rid.hwpt !== hwpt)
    return refuse(GroupOnOtherHwpt, {
      group: group.group.number,
      hwpt: rid.hwpt.id,
      wanted: hwpt.id,
      through: [...rid.devices].map(String),
    })
  const { ioas } = hwpt.paging
  const refusal =
    reserveRegions(caller, device, ioas, 'attach') ??
    (rid === undefined ? attachGroup(device, hwpt) : undefined)
  if (refusal instanceof Refusal) {
    ioas.unreserve(device)
    return refusal
  }
  if (rid === undefined) group.rid = new Attachment(hwpt, device, [device])
  else rid.devices.add(device)
  device.users++
  hwpt.users++
}

/** The first attached device of the group brings the group to the domain. */
const attachGroup = (device: Device, hwpt: Hwpt): Result<void> => {
  const { group } = device
  const refusal = mapDoorbells(group, hwpt.paging) ?? checkFitness(device, hwpt)
  return refusal instanceof Refusal ? refusal : group.attach(hwpt.domain)
}

/** VF and PRI, then the PASID rule (03 §5.3 steps 4.2 and 4.3). */
const checkFitness = (device: Device, hwpt: Hwpt): Result<void> => {
  const { group } = device
  const refusal = checkPri(device, hwpt)
  if (refusal !== undefined) return refusal
  if (!hwpt.pasidCompatible && group.pasids.size > 0)
    return refuse(RidNeedsPasidHwpt, { hwpt: hwpt.id, pasids: [...group.pasids.keys()] })
}

export const checkPri = (device: Device, hwpt: Hwpt): Refusal | undefined => {
  const { pci } = device.iommuDevice
  if (hwpt.fault !== undefined && pci?.isVf && pci.pfHasPri)
    return refuse(VirtualFunctionSharesPri, { device: device.name, hwpt: hwpt.id })
}

const purposes: Readonly<Record<ReservedKind, ReservationPurpose>> = {
  msi: 'the MSI window',
  'sw-msi': 'the software MSI window',
  direct: 'a region that firmware maps 1:1',
  'direct-relaxable': 'a region that firmware maps 1:1',
  reserved: 'a reserved region',
}

/** The device's own reserved regions, owned by it, in an IOAS (03 §5.5). */
const reserveRegions = (
  caller: Caller,
  device: Device,
  ioas: Ioas,
  why: 'attach' | 'replace',
): Refusal | undefined => {
  const { iommuDevice } = device
  if (caller.fails('reserve-regions')) return refuse(ReservedRegionsFail, { device: device.name })
  let hardwareMsi = 0
  const softwareMsi: Iova[] = []
  for (const region of iommuDevice.instance.driver.reservedRegions(iommuDevice)) {
    if (region.kind === 'direct-relaxable') continue
    if (region.kind === 'msi') hardwareMsi++
    if (region.kind === 'sw-msi') softwareMsi.push(region.start)
    const last = iova(region.start + region.length - 1n)
    const reserved = ioas.reserve(device, { start: region.start, last }, purposes[region.kind])
    if (reserved instanceof Refusal) return reserved
  }
  if (why === 'replace') return
  if (softwareMsi.length > 1 || (softwareMsi.length === 1 && hardwareMsi > 0))
    return refuse(MsiWindowsContradict, { device: device.name })
  if (softwareMsi.length === 1) device.group.softwareMsiStart = softwareMsi[0]
}

/** 03 §5.7, with a concrete HWPT. */
const replaceBy = (caller: Caller, device: Device, hwpt: Hwpt): Result<void> => {
  const { group } = device
  const old = group.rid
  if (!old?.devices.has(device))
    return refuse(DeviceNotAttached, { device: device.name, group: group.group.number })
  if (old.hwpt === hwpt) return
  const target = hwpt.paging.ioas
  const source = old.hwpt.paging.ioas
  const refusal =
    (source === target ? undefined : reserveForAll(caller, old, target)) ??
    mapDoorbells(group, hwpt.paging) ??
    checkFitness(device, hwpt) ??
    group.replace(hwpt.domain)
  if (refusal instanceof Refusal) {
    // Within one IOAS this takes away regions that the devices still need: the kernel does so (03 §5.7).
    for (const attached of old.devices) target.unreserve(attached)
    if (source === target) announceLoss(group, target)
    return refusal
  }
  if (source !== target) for (const attached of old.devices) source.unreserve(attached)
  group.rid = new Attachment(hwpt, device, old.devices)
  hwpt.users += old.devices.size
  endAttachment(group, old)
  releaseHwpt(old.hwpt, old.devices.size)
}

const reserveForAll = (caller: Caller, old: Attachment, ioas: Ioas): Refusal | undefined => {
  for (const attached of old.devices) {
    const refusal = reserveRegions(caller, attached, ioas, 'replace')
    if (refusal !== undefined) return refusal
  }
}

const announceLoss = (group: GroupState, ioas: Ioas): void => {
  const { context } = ioas
  if (context.machine.observer === undefined) return
  const devices = [...(group.rid?.devices ?? [])].map((device) => device.name)
  context.emit({ type: 'reservations-lost', devices, ioas: ioas.id })
}

/** So many attachments of an HWPT are gone; an automatic one may go with the last (03 §5.2). */
export const releaseHwpt = (hwpt: Hwpt, attachments: number): void => {
  hwpt.users -= attachments
  if (!hwpt.isNested) hwpt.paging.dropIfUnusedAuto()
}

/** Takes the device's attachment away, if it has one; cannot fail (03 §5.8). */
export const detachDevice = (device: Device): void => leave(device, true)

/** An attach that is taken back was never announced, so neither is its end. */
const leave = (device: Device, announced: boolean): void => {
  const { group } = device
  const { rid } = group
  if (!rid?.devices.delete(device)) return
  const { hwpt } = rid
  const { ioas } = hwpt.paging
  if (rid.devices.size === 0) {
    group.rid = undefined
    group.block()
    endAttachment(group, rid)
  }
  ioas.unreserve(device)
  device.users--
  const { context } = device
  if (announced && context.machine.observer !== undefined)
    context.emit({
      type: 'detached',
      device: device.name,
      object: device.id,
      ioas: ioas.id,
      hwpt: hwpt.id,
    })
  releaseHwpt(hwpt, 1)
}
