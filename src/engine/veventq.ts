/**
 * Virtual event queues (04 §7): what an IOMMU driver reports for a vIOMMU, for its user to hand to the
 * guest. A full queue loses events; one marker at its end says so.
 */
import { hex, type UserVa } from '../abi/brands.ts'
import { IOMMU_VEVENTQ_ALLOC } from '../abi/iommufd/events.ts'
import { command } from './command.ts'
import { EventFile, MAX_TRANSFER } from './event-file.ts'
import { publishWithFile } from './event-file-alloc.ts'
import { Fifo } from './fifo.ts'
import { type DestroyedBy, KernelObject } from './objects.ts'
import type { Call } from './ports.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'
import { Viommu } from './viommu.ts'

/** `struct iommufd_vevent_header`. */
const HEADER = 8
const FLAG_LOST_EVENTS = 1
/** Sequence numbers run from 0 to this, then again from 0. */
const LAST_SEQUENCE = 0x7fff_ffff

/** Largest `veventq_depth`. */
const MAX_DEPTH = 0x8_0000

export const VeventqFlagsOrType = reasonKind<{
  flags: number
  reserved: number
  eventType: number
}>({
  code: 'veventq-flags-or-type',
  errno: 'EOPNOTSUPP',
  cite: '04 §7.2 check 1',
  say: ({ flags, reserved, eventType }) =>
    flags !== 0
      ? `flags ${hex(flags)} must be 0`
      : reserved !== 0
        ? `__reserved ${hex(reserved)} must be 0`
        : `type ${eventType} (default) is no event type`,
  advice:
    'Set flags and __reserved to 0 and type to the event type of the hardware, such as IOMMU_VEVENTQ_TYPE_ARM_SMMUV3.',
})

export const VeventqDepth = reasonKind<{ depth: number }>({
  code: 'veventq-depth',
  errno: 'EINVAL',
  cite: '04 §7.2 check 2',
  say: ({ depth }) => `veventq_depth ${depth} is not between 1 and ${MAX_DEPTH}`,
  advice: 'Set veventq_depth to the number of events that may wait, at least 1.',
})

export const VeventqOfTypeExists = reasonKind<{
  viommu: number
  eventType: number
  queue: number
}>({
  code: 'veventq-of-type-exists',
  errno: 'EEXIST',
  cite: '04 §7.2 check 4',
  say: ({ viommu, eventType, queue }) =>
    `vIOMMU ${viommu} has event queue ${queue} of type ${hex(eventType)} already`,
  advice: 'Closing its file does not destroy a queue: destroy it by ID.',
})

export const EventReadTooShort = reasonKind<{ count: number }>({
  code: 'event-read-too-short',
  errno: 'EINVAL',
  cite: '04 §7.5 step 1',
  say: ({ count }) => `a read of ${count} bytes has no room for the 8-byte event header`,
  advice: 'Read with room for at least one event and its header.',
})

export const EventTooLarge = reasonKind<{ size: number; room: number }>({
  code: 'event-too-large',
  errno: 'EINVAL',
  cite: '04 §7.5 step 2',
  say: ({ size, room }) =>
    `the next event has ${size} bytes with its header and the buffer only ${room}`,
  advice: 'Read with a larger buffer.',
})

export const EventBufferUnwritable = reasonKind<{ address: UserVa; length: number }>({
  code: 'event-buffer-unwritable',
  errno: 'EFAULT',
  cite: '04 §7.5 step 2',
  say: ({ address, length }) =>
    `the ${length} bytes of the event cannot be written to ${hex(address)}`,
  advice:
    'Read into a buffer in writable memory; the event stays in the queue until it has been read.',
})

export const EventFileNotWritable = reasonKind({
  code: 'event-file-not-writable',
  errno: 'EINVAL',
  cite: '04 §7.5',
  say: () => 'a virtual event queue takes no writes, although its file is open for writing',
  advice: 'Only read from it; responses to page faults are written to the file of a fault queue.',
})

export const EventEmpty = reasonKind({
  code: 'event-empty',
  errno: 'EINVAL',
  cite: '04 Appendix B',
  say: () => 'an event needs a payload',
  advice: 'Pass the bytes of the event.',
})

interface QueuedEvent {
  readonly sequence: number
  readonly payload: Uint8Array
}

export class Veventq extends KernelObject {
  readonly type = 'veventq'
  readonly viommu: Viommu
  readonly eventType: number
  readonly depth: number
  readonly #events = new Fifo<QueuedEvent>()
  /** Sequence number of the lost-events marker at the tail, if there is one. */
  #marker: number | undefined
  #sequence = 0
  file: VeventqFile | undefined

  constructor(viommu: Viommu, id: Veventq['id'], eventType: number, depth: number) {
    super(viommu.context, id)
    this.viommu = viommu
    this.eventType = eventType
    this.depth = depth
    viommu.users++
    viommu.eventQueues.set(eventType, this)
  }

