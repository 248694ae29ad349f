/**
 * Emulated devices (mdev and similar, 02 §5.1): the device is bound as an access, and reaches memory
 * by reading, writing and pinning through it (02 §5.13, 04 §2.9).
 */
import { byteLength, type Iova, type ObjectId, iova as toIova } from '../abi/brands.ts'
import { Access } from '../engine/access.ts'
import type { Context } from '../engine/context.ts'
import type { Ioas } from '../engine/ioas.ts'
import type { Call } from '../engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../engine/reason.ts'
import type { BoundDevice, DeviceBinding } from './binding.ts'
import type { VfioDriver, VirtualDma } from './driver.ts'
import type { Type1Backend } from './type1-backend.ts'
import { Type1Dma } from './type1-dma.ts'

export const DmaOfClosedDevice = reasonKind<{ device: string }>({
  code: 'dma-of-closed-device',
  errno: 'EINVAL',
  cite: '02 §5.13',
  say: ({ device }) => `${device} is not bound to an iommufd`,
  advice: 'Bind the device to an iommufd and attach it before it does DMA.',
})

export const PinWithoutUnmapHook = reasonKind<{ device: string }>({
  code: 'pin-without-unmap-hook',
  errno: 'EINVAL',
  cite: '02 §5.13',
  say: ({ device }) => `the driver of ${device} has no unmap hook, so it may not pin`,
  advice: 'A driver that pins pages must offer an unmap hook (dma_unmap).',
})

export const PinOfNothing = reasonKind({
  code: 'pin-of-nothing',
  errno: 'EINVAL',
  cite: '02 §5.13',
  say: () => 'a pin of 0 pages',
  advice: 'Pin at least one page.',
})

const PAGE_SIZE = 4096n

/** Binds one emulated device, and is its way to memory while it is open, whatever the container. */
export class EmulatedBinding implements DeviceBinding, VirtualDma {
  readonly #name: string
  readonly #driver: () => VfioDriver
  #dma: VirtualDma | undefined

  /** `driver` is asked for when the device is bound: the driver itself is made with this object. */
  constructor(name: string, driver: () => VfioDriver) {
    this.#name = name
    this.#driver = driver
  }

  bind(context: Context, call: Call): Result<BoundDevice> {
    const driver = this.#driver()
    const access = Access.create(
      context,
      {
        name: `emulated device ${this.#name}`,
        pins: true,
        unmap: (iova, length) => driver.unmapped?.(iova, length),
      },
      { caller: call },
    )
    if (access instanceof Refusal) return access
    this.#dma = new AccessDma(this.#name, driver, access)
    return new EmulatedBound(this.#name, access, () => {
      this.#dma = undefined
    })
  }

  openUnderType1(backend: Type1Backend, call: Call): Result<() => void> {
    const dma = Type1Dma.open(backend, this.#name, this.#driver(), call)
    if (dma instanceof Refusal) return dma
    this.#dma = dma
    return () => {
      dma.close()
      this.#dma = undefined
    }
  }

  read(call: Call, iova: Iova, into: Uint8Array): Result<void> {
    return this.#dma?.read(call, iova, into) ?? this.#closed()
  }

  write(call: Call, iova: Iova, bytes: Uint8Array): Result<void> {
    return this.#dma?.write(call, iova, bytes) ?? this.#closed()
  }

  pin(call: Call, iova: Iova, pages: number, forWriting: boolean): Result<number> {
    return (
      this.#dma?.pin(call, iova, pages, forWriting) ??
      refuse(DmaOfClosedDevice, { device: this.#name })
    )
  }

  unpin(iova: Iova, pages: number): void {
    this.#dma?.unpin(iova, pages)
  }

  #closed(): Result<void> {
    if (this.#dma === undefined) return refuse(DmaOfClosedDevice, { device: this.#name })
  }
}

const pageOf = (iova: Iova): Iova => toIova(iova - (iova % PAGE_SIZE))
const lengthOf = (pages: number) => byteLength(BigInt(pages) * PAGE_SIZE)

/** 02 §5.13: through the device's access. */
class AccessDma implements VirtualDma {
  readonly #name: string
  readonly #driver: VfioDriver
  readonly #access: Access

  constructor(name: string, driver: VfioDriver, access: Access) {
    this.#name = name
    this.#driver = driver
    this.#access = access
  }

  read(call: Call, iova: Iova, into: Uint8Array): Result<void> {
    return this.#access.read(call, { space: call.process.addressSpace }, iova, into)
  }

  write(call: Call, iova: Iova, bytes: Uint8Array): Result<void> {
    return this.#access.write(call, { space: call.process.addressSpace }, iova, bytes)
  }

  pin(call: Call, iova: Iova, pages: number, forWriting: boolean): Result<number> {
    if (pages === 0) return refuse(PinOfNothing, {})
    if (this.#driver.unmapped === undefined)
      return refuse(PinWithoutUnmapHook, { device: this.#name })
    const pinned = this.#access.pin(call, pageOf(iova), lengthOf(pages), forWriting)
    return pinned instanceof Refusal ? pinned : pages
  }

  unpin(iova: Iova, pages: number): void {
    this.#access.unpin(pageOf(iova), lengthOf(pages))
  }
}

class EmulatedBound implements BoundDevice {
  readonly #name: string
  readonly #access: Access
  readonly #onUnbind: () => void

  constructor(name: string, access: Access, onUnbind: () => void) {
    this.#name = name
    this.#access = access
    this.#onUnbind = onUnbind
  }

  get id(): ObjectId {
    return this.#access.id
  }

  /** The target can only be an IOAS, and is reported back unchanged. */
  attach(target: ObjectId, call: Call): Result<ObjectId> {
    const before = this.#access.ioas
    const refused =
      before === undefined ? this.#access.attach(call, target) : this.#access.replace(call, target)
    if (refused instanceof Refusal) return refused
    if (this.#access.ioas !== before) this.#announce(false)
    return target
  }

  attachToIoas(ioas: Ioas): Result<void> {
    const refused = this.#access.attachTo(ioas)
    if (refused instanceof Refusal) return refused
    this.#announce(true)
  }

  detach(): void {
    const { ioas, context } = this.#access
    if (ioas === undefined) return
    this.#access.detach()
    if (context.machine.observer !== undefined)
      context.emit({ type: 'detached', device: this.#name, object: this.id, ioas: ioas.id })
  }

  unbind(): void {
    this.detach()
    this.#access.destroy()
    this.#onUnbind()
  }

  #announce(throughContainer: boolean): void {
    const { ioas, context } = this.#access
    if (context.machine.observer === undefined || ioas === undefined) return
    context.emit({
      type: 'attached',
      device: this.#name,
      object: this.id,
      ioas: ioas.id,
      throughContainer,
    })
  }
}
