/**
 * Physical devices (vfio-pci and similar, 02 §5.1): the device is bound as a DEVICE object and attaches
 * to hardware page tables. What attach and replace mean is the engine's (03 §5, §6); which of the two a
 * request is, and which PASIDs count as attached, is VFIO's own book-keeping (02 §5.5).
 */
import type { ObjectId, Pasid } from '../abi/brands.ts'
import { attachDevice, detachDevice, replaceDevice } from '../engine/attach.ts'
import { attachPasid, detachPasid, replacePasid } from '../engine/attach-pasid.ts'
import type { Context } from '../engine/context.ts'
import { bindDevice, type Device, unbindDevice } from '../engine/device.ts'
import type { Hwpt } from '../engine/hwpt.ts'
import type { Ioas } from '../engine/ioas.ts'
import type { IommuDevice } from '../engine/iommu-driver.ts'
import type { Machine } from '../engine/machine.ts'
import type { Call } from '../engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../engine/reason.ts'
import type { BoundDevice, IommufdBinding } from './binding.ts'
import type { GroupDma } from './group.ts'

export const PasidTooLarge = reasonKind<{ pasid: Pasid }>({
  code: 'pasid-too-large',
  errno: 'ENOSPC',
  cite: '02 §5.5',
  say: ({ pasid }) => `PASID 0x${pasid.toString(16)} is above 0x7fffffff`,
})

const LARGEST_PASID = 0x7fff_ffff
/** VFIO takes this one value for a PASID that is attached already (observed). */
const TAKEN_FOR_ATTACHED = 0xffff_ffea

export class PhysicalBinding implements IommufdBinding {
  readonly #device: IommuDevice

  constructor(device: IommuDevice) {
    this.#device = device
  }

  bind(context: Context, call: Call): Result<BoundDevice> {
    const device = bindDevice(call, context, this.#device)
    return device instanceof Refusal ? device : new PhysicalBound(device)
  }
}

const idOf = (hwpt: Result<Hwpt>): Result<ObjectId> => (hwpt instanceof Refusal ? hwpt : hwpt.id)

class PhysicalBound implements BoundDevice {
  readonly #device: Device
  /** A plain ATTACH is in effect. */
  #attached = false
  readonly #pasids = new Set<Pasid>()

  constructor(device: Device) {
    this.#device = device
  }

  get id(): ObjectId {
    return this.#device.id
  }

  attach(target: ObjectId, call: Call): Result<ObjectId> {
    const hwpt = this.#attached
      ? replaceDevice(call, this.#device, target)
      : attachDevice(call, this.#device, target)
    if (!(hwpt instanceof Refusal)) this.#attached = true
    return idOf(hwpt)
  }

  attachToIoas(ioas: Ioas, call: Call): Result<void> {
    const hwpt = attachDevice(call, this.#device, ioas.id, { throughContainer: true })
    if (hwpt instanceof Refusal) return hwpt
    this.#attached = true
  }

  detach(): void {
    if (!this.#attached) return
    detachDevice(this.#device)
    this.#attached = false
  }

  attachPasid(pasid: Pasid, target: ObjectId, call: Call): Result<ObjectId> {
    if (this.#pasids.has(pasid) || pasid === TAKEN_FOR_ATTACHED)
      return idOf(replacePasid(call, this.#device, pasid, target))
    if (pasid > LARGEST_PASID) return refuse(PasidTooLarge, { pasid })
    const hwpt = attachPasid(call, this.#device, pasid, target)
    if (!(hwpt instanceof Refusal)) this.#pasids.add(pasid)
    return idOf(hwpt)
  }

  detachPasid(pasid: Pasid): void {
    if (!this.#pasids.delete(pasid)) return
    detachPasid(this.#device, pasid)
  }

  unbind(): void {
    unbindDevice(this.#device)
  }
}

/** DMA ownership of a physical group, as a native container and GET_STATUS see it (02 §4.8). */
export class PhysicalGroupDma implements GroupDma {
  readonly #machine: Machine
  readonly #device: IommuDevice

  /** Any device of the group will do. */
  constructor(machine: Machine, device: IommuDevice) {
    this.#machine = machine
    this.#device = device
  }

  isOwned(): boolean {
    return this.#machine.groups.of(this.#device).owner !== undefined
  }

  claim(owner: object): Result<void> {
    return this.#machine.groups.of(this.#device).claim(owner)
  }

  release(): void {
    this.#machine.groups.of(this.#device).unclaim()
  }
}
