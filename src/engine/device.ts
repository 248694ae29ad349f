/**
 * DEVICE objects: the bond between a device and a context, made and ended by the device's own driver
 * (VFIO, the test interface), never by an iommufd ioctl (03 §4).
 */
import type { ObjectId, Pasid } from '../abi/brands.ts'
import { detachDevice } from './attach.ts'
import { detachPasid } from './attach-pasid.ts'
import type { Context } from './context.ts'
import type { Hwpt } from './hwpt.ts'
import type { IommuDevice } from './iommu-driver.ts'
import type { GroupState } from './iommu-group.ts'
import { type Caller, type DestroyedBy, KernelObject } from './objects.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'
import type { Vdevice } from './vdevice.ts'

export const DeviceNotCoherent = reasonKind<{ device: string }>({
  code: 'device-not-coherent',
  errno: 'EINVAL',
  cite: '03 §4.1 check 1',
  say: ({ device }) => `the IOMMU in front of ${device} cannot do cache-coherent DMA`,
  advice:
    'Such a device cannot be given to user space: use a platform whose IOMMU or device is cache-coherent.',
})

export const DeviceMsiNotIsolated = reasonKind<{ device: string; group: number }>({
  code: 'device-msi-not-isolated',
  errno: 'EPERM',
  cite: '03 §4.1 check 3',
  say: ({ device, group }) =>
    `the platform does not isolate the interrupts of ${device} in IOMMU group ${group} (no interrupt remapping)`,
  advice: 'Use a platform with interrupt remapping, or allow unsafe interrupts.',
})

export class Device extends KernelObject {
  readonly type = 'device'
  readonly iommuDevice: IommuDevice
  readonly group: GroupState
  /** Can the IOMMU enforce coherency for it? Sampled at bind (03 §9). */
  readonly enforcesCoherency: boolean
  readonly holdsContext: boolean
  /** The one vDEVICE of this device, on whatever vIOMMU. */
  vdevice: Vdevice | undefined
  /** From here on no vDEVICE can be made for it (04 §6.5). */
  unbinding = false

  constructor(
    context: Context,
    id: ObjectId,
    iommuDevice: IommuDevice,
    group: GroupState,
    holdsContext: boolean,
  ) {
    super(context, id)
    this.iommuDevice = iommuDevice
    this.group = group
    this.holdsContext = holdsContext
    this.enforcesCoherency = iommuDevice.instance.driver.capable(iommuDevice, 'enforce-coherency')
  }

  get name(): string {
    return this.iommuDevice.name
  }

  /** The HWPT its DMA without PASID is attached to. */
  get hwpt(): Hwpt | undefined {
    const { rid } = this.group
    return rid?.devices.has(this) ? rid.hwpt : undefined
  }

  /** The HWPT attached to one of its PASIDs; PASID 0 is the RID. */
  hwptOfPasid(pasid: Pasid): Hwpt | undefined {
    if (pasid === 0) return this.hwpt
    const attachment = this.group.pasids.get(pasid)
    return attachment?.devices.has(this) ? attachment.hwpt : undefined
  }

  /** PASIDs with an attachment of this device, ascending. */
  attachedPasids(): Pasid[] {
    return [...this.group.pasids]
      .filter(([, attachment]) => attachment.devices.has(this))
      .map(([pasid]) => pasid)
      .sort((a, b) => a - b)
  }

  /** Each HWPT once for the RID and once for each PASID attached to it. */
  override holds(): readonly KernelObject[] {
    const held = this.attachedPasids().map((pasid) => this.hwptOfPasid(pasid))
    return [this.hwpt, ...held].filter((hwpt) => hwpt !== undefined)
  }

  override usedBy(): readonly string[] {
    return ['the driver that bound it', ...super.usedBy()]
  }

  override toString(): string {
    return `device ${this.id} (${this.name})`
  }

  teardown(_by: DestroyedBy): void {
    this.group.bound.delete(this.iommuDevice)
    this.group.unclaim()
  }
}

/**
 * Binds a device to a context (03 §4.1). `holdsContext` is false only for mock devices, which do not
 * keep the context alive. The core does not refuse to bind a device twice; its caller must.
 */
export const bindDevice = (
  caller: Caller,
  context: Context,
  iommuDevice: IommuDevice,
  options: { readonly holdsContext: boolean } = { holdsContext: true },
): Result<Device> => {
  const { driver } = iommuDevice.instance
  const { machine } = context
  if (!driver.capable(iommuDevice, 'coherent'))
    return refuse(DeviceNotCoherent, { device: iommuDevice.name })
  if (!machine.allowUnsafeInterrupts)
    for (const member of iommuDevice.group.devices)
      if (!member.msiIsolated)
        return refuse(DeviceMsiNotIsolated, {
          device: member.name,
          group: iommuDevice.group.number,
        })
  const group = machine.groups.of(iommuDevice)
  const claimed = group.claim(context)
  if (claimed instanceof Refusal) return claimed
  const id = context.objects.reserve(caller)
  if (id instanceof Refusal) {
    group.unclaim()
    return id
  }
  const device = new Device(context, id, iommuDevice, group, options.holdsContext)
  // The binding itself is a user: IOMMU_DESTROY of a device is EBUSY for ever.
  device.users++
  group.bound.set(iommuDevice, device)
  context.objects.publish(device)
  if (options.holdsContext) context.hold()
  if (machine.observer !== undefined)
    context.emit({
      type: 'device-bound',
      device: device.name,
      object: id,
      group: iommuDevice.group.number,
    })
  return device
}

/**
 * Unbinds a device (03 §4.2), after detaching what is still attached: PASIDs in ascending order, then
 * the RID. A vDEVICE that still exists leaves a tombstone.
 */
export const unbindDevice = (device: Device): void => {
  const { context } = device
  for (const pasid of device.attachedPasids()) detachPasid(device, pasid)
  detachDevice(device)
  device.unbinding = true
  if (device.vdevice !== undefined)
    context.objects.remove(device.vdevice, 'driver', { tombstone: true })
  device.users--
  context.objects.remove(device, 'driver')
  if (context.machine.observer !== undefined)
    context.emit({ type: 'device-unbound', device: device.name, object: device.id })
  if (device.holdsContext) context.drop()
}
