/** vDEVICEs: what a device is called inside a vIOMMU (04 §6). */
import { hex, type ObjectId } from '../abi/brands.ts'
import { IOMMU_VDEVICE_ALLOC } from '../abi/iommufd/viommu.ts'
import { command } from './command.ts'
import { Device } from './device.ts'
import { type DestroyedBy, KernelObject } from './objects.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'
import { Viommu } from './viommu.ts'

export const VdeviceOnOtherIommu = reasonKind<{ viommu: number; iommu: string; device: string }>({
  code: 'vdevice-on-other-iommu',
  errno: 'EINVAL',
  cite: '04 §6.2 check 4',
  say: ({ viommu, iommu, device }) =>
    `vIOMMU ${viommu} is a slice of ${iommu}, and ${device} is behind another IOMMU`,
  advice:
    'Make one vIOMMU for each physical IOMMU, and use for each device the one that belongs to its own.',
})

export const VdeviceOfUnbindingDevice = reasonKind<{ device: string }>({
  code: 'vdevice-of-unbinding-device',
  errno: 'ENOENT',
  cite: '04 §6.2 check 5',
  say: ({ device }) => `${device} is being unbound`,
  advice:
    'Allocate vDEVICEs while the device is bound, and not from another thread while its file is being closed.',
})

export const DeviceHasVdevice = reasonKind<{ device: string; vdevice: number; viommu: number }>({
  code: 'device-has-vdevice',
  errno: 'EEXIST',
  cite: '04 §6.2 check 6',
  say: ({ device, vdevice, viommu }) =>
    `${device} has vDEVICE ${vdevice} on vIOMMU ${viommu}; a device has one, over all vIOMMUs`,
  advice: 'Destroy that vDEVICE first.',
})

export const VirtIdTaken = reasonKind<{ viommu: number; virtId: bigint; vdevice: number }>({
  code: 'virt-id-taken',
  errno: 'EEXIST',
  cite: '04 §6.2 check 8',
  say: ({ viommu, virtId, vdevice }) =>
    `virt_id ${hex(virtId)} of vIOMMU ${viommu} belongs to vDEVICE ${vdevice}`,
  advice: 'Give each device of a vIOMMU a virt_id of its own, or destroy the earlier vDEVICE.',
})

export class Vdevice extends KernelObject {
  override readonly type = 'vdevice'
  readonly viommu: Viommu
  readonly device: Device
  readonly virtId: bigint
  /** The driver has accepted it: from now on it is found by its virtual ID. */
  accepted = false
  #destroy: (() => void) | undefined

  constructor(viommu: Viommu, device: Device, id: ObjectId, virtId: bigint) {
    super(viommu.context, id)
    this.viommu = viommu
    this.device = device
    this.virtId = virtId
    viommu.users++
    device.users++
    device.vdevice = this
    viommu.vdevices.set(virtId, this)
  }

  /** Asks the driver, which may refuse. */
  init(): Result<void> {
    const { device, virtId } = this
    const hooks = this.viommu.ops.initVdevice?.({ device: device.iommuDevice, virtId })
    if (hooks instanceof Refusal) return hooks
    this.#destroy = hooks?.destroy?.bind(hooks)
    this.accepted = true
  }

  override holds(): readonly KernelObject[] {
    return [this.viommu, this.device]
  }

  override teardown(_by: DestroyedBy): void {
    this.#destroy?.()
    this.viommu.vdevices.delete(this.virtId)
    this.device.vdevice = undefined
    this.viommu.users--
    this.device.users--
  }
}

export const vdeviceAlloc = command(
  IOMMU_VDEVICE_ALLOC,
  ({ args, call, context, respond }): Result<void> => {
    const { objects } = context
    const virtId = args.virt_id
    const viommu = objects.find(args.viommu_id, Viommu, 'viommu', call)
    if (viommu instanceof Refusal) return viommu
    const device = objects.find(args.dev_id, Device, 'device', call)
    if (device instanceof Refusal) return device
    if (device.iommuDevice.instance !== viommu.instance)
      return refuse(VdeviceOnOtherIommu, {
        viommu: viommu.id,
        iommu: viommu.instance.name,
        device: device.name,
      })
    if (device.unbinding) return refuse(VdeviceOfUnbindingDevice, { device: device.name })
    const own = device.vdevice
    if (own !== undefined)
      return refuse(DeviceHasVdevice, {
        device: device.name,
        vdevice: own.id,
        viommu: own.viommu.id,
      })
    const id = objects.reserve(call)
    if (id instanceof Refusal) return id
    const taken = viommu.vdevices.get(virtId)
    if (taken !== undefined) {
      objects.abort(id)
      return refuse(VirtIdTaken, { viommu: viommu.id, virtId, vdevice: taken.id })
    }
    const vdevice = new Vdevice(viommu, device, id, virtId)
    const refusal = vdevice.init() ?? respond({ out_vdevice_id: id })
    if (refusal instanceof Refusal) {
      objects.abort(id)
      vdevice.teardown('undo')
      return refusal
    }
    objects.publish(vdevice)
  },
)
