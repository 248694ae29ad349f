/**
 * One device that a VFIO driver offers: how often it is open, and what it is bound to (02 §4.6, §5.4,
 * §5.8). All files of a device share this state; group-file.ts and device-file.ts drive it.
 */
import type { ObjectId } from '../abi/brands.ts'
import { attachedThroughContainer } from '../engine/compat-ioas.ts'
import type { Context } from '../engine/context.ts'
import { Later } from '../engine/later.ts'
import type { Call } from '../engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../engine/reason.ts'
import type { BoundDevice, DeviceBinding } from './binding.ts'
import type { VfioDriver } from './driver.ts'
import type { VfioGroup } from './group.ts'
import type { Type1Backend } from './type1-backend.ts'

export const DeviceOpenElsewhere = reasonKind<{ device: string }>({
  code: 'device-open-elsewhere',
  errno: 'EINVAL',
  cite: '02 §5.4 step 11',
  say: ({ device }) => `device ${device} is open through another file`,
  advice: 'Close the other file of the device first; only one cdev file can be bound at a time.',
})

export const NoCompatIoasToAttach = reasonKind<{ device: string; context: number }>({
  code: 'no-compat-ioas-to-attach',
  errno: 'ENODEV',
  cite: '02 §2.5, §4.6 step 6d',
  say: ({ device, context }) =>
    `device ${device} was to be attached to the compat IOAS, but iommufd context ${context} has none: it was cleared or destroyed after SET_CONTAINER`,
  advice: 'Name one with IOMMU_VFIO_IOAS SET, or unset the container and set it again.',
})

export const NoIommuNeedsRawIo = reasonKind<{ pid: number }>({
  code: 'no-iommu-needs-raw-io',
  errno: 'EPERM',
  cite: '02 §4.6 step 5',
  say: ({ pid }) => `process ${pid} lacks CAP_SYS_RAWIO, which a device without IOMMU takes`,
  advice: 'Run it with CAP_SYS_RAWIO, or use a device behind an IOMMU.',
})

export const NoIommuWithCompatIoas = reasonKind<{ ioas: ObjectId }>({
  code: 'no-iommu-with-compat-ioas',
  errno: 'EPERM',
  cite: '02 §4.6 step 5',
  say: ({ ioas }) =>
    `IOAS ${ioas} is the compat IOAS of the context, which a device without IOMMU would escape`,
  advice: 'Clear the compat IOAS (IOMMU_VFIO_IOAS CLEAR) before opening the device.',
})

/** Physical and emulated devices bind; a no-IOMMU device does neither (02 §5.1). */
export type DeviceKind = 'physical' | 'emulated' | 'no-iommu'

export interface VfioDeviceOptions {
  /** The parent device's name: a PCI address, an mdev's UUID. */
  readonly name: string
  readonly kind: DeviceKind
  readonly group: VfioGroup
  readonly driver: VfioDriver
  /** Absent for no-IOMMU devices. */
  readonly binding?: DeviceBinding
  /** X of /dev/vfio/devices/vfioX; absent for no-IOMMU devices. */
  readonly cdevIndex?: number
}

export class VfioDevice {
  readonly name: string
  readonly kind: DeviceKind
  readonly group: VfioGroup
  readonly driver: VfioDriver
  readonly cdevIndex: number | undefined
  readonly #binding: DeviceBinding | undefined
  /** Files with access granted. */
  #openCount = 0
  #bound: BoundDevice | undefined
  /** Files, with access or without: while there is one, its driver cannot let go of it (06 §2.4). */
  #files = 0
  readonly #unused: (() => void)[] = []
  /** What the way into the container wants done at the last close, after the driver. */
  #onClose: (() => void) | undefined

  constructor(options: VfioDeviceOptions) {
    this.name = options.name
    this.kind = options.kind
    this.group = options.group
    this.driver = options.driver
    this.cdevIndex = options.cdevIndex
    this.#binding = options.binding
  }

