/** Accesses: users of an IOAS that do no DMA of their own (01 §19, 04 §2). */
import { type ByteLength, type Iova, MAX_U64 } from '../abi/brands.ts'
import { copyThrough } from './access-copy.ts'
import {
  AccessLengthZero,
  AccessOverflows,
  AreaBeingUnmapped,
  AreaIsDmaBuf,
  checkPermission,
  PinMisaligned,
  walkAreas,
} from './access-walk.ts'
import { AREA_UNMAPPING } from './area-cursor.ts'
import type { Context } from './context.ts'
import { Ioas } from './ioas.ts'
import { type Caller, KernelObject } from './objects.ts'
import { PAGE } from './page-address.ts'
import type { PageSource } from './page-source.ts'
import type { AddressSpace, PageIdentity } from './ports.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'

export interface AccessDriver {
  /** For people: `emulated device mdev0`. */
  readonly name: string
  /** It may pin pages: the alignment it imposes is then 4096, else 1. */
  readonly pins: boolean
  /** Must release every pin that intersects the range before it returns (04 §2.7). */
  unmap?(iova: Iova, length: ByteLength): void
}

/** Who does a CPU copy (04 §2.8). */
export interface CopyBy {
  /** Address space of the thread that copies; undefined for a worker without one. */
  readonly space: AddressSpace | undefined
  /** Flag KTHREAD: act for the owner of the mapping. */
  readonly forOwner?: boolean
  /** Test flag 4: not by the fast path. */
  readonly slow?: boolean
}

export const AccessAttached = reasonKind<{ access: string; ioas: number }>({
  code: 'access-attached-already',
  errno: 'EINVAL',
  cite: '04 §2.3',
  say: ({ access, ioas }) => `${access} is attached to IOAS ${ioas} already`,
  advice: 'Detach it first, or use the replace operation to move it.',
})

export const AccessNotAttached = reasonKind<{ access: string }>({
  code: 'access-not-attached',
  errno: 'ENOENT',
  cite: '04 §2.3, §2.5 check 4, §2.8 check 3',
  say: ({ access }) => `${access} is attached to no IOAS, or just being moved`,
  advice: 'Attach the device to an IOAS (VFIO_DEVICE_ATTACH_IOMMUFD_PT) before it does DMA.',
})

export const AccessInTransition = reasonKind<{ access: string }>({
  code: 'access-in-transition',
  errno: 'EBUSY',
  cite: '04 §2.3',
  say: ({ access }) => `${access} is just being moved to another IOAS`,
  advice: 'Do not attach or detach from within the unmap callback that a move waits for.',
})

export const TooManyAccesses = reasonKind<{ ioas: number }>({
  code: 'too-many-accesses',
  errno: 'EBUSY',
  cite: '04 §2.3 attach step 2',
  say: ({ ioas }) => `65536 accesses are attached to IOAS ${ioas}`,
  advice: 'Spread the devices over several IOASes.',
})

export const AccessMayNotPin = reasonKind<{ access: string }>({
  code: 'access-may-not-pin',
  errno: 'EINVAL',
  cite: '04 §2.5 check 1',
  say: ({ access }) => `${access} did not declare that it pins pages, or cannot be told to let go`,
  advice:
    'A driver that pins pages must say so when it makes the access, and offer an unmap callback.',
})

export const StorePagesFails = reasonKind({
  code: 'store-pages-fails',
  errno: 'EINVAL',
  cite: '05 §A.11',
  say: () => 'storing the pinned pages was made to fail (injected failure)',
  advice:
    'This failure was injected: make sure that the driver unpins what it had and passes the error on.',
})

const MAX_ACCESSES = 65536

/** Slots that one pin holds in one area. */
interface PinnedPart {
  readonly page: number
  readonly offset: number
  readonly source: PageSource
  readonly start: number
  readonly end: number
}

