/**
 * Physical devices (vfio-pci and similar, 02 §5.1): the device is bound as a DEVICE object and attaches
 * to hardware page tables. What attach and replace mean is the engine's (03 §5, §6); which of the two a
 * request is, and which PASIDs count as attached, is VFIO's own book-keeping (02 §5.5).
 */
import { type ObjectId, type Pasid, iova as toIova } from '../abi/brands.ts'
import { attachDevice, detachDevice, replaceDevice } from '../engine/attach.ts'
import { attachPasid, detachPasid, replacePasid } from '../engine/attach-pasid.ts'
import type { Context } from '../engine/context.ts'
import { bindDevice, type Device, unbindDevice } from '../engine/device.ts'
import type { Hwpt } from '../engine/hwpt.ts'
import type { Ioas, IovaRange } from '../engine/ioas.ts'
import type { IommuDevice, PagingDomain } from '../engine/iommu-driver.ts'
import type { GroupState } from '../engine/iommu-group.ts'
import type { Machine } from '../engine/machine.ts'
import type { Call } from '../engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../engine/reason.ts'
import type { BoundDevice, DeviceBinding } from './binding.ts'

export const PasidTooLarge = reasonKind<{ pasid: Pasid }>({
  code: 'pasid-too-large',
  errno: 'ENOSPC',
  cite: '02 §5.5',
  say: ({ pasid }) => `PASID 0x${pasid.toString(16)} is above 0x7fffffff`,
  advice: 'Use a PASID below 2^20, as PCI Express has them.',
})

export const NoPagingDomain = reasonKind<{ driver: string }>({
  code: 'no-paging-domain',
  errno: 'EOPNOTSUPP',
  cite: '02 §6.2',
  say: ({ driver }) => `the IOMMU driver ${driver} offers no page tables`,
  advice: 'Use a device behind an IOMMU that translates.',
})

const LARGEST_PASID = 0x7fff_ffff
/** VFIO takes this one value for a PASID that is attached already (observed). */
const TAKEN_FOR_ATTACHED = 0xffff_ffea

export class PhysicalBinding implements DeviceBinding {
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

/** The IOMMU group behind a physical VFIO group, as GET_STATUS and a native container see it (02 §4.8, §6.2). */
export class PhysicalGroup {
  readonly state: GroupState
  /** The device for which a native container allocates a domain. */
  readonly #first: IommuDevice

  constructor(machine: Machine, first: IommuDevice) {
    this.state = machine.groups.of(first)
    this.#first = first
  }

  /** A context, a native container or a kernel driver owns its DMA now. */
  isOwned(): boolean {
    return this.state.owner !== undefined
  }

  claim(owner: object): Result<void> {
    return this.state.claim(owner)
  }

  unclaim(): void {
    this.state.unclaim()
  }

  /** A new page table that enforces coherency if it can. */
  allocDomain(): Result<PagingDomain> {
    const { driver } = this.#first.instance
    const domain =
      driver.allocPaging?.(this.#first, 0, undefined) ?? driver.allocPagingPlain?.(this.#first)
    if (domain === undefined) return refuse(NoPagingDomain, { driver: driver.name })
    if (domain instanceof Refusal) return domain
    if (driver.capable(this.#first, 'enforce-coherency')) domain.enforceCoherency?.()
    return domain
  }

  /** What its devices reserve; relaxable regions do not count (02 §6.2). */
  reservedRanges(): IovaRange[] {
    const { devices } = this.state.group
    return devices
      .flatMap((device) => device.instance.driver.reservedRegions(device))
      .filter(({ kind }) => kind !== 'direct-relaxable')
      .map(({ start, length }) => ({ start, last: toIova(start + length - 1n) }))
  }

  get isMsiIsolated(): boolean {
    return this.state.group.devices.every((device) => device.msiIsolated)
  }
}