  /** `/dev/vfio/devices/vfio0`. */
  get cdevPath(): string {
    return `/dev/vfio/devices/vfio${this.cdevIndex}`
  }

  get isOpen(): boolean {
    return this.#openCount > 0
  }

  fileOpened(): void {
    this.#files += 1
  }

  fileReleased(): void {
    this.#files -= 1
    if (this.#files === 0) for (const listener of this.#unused.splice(0)) listener()
  }

  /** Undefined: no file is open; else what becomes of that. */
  get whenUnused(): Later<void> | undefined {
    if (this.#files === 0) return undefined
    const later = new Later<void>()
    this.#unused.push(() => later.resolve())
    return later
  }

  get bound(): BoundDevice | undefined {
    return this.#bound
  }

  /** GET_DEVICE_FD with an iommufd as container (02 §4.6 steps 5 and 6). */
  openThroughIommufd(context: Context, call: Call): Result<void> {
    if (this.isOpen) {
      this.#openCount += 1
      return
    }
    if (this.kind === 'no-iommu') {
      const refused = this.#admitNoIommu(context, call)
      if (refused !== undefined) return refused
    }
    const opened = this.#firstOpen(context, call)
    if (opened instanceof Refusal) return opened
    if (opened === undefined) return
    const attached = this.#attachToCompatIoas(context, opened, call)
    if (attached instanceof Refusal) this.closeFile()
    return attached
  }

  /** BIND_IOMMUFD on a cdev (02 §5.4 steps 11 and 12); returns the object's ID. */
  openThroughCdev(context: Context, call: Call): Result<ObjectId> {
    if (this.isOpen) return refuse(DeviceOpenElsewhere, { device: this.name })
    const opened = this.#firstOpen(context, call)
    if (opened instanceof Refusal) return opened
    if (opened === undefined) throw new Error(`${this.name} has a cdev but cannot be bound`)
    return opened.id
  }

  /** GET_DEVICE_FD under a native container (02 §6.8): nothing is bound. */
  openThroughNativeContainer(backend: Type1Backend | undefined, call: Call): Result<void> {
    if (!this.isOpen) {
      const onClose = backend && this.#binding?.openUnderType1?.(backend, call)
      if (onClose instanceof Refusal) return onClose
      const opened = this.driver.open()
      if (opened instanceof Refusal) {
        onClose?.()
        return opened
      }
      this.#onClose = onClose
    }
    this.#openCount += 1
  }

  /** One file with access is gone; the last one closes the device and unbinds it (02 §5.8). */
  closeFile(): void {
    this.#openCount -= 1
    if (this.#openCount > 0) return
    this.driver.close()
    this.#onClose?.()
    this.#onClose = undefined
    this.#bound?.unbind()
    this.#bound = undefined
  }

  #admitNoIommu(context: Context, call: Call): Refusal | undefined {
    if (!call.process.capable('CAP_SYS_RAWIO'))
      return refuse(NoIommuNeedsRawIo, { pid: call.process.pid })
    if (context.compatIoas !== undefined)
      return refuse(NoIommuWithCompatIoas, { ioas: context.compatIoas.id })
    return undefined
  }

  #firstOpen(context: Context, call: Call): Result<BoundDevice | undefined> {
    const bound = this.#binding?.bind(context, call)
    if (bound instanceof Refusal) return bound
    this.#bound = bound
    const opened = this.driver.open()
    if (opened instanceof Refusal) {
      bound?.unbind()
      this.#bound = undefined
      return opened
    }
    this.#openCount = 1
    return bound
  }

  #attachToCompatIoas(context: Context, bound: BoundDevice, call: Call): Result<void> {
    const ioas = context.compatIoas
    if (ioas === undefined)
      return refuse(NoCompatIoasToAttach, { device: this.name, context: context.number })
    const attached = bound.attachToIoas(ioas, call)
    if (attached instanceof Refusal) return attached
    this.#onClose = attachedThroughContainer(context, this.name, ioas)
  }
}