export class Access extends KernelObject {
  override readonly type = 'access'
  readonly driver: AccessDriver
  /** One of a hardware queue: locks what it pins, is never notified. */
  readonly internal: boolean
  /** The IOAS it is attached to; none while it moves. */
  #ioas: Ioas | undefined
  /** The IOAS that its pins are in: the old one while it moves. */
  #pinsIn: Ioas | undefined
  /** Outstanding pins by `iova:length`, with how often each was made. */
  readonly #pins = new Map<string, number>()

  private constructor(
    context: Context,
    id: KernelObject['id'],
    driver: AccessDriver,
    internal: boolean,
  ) {
    super(context, id)
    this.driver = driver
    this.internal = internal
    // Its creator's, for its whole life (04 §2.2).
    this.users += 1
  }

  /** Makes an access; `internal` is one of a hardware queue: locks what it pins, is never notified. */
  static create(
    context: Context,
    driver: AccessDriver,
    options: { caller?: Caller; internal?: boolean } = {},
  ): Result<Access> {
    const id = context.objects.reserve(options.caller)
    if (id instanceof Refusal) return id
    const access = new Access(context, id, driver, options.internal ?? false)
    // The access of a hardware queue lives as long as its queue; others keep the context alive.
    if (!access.internal) context.hold()
    context.objects.publish(access)
    return access
  }

  get ioas(): Ioas | undefined {
    return this.#ioas
  }

  /** The alignment it imposes on its IOAS (04 §2.4). */
  get alignment(): number {
    return this.driver.pins || this.internal ? PAGE : 1
  }

  /** 04 §2.2: detaches if need be and frees the ID. */
  destroy(): void {
    this.context.objects.remove(this, 'driver')
    if (!this.internal) this.context.drop()
  }

  override teardown(): void {
    this.detach()
  }

  override holds(): readonly KernelObject[] {
    return this.#pinsIn === undefined ? [] : [this.#pinsIn]
  }

  // --- attaching (04 §2.3)

  attach(caller: Caller, ioasId: number): Result<void> {
    const refusal = this.#checkFree()
    if (refusal instanceof Refusal) return refusal
    const ioas = this.context.objects.find(ioasId, Ioas, 'IOAS', caller)
    if (ioas instanceof Refusal) return ioas
    return this.attachTo(ioas)
  }

  /** Attaches to an IOAS that was not looked up by ID: the compat IOAS. */
  attachTo(ioas: Ioas): Result<void> {
    let refusal = this.#checkFree()
    if (refusal instanceof Refusal) return refusal
    refusal = this.#join(ioas)
    if (refusal instanceof Refusal) return refusal
    this.#settle(ioas)
  }

  replace(caller: Caller, ioasId: number): Result<void> {
    const old = this.#ioas
    if (old === undefined) return refuse(AccessNotAttached, { access: this.toString() })
    const ioas = this.context.objects.find(ioasId, Ioas, 'IOAS', caller)
    if (ioas instanceof Refusal) return ioas
    if (ioas === old) return
    const refusal = this.#join(ioas)
    if (refusal instanceof Refusal) return refusal
    this.#leave(old)
    this.#settle(ioas)
  }

  /** Without attachment nothing happens. */
  detach(): void {
    const old = this.#ioas
    if (old !== undefined) this.#leave(old)
  }

  #checkFree(): Result<void> {
    if (this.#ioas !== undefined)
      return refuse(AccessAttached, { access: this.toString(), ioas: this.#ioas.id })
    if (this.#pinsIn !== undefined) return refuse(AccessInTransition, { access: this.toString() })
  }

  #settle(ioas: Ioas): void {
    this.#ioas = ioas
    this.#pinsIn = ioas
    this.#emitMoved('access-attached', ioas)
  }

  #emitMoved(type: 'access-attached' | 'access-detached', { id: ioas }: Ioas): void {
    if (this.context.machine.observer === undefined) return
    this.context.emit({ type, access: this.id, name: this.driver.name, ioas })
  }

  /** Takes a slot, a say in the alignment and a user of the IOAS; nothing is usable yet. */
  #join(ioas: Ioas): Result<void> {
    const { accesses } = ioas
    const free = accesses.indexOf(undefined)
    const slot = free < 0 ? accesses.length : free
    if (slot >= MAX_ACCESSES) return refuse(TooManyAccesses, { ioas: ioas.id })
    const refusal = ioas.checkAlignment(this.alignment)
    if (refusal instanceof Refusal) return refusal
    accesses[slot] = this
    ioas.updateAlignment()
    ioas.users += 1
  }

