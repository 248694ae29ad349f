/**
 * Hardware queues: guest memory that the IOMMU reads its commands from directly (04 §8). The memory is
 * pinned through a hidden access, which takes an object ID of its own.
 */
import {
  type ByteLength,
  byteLength,
  hex,
  type Iova,
  iova,
  MAX_U64,
  type ObjectId,
  type PhysAddr,
  physAddr,
} from '../abi/brands.ts'
import { IOMMU_HW_QUEUE_ALLOC } from '../abi/iommufd/viommu.ts'
import { Access } from './access.ts'
import { command } from './command.ts'
import type { Ioas } from './ioas.ts'
import { type DestroyedBy, KernelObject } from './objects.ts'
import type { Call, PageIdentity } from './ports.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'
import { Viommu } from './viommu.ts'

const PAGE = 0x1000n
/** From here on the list of pages cannot be allocated (04 §8.2 check 8). */
const TOO_LONG_TO_LIST = 1n << 40n

export const HwQueueFlagsOrType = reasonKind<{ flags: number; queueType: number }>({
  code: 'hw-queue-flags-or-type',
  errno: 'EOPNOTSUPP',
  cite: '04 §8.2 check 1',
  say: ({ flags, queueType }) =>
    flags !== 0 ? `flags ${hex(flags)} must be 0` : `type ${queueType} (default) is no queue type`,
  advice:
    'Set flags to 0 and type to the queue type of the hardware, such as IOMMU_HW_QUEUE_TYPE_TEGRA241_CMDQV.',
})

export const HwQueueLengthZero = reasonKind({
  code: 'hw-queue-length-zero',
  errno: 'EINVAL',
  cite: '04 §8.2 check 2',
  say: () => 'length is 0',
  advice: 'Set length to the size of the queue in bytes.',
})

export const HwQueueRangeOverflows = reasonKind<{ iova: Iova; length: ByteLength }>({
  code: 'hw-queue-range-overflows',
  errno: 'EOVERFLOW',
  cite: '04 §8.2 check 3',
  say: ({ iova: start, length }) => `${hex(length)} bytes from ${hex(start)} on pass 2^64`,
  advice: 'The queue must end at 2^64-1 at the latest: check nesting_parent_iova and length.',
})

export const HwQueueTypeNotOffered = reasonKind<{ queueType: number; viommu: number }>({
  code: 'hw-queue-type-not-offered',
  errno: 'EOPNOTSUPP',
  cite: '04 §8.2 check 5',
  say: ({ queueType, viommu }) =>
    `vIOMMU ${viommu} has no hardware queues of type ${hex(queueType)}`,
  advice:
    'Ask IOMMU_GET_HW_INFO which vIOMMU the hardware supports, and allocate only its queue types.',
})

export const HwQueueSpanOverflows = reasonKind<{ iova: Iova; length: ByteLength }>({
  code: 'hw-queue-span-overflows',
  errno: 'ERANGE',
  cite: '04 §8.2 check 7',
  say: ({ iova: start, length }) =>
    `${hex(length)} bytes from ${hex(start)} on, rounded to whole pages, are 2^64 bytes or more`,
  advice: 'Use a queue of a size that hardware has, far below 2^64 bytes.',
})

export const HwQueueTooLong = reasonKind<{ length: ByteLength }>({
  code: 'hw-queue-too-long',
  errno: 'ENOMEM',
  cite: '04 §8.2 check 8',
  say: ({ length }) => `the list of the pages of ${hex(length)} bytes cannot be allocated`,
  advice: 'Use a queue of a size that hardware has, such as a few pages.',
})

export const HwQueueNotContiguous = reasonKind<{ iova: Iova; page: number }>({
  code: 'hw-queue-not-contiguous',
  errno: 'EFAULT',
  cite: '04 §8.2 check 11',
  say: ({ iova: start, page }) =>
    `the queue memory at ${hex(start)} is not physically contiguous: page ${page} does not follow the one before`,
  advice: 'Back the queue with one page or with a huge page.',
})

export class HwQueue extends KernelObject {
  override readonly type = 'hw-queue'
  readonly viommu: Viommu
  readonly access: Access
  readonly base: Iova
  readonly span: ByteLength
  /** The queue that must outlive this one. */
  #dependsOn: HwQueue | undefined
  #destroy: (() => void) | undefined

  /** Its memory is pinned through `access` already. */
  constructor(viommu: Viommu, id: ObjectId, access: Access, base: Iova, span: ByteLength) {
    super(viommu.context, id)
    this.viommu = viommu
    this.access = access
    this.base = base
    this.span = span
    viommu.users++
  }

