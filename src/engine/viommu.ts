/** Virtual IOMMUs: a slice of a physical IOMMU that user space gives to a guest (04 §5). */
import { hex, type ObjectId } from '../abi/brands.ts'
import { IOMMU_VIOMMU_ALLOC } from '../abi/iommufd/viommu.ts'
import { command } from './command.ts'
import { Device } from './device.ts'
import { driverData } from './driver-data.ts'
import { HwptPaging } from './hwpt.ts'
import type {
  IommuDevice,
  IommuInstance,
  PublishedRegion,
  ViommuOps,
  ViommuServices,
} from './iommu-driver.ts'
import type { RegionHandle } from './mmap-regions.ts'
import { type DestroyedBy, KernelObject } from './objects.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'
import type { Vdevice } from './vdevice.ts'
import type { Veventq } from './veventq.ts'

export const ViommuFlagsOrType = reasonKind<{ flags: number; viommuType: number }>({
  code: 'viommu-flags-or-type',
  errno: 'EOPNOTSUPP',
  cite: '04 §5 check 1',
  say: ({ flags, viommuType }) =>
    flags !== 0
      ? `flags ${hex(flags)} must be 0`
      : `type ${viommuType} (default) is no vIOMMU type`,
  advice:
    'Set flags to 0 and type to the vIOMMU type of the hardware, such as IOMMU_VIOMMU_TYPE_ARM_SMMUV3.',
})

export const ViommuTypeNotOffered = reasonKind<{
  viommuType: number
  device: string
  driver: string
}>({
  code: 'viommu-type-not-offered',
  errno: 'EOPNOTSUPP',
  cite: '04 §5 check 3',
  say: ({ viommuType, device, driver }) =>
    `the IOMMU driver ${driver} of ${device} has no vIOMMU of type ${hex(viommuType)}`,
  advice:
    'Ask IOMMU_GET_HW_INFO which hardware it is, and allocate the vIOMMU type that belongs to it.',
})

export const ViommuParentNotNesting = reasonKind<{ hwpt: number }>({
  code: 'viommu-parent-not-nesting',
  errno: 'EINVAL',
  cite: '04 §5 check 5',
  say: ({ hwpt }) => `HWPT ${hwpt} was not allocated with IOMMU_HWPT_ALLOC_NEST_PARENT`,
  advice: 'Allocate the HWPT that holds guest memory with IOMMU_HWPT_ALLOC_NEST_PARENT.',
})

export const NoEventQueueOfType = reasonKind<{ viommu: number; eventType: number }>({
  code: 'no-event-queue-of-type',
  errno: 'EOPNOTSUPP',
  cite: '04 §7.3',
  say: ({ viommu, eventType }) =>
    `vIOMMU ${viommu} has no event queue of type ${hex(eventType)}; the event is not kept`,
  advice:
    'Allocate an event queue of that type (IOMMU_VEVENTQ_ALLOC) before the guest can cause events.',
})

/** Its driver sees it as `ViommuServices`. */
export class Viommu extends KernelObject implements ViommuServices {
  override readonly type = 'viommu'
  /** The nest parent; the device through which it was allocated is not held (04 §5, effects). */
  readonly parent: HwptPaging
  readonly instance: IommuInstance
  readonly viommuType: number
  /** By virtual ID. One whose driver has not accepted it yet is not found by the driver. */
  readonly vdevices = new Map<bigint, Vdevice>()
  /** By event type. */
  readonly eventQueues = new Map<number, Veventq>()
  #ops: ViommuOps = {}
  readonly #regions = new Set<RegionHandle>()

  constructor(parent: HwptPaging, id: ObjectId, instance: IommuInstance, viommuType: number) {
    super(parent.context, id)
    this.parent = parent
    this.instance = instance
    this.viommuType = viommuType
    parent.users++
  }

  get ops(): ViommuOps {
    return this.#ops
  }

  /** The driver has set it up. */
  ready(ops: ViommuOps): void {
    this.#ops = ops
  }

  deviceOf(virtId: bigint): IommuDevice | undefined {
    const vdevice = this.vdevices.get(virtId)
    return vdevice?.accepted ? vdevice.device.iommuDevice : undefined
  }

  virtIdOf(device: IommuDevice): bigint | undefined {
    const vdevice = this.context.machine.groups.deviceOf(device)?.vdevice
    return vdevice?.viommu === this && vdevice.accepted ? vdevice.virtId : undefined
  }

  reportEvent(eventType: number, payload: Uint8Array): Result<void> {
    const queue = this.eventQueues.get(eventType)
    if (queue === undefined) return refuse(NoEventQueueOfType, { viommu: this.id, eventType })
    return queue.report(payload)
  }

  publishRegion(length: number): Result<PublishedRegion> {
    const region = this.context.regions.publish(this, length)
    if (region instanceof Refusal) return region
    this.#regions.add(region)
    return {
      mmapOffset: region.offset,
      length,
      read: (offset, into) => region.memory.read(offset, into),
      write: (offset, bytes) => region.memory.write(offset, bytes),
      withdraw: () => {
        this.#regions.delete(region)
        region.withdraw()
      },
    }
  }

  override holds(): readonly KernelObject[] {
    return [this.parent]
  }

  override teardown(_by: DestroyedBy): void {
    this.#ops.destroy?.()
    for (const region of this.#regions) region.withdraw()
    this.parent.users--
  }
}

export const viommuAlloc = command(
  IOMMU_VIOMMU_ALLOC,
  ({ args, call, context, respond }): Result<void> => {
    const { objects } = context
    if (args.flags !== 0 || args.type === 0)
      return refuse(ViommuFlagsOrType, { flags: args.flags, viommuType: args.type })
    const device = objects.find(args.dev_id, Device, 'device', call)
    if (device instanceof Refusal) return device
    const { iommuDevice } = device
    const { instance } = iommuDevice
    const { driver } = instance
    if (driver.initViommu === undefined || !driver.offersViommu?.(iommuDevice, args.type))
      return refuse(ViommuTypeNotOffered, {
        viommuType: args.type,
        device: device.name,
        driver: driver.name,
      })
    const parent = objects.find(args.hwpt_id, HwptPaging, 'hwpt-paging', call)
    if (parent instanceof Refusal) return parent
    if (!parent.nestParent) return refuse(ViommuParentNotNesting, { hwpt: parent.id })
    const id = objects.reserve(call)
    if (id instanceof Refusal) return id
    const viommu = new Viommu(parent, id, instance, args.type)
    const data = driverData(call, args.type, args.data_uptr, args.data_len)
    const ops = driver.initViommu(viommu, parent.domain, data)
    if (!(ops instanceof Refusal)) viommu.ready(ops)
    const refusal = ops instanceof Refusal ? ops : respond({ out_viommu_id: id })
    if (refusal instanceof Refusal) {
      objects.abort(id)
      viommu.teardown('undo')
      return refusal
    }
    objects.publish(viommu)
  },
)