  /** "Unmap everything" while neither IOAS is usable, then the old one is left. */
  #leave(old: Ioas): void {
    this.#ioas = undefined
    if (!this.internal) this.driver.unmap?.(0n as Iova, MAX_U64 as ByteLength)
    this.#pinsIn = undefined
    this.#pins.clear()
    const { accesses } = old
    accesses[accesses.indexOf(this)] = undefined
    while (accesses.length > 0 && accesses.at(-1) === undefined) accesses.pop()
    old.updateAlignment()
    old.users -= 1
    this.#emitMoved('access-detached', old)
  }

  /** An area of the IOAS is about to be unmapped (04 §2.7). */
  notify(start: Iova, length: ByteLength): void {
    if (!this.internal) this.driver.unmap?.(start, length)
  }

  // --- pinning (04 §2.5, §2.6)

  /** One identity per page, in order. All or nothing. */
  pin(caller: Caller, iova: Iova, length: ByteLength, write: boolean): Result<PageIdentity[]> {
    if (this.alignment !== PAGE || (!this.internal && this.driver.unmap === undefined))
      return refuse(AccessMayNotPin, { access: this.toString() })
    if (length === 0n) return refuse(AccessLengthZero, {})
    const last = iova + length - 1n
    if (last > MAX_U64) return refuse(AccessOverflows, { iova, length })
    const ioas = this.#ioas
    if (ioas === undefined) return refuse(AccessNotAttached, { access: this.toString() })
    const parts: PinnedPart[] = []
    const refusal = this.#pinParts(caller, ioas, iova, last, write, parts)
    if (refusal instanceof Refusal) {
      for (const part of parts) this.#unpinPart(ioas, part)
      return refusal
    }
    const key = pinKey(iova, length)
    this.#pins.set(key, (this.#pins.get(key) ?? 0) + 1)
    this.#emitPinned('access-pinned', ioas, iova, length)
    return parts.flatMap(({ source, start, end }) =>
      source
        .recorded(start, end)
        .flatMap(({ run }) =>
          Array.from({ length: run.count }, (_, i) => ({ object: run.object, page: run.page + i })),
        ),
    )
  }

  #pinParts(
    caller: Caller,
    ioas: Ioas,
    iova: bigint,
    last: bigint,
    write: boolean,
    parts: PinnedPart[],
  ): Result<void> {
    const { machine } = this.context
    const lock = this.internal ? 1 : 0
    return walkAreas(ioas, iova, last, (walk) => {
      const { areas } = ioas
      const { source } = areas
      const { area, firstByte, lastByte, isLast } = walk
      if ((areas.flags & AREA_UNMAPPING) !== 0) return refuse(AreaBeingUnmapped, { area })
      if (firstByte % PAGE !== 0) return refuse(PinMisaligned, { area, at: walk.from })
      if (!isLast && (lastByte + 1) % PAGE !== 0)
        return refuse(PinMisaligned, { area, at: area.last })
      const refusal = checkPermission(walk, areas.flags, write)
      if (refusal instanceof Refusal) return refusal
      if (source.dmaBuf !== undefined) return refuse(AreaIsDmaBuf, { area })
      const start = areas.sourcePage + Math.floor(firstByte / PAGE)
      const end = areas.sourcePage + Math.floor(lastByte / PAGE) + 1
      const fresh = source.hold(caller, machine.frames, start, end)
      if (fresh instanceof Refusal) return fresh
      const charged = caller.fails('store-access-pages')
        ? refuse(StorePagesFails, {})
        : source.charge(caller, machine, fresh)
      if (charged instanceof Refusal) {
        source.release(machine, start, end, false)
        return charged
      }
      areas.addPins(1, lock)
      ioas.accessPins += 1
      parts.push({ page: areas.firstPage, offset: areas.firstOffset, source, start, end })
    })
  }

  /**
   * Must repeat an earlier pin exactly; false (and nothing done) if it does not, which is a bug of the
   * driver. Works in the old IOAS while the access moves.
   */
  unpin(iova: Iova, length: ByteLength): boolean {
    const ioas = this.#pinsIn
    const key = pinKey(iova, length)
    const made = this.#pins.get(key)
    if (ioas === undefined || made === undefined) return false
    if (made === 1) this.#pins.delete(key)
    else this.#pins.set(key, made - 1)
    const parts: PinnedPart[] = []
    walkAreas(ioas, iova, iova + length - 1n, ({ firstByte, lastByte }) => {
      const { firstPage, firstOffset, source, sourcePage } = ioas.areas
      parts.push({
        page: firstPage,
        offset: firstOffset,
        source,
        start: sourcePage + Math.floor(firstByte / PAGE),
        end: sourcePage + Math.floor(lastByte / PAGE) + 1,
      })
    })
    for (const part of parts) this.#unpinPart(ioas, part)
    this.#emitPinned('access-unpinned', ioas, iova, length)
    return true
  }

  #emitPinned(
    type: 'access-pinned' | 'access-unpinned',
    { id: ioas }: Ioas,
    iova: Iova,
    length: ByteLength,
  ): void {
    if (this.context.machine.memoryObserver === undefined) return
    this.context.emit({ type, access: this.id, ioas, iova, length })
  }

  #unpinPart(ioas: Ioas, { page, offset, source, start, end }: PinnedPart): void {
    source.release(this.context.machine, start, end)
    ioas.areas.seek(page, offset)
    ioas.areas.addPins(-1, this.internal ? -1 : 0)
    ioas.accessPins -= 1
  }

  // --- copying (04 §2.8)

  /** Copies out of the mapped memory into `into`. */
  read(caller: Caller, by: CopyBy, iova: Iova, into: Uint8Array): Result<void> {
    return this.#copy(caller, by, iova, into, false)
  }

  /** Copies `bytes` into the mapped memory. On refusal a part may have been copied. */
  write(caller: Caller, by: CopyBy, iova: Iova, bytes: Uint8Array): Result<void> {
    return this.#copy(caller, by, iova, bytes, true)
  }

  #copy(caller: Caller, by: CopyBy, iova: Iova, bytes: Uint8Array, write: boolean): Result<void> {
    const length = BigInt(bytes.length)
    if (length === 0n) return refuse(AccessLengthZero, {})
    const last = iova + length - 1n
    if (last > MAX_U64) return refuse(AccessOverflows, { iova, length })
    const ioas = this.#ioas
    if (ioas === undefined) return refuse(AccessNotAttached, { access: this.toString() })
    let done = 0
    return walkAreas(ioas, iova, last, (walk) => {
      const { areas } = ioas
      const { source } = areas
      const { area, firstByte, lastByte } = walk
      if ((areas.flags & AREA_UNMAPPING) !== 0) return refuse(AreaBeingUnmapped, { area })
      const refusal = checkPermission(walk, areas.flags, write)
      if (refusal instanceof Refusal) return refusal
      if (source.dmaBuf !== undefined) return refuse(AreaIsDmaBuf, { area })
      const part = bytes.subarray(done, done + lastByte - firstByte + 1)
      done += part.length
      const slot = areas.sourcePage + Math.floor(firstByte / PAGE)
      return copyThrough(caller, by, source, slot, firstByte % PAGE, part, write)
    })
  }
}

const pinKey = (iova: bigint, length: bigint): string => `${iova}:${length}`