  /** Asks the driver, which judges the index last (04 §8.2 check 12). */
  init(request: {
    readonly type: number
    readonly index: number
    readonly iova: Iova
    readonly length: ByteLength
    readonly phys: PhysAddr
  }): Result<void> {
    const hooks = this.viommu.ops.initHwQueue?.({ id: this.id, ...request })
    if (hooks instanceof Refusal) return hooks
    this.#destroy = hooks?.destroy?.bind(hooks)
    const { objects } = this.context
    const other = hooks?.dependsOn === undefined ? undefined : objects.peek(hooks.dependsOn)
    if (other instanceof HwQueue) {
      this.#dependsOn = other
      other.users++
    }
  }

  override holds(): readonly KernelObject[] {
    return this.#dependsOn === undefined ? [this.viommu] : [this.viommu, this.#dependsOn]
  }

  override teardown(_by: DestroyedBy): void {
    this.#destroy?.()
    if (this.#dependsOn !== undefined) this.#dependsOn.users--
    this.access.unpin(this.base, this.span)
    this.access.destroy()
    this.viommu.users--
  }
}

export const hwQueueAlloc = command(
  IOMMU_HW_QUEUE_ALLOC,
  ({ args, call, context, respond }): Result<void> => {
    const { objects } = context
    const { flags, type, index, length } = args
    const start = args.nesting_parent_iova
    if (flags !== 0 || type === 0) return refuse(HwQueueFlagsOrType, { flags, queueType: type })
    if (length === 0n) return refuse(HwQueueLengthZero, {})
    if (start + length - 1n > MAX_U64) return refuse(HwQueueRangeOverflows, { iova: start, length })
    const viommu = objects.find(args.viommu_id, Viommu, 'viommu', call)
    if (viommu instanceof Refusal) return viommu
    const { ops } = viommu
    if (ops.initHwQueue === undefined || !ops.offersHwQueue?.(type))
      return refuse(HwQueueTypeNotOffered, { queueType: type, viommu: viommu.id })
    const id = objects.reserve(call)
    if (id instanceof Refusal) return id
    const taken = takeMemory(call, viommu, start, length)
    if (taken instanceof Refusal) {
      objects.abort(id)
      return taken
    }
    const queue = new HwQueue(viommu, id, taken.access, taken.base, taken.span)
    const { phys } = taken
    const refusal =
      queue.init({ type, index, iova: start, length, phys }) ?? respond({ out_hw_queue_id: id })
    if (refusal instanceof Refusal) {
      objects.abort(id)
      queue.teardown('undo')
      return refusal
    }
    objects.publish(queue)
  },
)

interface QueueMemory {
  readonly access: Access
  readonly base: Iova
  readonly span: ByteLength
  /** Of the first byte of the queue, not of its page. */
  readonly phys: PhysAddr
}

/** Pins the whole pages around the queue for reading (04 §8.2 checks 7 to 11). */
const takeMemory = (
  call: Call,
  viommu: Viommu,
  start: Iova,
  length: ByteLength,
): Result<QueueMemory> => {
  const base = iova(start & ~(PAGE - 1n))
  const bytes = start - base + length
  const rounded = (bytes + PAGE - 1n) & ~(PAGE - 1n)
  if (rounded > MAX_U64) return refuse(HwQueueSpanOverflows, { iova: start, length })
  if (rounded >= TOO_LONG_TO_LIST || call.fails('allocate-object'))
    return refuse(HwQueueTooLong, { length })
  const span = byteLength(rounded)
  const access = Access.create(
    viommu.context,
    { name: 'hardware queue', pins: true },
    { caller: call, internal: true },
  )
  if (access instanceof Refusal) return access
  const phys = pinContiguous(call, access, viommu.parent.ioas, base, span)
  if (phys instanceof Refusal) {
    access.destroy()
    return phys
  }
  return { access, base, span, phys: physAddr(phys + (start - base)) }
}

const pinContiguous = (
  call: Call,
  access: Access,
  ioas: Ioas,
  base: Iova,
  span: ByteLength,
): Result<PhysAddr> => {
  const attached = access.attachTo(ioas)
  if (attached instanceof Refusal) return attached
  const pages = access.pin(call, base, span, false)
  if (pages instanceof Refusal) return pages
  const phys = contiguous(access, pages, base)
  if (phys instanceof Refusal) access.unpin(base, span)
  return phys
}

const contiguous = (access: Access, pages: PageIdentity[], base: Iova): Result<PhysAddr> => {
  const { frames } = access.context.machine
  let first: PhysAddr | undefined
  let expected: bigint | undefined
  for (const [index, { object, page }] of pages.entries()) {
    const phys = frames.physOf(object, page)
    first ??= phys
    if (phys === undefined || (expected !== undefined && phys !== expected))
      return refuse(HwQueueNotContiguous, { iova: base, page: index })
    expected = phys + PAGE
  }
  return first ?? refuse(HwQueueNotContiguous, { iova: base, page: 0 })
}
