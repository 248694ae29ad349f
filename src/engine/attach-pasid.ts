/**
 * Attach, replace and detach of one PASID (03 §6). Nothing is reserved in the IOAS. PASID 0 is the RID
 * (03 §18.21).
 */
import type { Pasid } from '../abi/brands.ts'
import { attachDevice, checkPri, detachDevice, releaseHwpt, replaceDevice } from './attach.ts'
import { Attachment } from './attachment.ts'
import { moveTo } from './auto-hwpt.ts'
import type { Device } from './device.ts'
import { endAttachment } from './fault-report.ts'
import type { Hwpt } from './hwpt.ts'
import type { Caller } from './objects.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'

export const PasidAttachedAlready = reasonKind<{ device: string; pasid: Pasid; hwpt: number }>({
  code: 'pasid-attached-already',
  errno: 'EBUSY',
  cite: '03 §6.3 step 2',
  say: ({ device, pasid, hwpt }) =>
    `PASID ${pasid} of ${device} is attached to HWPT ${hwpt} already`,
  advice: 'Replace the attachment, or detach the PASID first.',
})

export const PasidOnOtherHwpt = reasonKind<{
  group: number
  pasid: Pasid
  hwpt: number
  wanted: number
}>({
  code: 'pasid-on-other-hwpt',
  errno: 'EINVAL',
  cite: '03 §6.3 step 3',
  say: ({ group, pasid, hwpt, wanted }) =>
    `another device of IOMMU group ${group} has PASID ${pasid} on HWPT ${hwpt}, not on HWPT ${wanted}`,
  advice:
    'Give all devices of one IOMMU group the same HWPT for one PASID, or give them different PASIDs.',
})

export const PasidNotAttached = reasonKind<{ device: string; pasid: Pasid }>({
  code: 'pasid-not-attached',
  errno: 'EINVAL',
  cite: '03 §6.4 step 1',
  say: ({ device, pasid }) =>
    `PASID ${pasid} of ${device} is not attached, so there is nothing to replace`,
  advice: 'Attach the PASID first; only what is attached can be replaced.',
})

export const PasidNeedsPasidHwpt = reasonKind<{ hwpt: number; role: 'target' | 'rid' }>({
  code: 'pasid-needs-pasid-hwpt',
  errno: 'EINVAL',
  cite: '03 §6.2',
  say: ({ hwpt, role }) =>
    role === 'target'
      ? `HWPT ${hwpt} was not allocated with IOMMU_HWPT_ALLOC_PASID`
      : `the device itself is attached to HWPT ${hwpt}, which was not allocated with IOMMU_HWPT_ALLOC_PASID`,
  advice:
    'Allocate both HWPTs with IOMMU_HWPT_ALLOC_PASID; automatic HWPTs (attach to an IOAS) never fit.',
})

/** Attaches a PASID to what `ptId` names; returns the HWPT used. */
export const attachPasid = (
  caller: Caller,
  device: Device,
  pasid: Pasid,
  ptId: number,
): Result<Hwpt> => {
  if (pasid === 0) return attachDevice(caller, device, ptId)
  const hwpt = moveTo(
    caller,
    {
      kind: 'attach',
      device,
      to: (target) => attachTo(device, pasid, target),
      undo: () => leave(device, pasid, false),
    },
    ptId,
  )
  if (!(hwpt instanceof Refusal)) announce(device, pasid, [device], hwpt)
  return hwpt
}

/** Moves the whole group's PASID to what `ptId` names; returns the HWPT used. */
export const replacePasid = (
  caller: Caller,
  device: Device,
  pasid: Pasid,
  ptId: number,
): Result<Hwpt> => {
  if (pasid === 0) return replaceDevice(caller, device, ptId)
  const before = device.group.pasids.get(pasid)
  const hwpt = moveTo(
    caller,
    {
      kind: 'replace',
      device,
      to: (target) => replaceBy(device, pasid, target),
      undo: () => undefined,
    },
    ptId,
  )
  const after = device.group.pasids.get(pasid)
  if (!(hwpt instanceof Refusal) && after !== before)
    announce(device, pasid, after?.devices ?? [], hwpt, before?.hwpt)
  return hwpt
}