  /** Stores the event, or counts it as lost where `depth` events wait already (04 §7.3). */
  report(payload: Uint8Array): Result<void> {
    if (payload.length === 0) return refuse(EventEmpty, {})
    const sequence = this.#sequence
    this.#sequence = sequence === LAST_SEQUENCE ? 0 : sequence + 1
    const lost = this.#events.length >= this.depth
    if (lost) this.#marker = sequence
    else {
      this.#marker = undefined
      this.#events.push({ sequence, payload: payload.slice() })
    }
    const { context } = this
    if (context.machine.observer !== undefined)
      context.emit({
        type: 'virtual-event',
        viommu: this.viommu.id,
        queue: this.id,
        eventType: this.eventType,
        sequence,
        payload,
        lost,
      })
    this.file?.changed()
  }

  /** The oldest entry as it is read: a header, and the payload unless it is the marker. */
  oldest(): Uint8Array | undefined {
    const event = this.#events.first()
    if (event !== undefined) return entry(0, event.sequence, event.payload)
    if (this.#marker !== undefined) return entry(FLAG_LOST_EVENTS, this.#marker, new Uint8Array(0))
  }

  /** The oldest entry was read. */
  dropOldest(): void {
    if (this.#events.shift() === undefined) this.#marker = undefined
  }

  override holds(): readonly KernelObject[] {
    return [this.viommu]
  }

  override usedBy(): readonly string[] {
    return [...(this.file?.isOpen ? ['its open file'] : []), ...super.usedBy()]
  }

  teardown(_by: DestroyedBy): void {
    this.viommu.eventQueues.delete(this.eventType)
    this.viommu.users--
  }
}

const entry = (flags: number, sequence: number, payload: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(HEADER + payload.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, flags, true)
  view.setUint32(4, sequence, true)
  bytes.set(payload, HEADER)
  return bytes
}

export class VeventqFile extends EventFile {
  readonly kind = 'virtual event queue'
  readonly linkText = 'anon_inode:[iommufd-viommu-event]'
  readonly #queue: Veventq

  constructor(queue: Veventq) {
    super(queue)
    this.#queue = queue
  }

  read(call: Call, buffer: UserVa, count: number): Result<number> {
    if (count < HEADER) return refuse(EventReadTooShort, { count })
    const room = Math.min(count, MAX_TRANSFER)
    let done = 0
    for (;;) {
      const event = this.#queue.oldest()
      if (event === undefined || room - done < HEADER) break
      const refusal = deliver(call, (buffer + BigInt(done)) as UserVa, event, room - done)
      if (refusal !== undefined) {
        if (done === 0) return refusal
        break
      }
      this.#queue.dropOldest()
      done += event.length
    }
    if (done > 0) this.changed()
    return done
  }

  write(_call: Call, _buffer: UserVa, _count: number): Refusal {
    return refuse(EventFileNotWritable, {})
  }

  /** POLLIN and POLLRDNORM with an event or the marker; never POLLOUT. */
  poll(): number {
    return this.#queue.oldest() === undefined ? 0 : 0x001 | 0x040
  }
}

const deliver = (
  call: Call,
  address: UserVa,
  event: Uint8Array,
  room: number,
): Refusal | undefined => {
  if (event.length > room) return refuse(EventTooLarge, { size: event.length, room })
  if (call.memory.write(address, event) < event.length)
    return refuse(EventBufferUnwritable, { address, length: event.length })
}

/** The type is not compared with what the vIOMMU can report: such a queue just stays empty. */
export const veventqAlloc = command(
  IOMMU_VEVENTQ_ALLOC,
  ({ args, call, context, probe, respond }): Result<void> => {
    const { flags, type: eventType, veventq_depth: depth } = args
    if (flags !== 0 || args.__reserved !== 0 || eventType === 0)
      return refuse(VeventqFlagsOrType, { flags, reserved: args.__reserved, eventType })
    if (depth === 0 || depth > MAX_DEPTH) return refuse(VeventqDepth, { depth })
    const viommu = context.objects.find(args.viommu_id, Viommu, 'viommu', call)
    if (viommu instanceof Refusal) return viommu
    const other = viommu.eventQueues.get(eventType)
    if (other !== undefined)
      return refuse(VeventqOfTypeExists, { viommu: viommu.id, eventType, queue: other.id })
    const id = context.objects.reserve(call)
    if (id instanceof Refusal) return id
    const queue = new Veventq(viommu, id, eventType, depth)
    queue.file = new VeventqFile(queue)
    return publishWithFile(call, queue, queue.file, probe, (fd) =>
      respond({ out_veventq_id: id, out_veventq_fd: fd }),
    )
  },
)