const announce = (
  through: Device,
  pasid: Pasid,
  devices: Iterable<Device>,
  hwpt: Hwpt,
  replaced?: Hwpt,
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
      pasid,
      through: through.id,
      replaced: replaced?.id,
      throughContainer: false,
    })
}

/** 03 §6.3 steps 2 to 5. */
const attachTo = (device: Device, pasid: Pasid, hwpt: Hwpt): Result<void> => {
  const { group } = device
  const known = group.pasids.get(pasid)
  if (known?.devices.has(device))
    return refuse(PasidAttachedAlready, { device: device.name, pasid, hwpt: known.hwpt.id })
  if (known !== undefined && known.hwpt !== hwpt)
    return refuse(PasidOnOtherHwpt, {
      group: group.group.number,
      pasid,
      hwpt: known.hwpt.id,
      wanted: hwpt.id,
    })
  if (known === undefined) {
    const refusal = checkFitness(device, hwpt) ?? group.attachPasid(pasid, hwpt.domain)
    if (refusal instanceof Refusal) return refusal
    group.pasids.set(pasid, new Attachment(hwpt, device, [device], pasid))
  } else known.devices.add(device)
  device.users++
  hwpt.users++
}

/** VF and PRI, then the PASID rule: target and RID must both be compatible (03 §6.2). */
const checkFitness = (device: Device, hwpt: Hwpt): Refusal | undefined => {
  const refusal = checkPri(device, hwpt)
  if (refusal !== undefined) return refusal
  if (!hwpt.pasidCompatible) return refuse(PasidNeedsPasidHwpt, { hwpt: hwpt.id, role: 'target' })
  const rid = device.group.rid?.hwpt
  if (rid !== undefined && !rid.pasidCompatible)
    return refuse(PasidNeedsPasidHwpt, { hwpt: rid.id, role: 'rid' })
}

/** 03 §6.4. */
const replaceBy = (device: Device, pasid: Pasid, hwpt: Hwpt): Result<void> => {
  const { group } = device
  const old = group.pasids.get(pasid)
  if (!old?.devices.has(device)) return refuse(PasidNotAttached, { device: device.name, pasid })
  if (old.hwpt === hwpt) return
  const refusal = checkFitness(device, hwpt) ?? group.replacePasid(pasid, hwpt.domain)
  if (refusal instanceof Refusal) return refusal
  group.pasids.set(pasid, new Attachment(hwpt, device, old.devices, pasid))
  hwpt.users += old.devices.size
  endAttachment(group, old)
  releaseHwpt(old.hwpt, old.devices.size)
}

/** Takes the PASID's attachment away, if there is one; cannot fail (03 §6.5). */
export const detachPasid = (device: Device, pasid: Pasid): void => {
  if (pasid === 0) detachDevice(device)
  else leave(device, pasid, true)
}

/** An attach that is taken back was never announced, so neither is its end. */
const leave = (device: Device, pasid: Pasid, announced: boolean): void => {
  const { group, context } = device
  const attachment = group.pasids.get(pasid)
  if (!attachment?.devices.delete(device)) return
  const { hwpt } = attachment
  if (attachment.devices.size === 0) {
    group.pasids.delete(pasid)
    group.blockPasid(pasid)
    endAttachment(group, attachment)
  }
  device.users--
  if (announced && context.machine.observer !== undefined)
    context.emit({
      type: 'detached',
      device: device.name,
      object: device.id,
      ioas: hwpt.paging.ioas.id,
      hwpt: hwpt.id,
      pasid,
    })
  releaseHwpt(hwpt, 1)
}
