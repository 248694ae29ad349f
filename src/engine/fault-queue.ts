/**
 * Fault objects and their files (04 §4): page requests of devices, gathered to groups, wait here for
 * user space to read them and to answer.
 */
import { hex, type UserVa } from '../abi/brands.ts'
import { IOMMU_FAULT_QUEUE_ALLOC } from '../abi/iommufd/events.ts'
import type { Attachment } from './attachment.ts'
import { command } from './command.ts'
import { EventFile, MAX_TRANSFER } from './event-file.ts'
import { publishWithFile } from './event-file-alloc.ts'
import { Fifo } from './fifo.ts'
import type { IommuDevice, PageFault } from './iommu-driver.ts'
import { type DestroyedBy, KernelObject } from './objects.ts'
import type { Call } from './ports.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'

/** `struct iommu_hwpt_pgfault` and `struct iommu_hwpt_page_response`. */
const MESSAGE = 40
const RESPONSE = 8

export const PAGE_RESP_SUCCESS = 0
export const PAGE_RESP_INVALID = 1

const FLAG_PASID_VALID = 1
const FLAG_LAST_PAGE = 2

export const FaultQueueFlagsUnknown = reasonKind<{ flags: number }>({
  code: 'fault-queue-flags-unknown',
  errno: 'EOPNOTSUPP',
  cite: '04 §4.1',
  say: ({ flags }) => `flags ${hex(flags)} must be 0`,
  advice: 'Set flags to 0.',
})

export const FaultReadLength = reasonKind<{ count: number }>({
  code: 'fault-read-length',
  errno: 'ESPIPE',
  cite: '04 §4.6 step 1',
  say: ({ count }) => `a read of ${count} bytes is not a whole number of 40-byte fault messages`,
  advice: 'Read multiples of sizeof(struct iommu_hwpt_pgfault).',
})

export const FaultGroupTooLarge = reasonKind<{ messages: number; room: number }>({
  code: 'fault-group-too-large',
  errno: 'EINVAL',
  cite: '04 §4.6 step 2',
  say: ({ messages, room }) =>
    `the next fault group has ${messages} message${messages === 1 ? '' : 's'} (${messages * MESSAGE} bytes) ` +
    `and the buffer has room for ${room} bytes; a group is delivered whole`,
  advice: 'Read with a larger buffer; until then this group blocks the queue.',
})

export const FaultBufferUnwritable = reasonKind<{ address: UserVa; length: number }>({
  code: 'fault-buffer-unwritable',
  errno: 'EFAULT',
  cite: '04 §4.6 step 2',
  say: ({ address, length }) =>
    `the ${length} bytes of the fault group cannot be written to ${hex(address)}`,
  advice:
    'Read into a buffer in writable memory; the fault group stays in the queue until it has been read.',
})

export const FaultWriteLength = reasonKind<{ count: number }>({
  code: 'fault-write-length',
  errno: 'ESPIPE',
  cite: '04 §4.7 step 1',
  say: ({ count }) => `a write of ${count} bytes is not a whole number of 8-byte responses`,
  advice: 'Write multiples of sizeof(struct iommu_hwpt_page_response).',
})

export const FaultResponseUnreadable = reasonKind<{ address: UserVa }>({
  code: 'fault-response-unreadable',
  errno: 'EFAULT',
  cite: '04 §4.7 step 2',
  say: ({ address }) => `the response at ${hex(address)} cannot be read`,
  advice: 'Write whole struct iommu_hwpt_page_response from readable memory.',
})

export const FaultResponseCode = reasonKind<{ responseCode: number; cookie: number }>({
  code: 'fault-response-code',
  errno: 'EINVAL',
  cite: '04 §4.7 step 2',
  say: ({ responseCode, cookie }) =>
    `response code ${responseCode} for cookie ${cookie} is neither IOMMUFD_PAGE_RESP_SUCCESS nor _INVALID`,
  advice: 'Answer 0 or 1; the cookie is still valid.',
})

export const FaultCookieUnknown = reasonKind<{
  cookie: number
  outstanding: readonly number[]
}>({
  code: 'fault-cookie-unknown',
  errno: 'EINVAL',
  cite: '04 §4.7 step 2',
  say: ({ cookie, outstanding }) =>
    `cookie ${cookie} awaits no answer (${
      outstanding.length === 0 ? 'none does' : `outstanding: ${outstanding.join(', ')}`
    }): it was never given out, is answered, or its device left the HWPT`,
  advice:
    'Answer each group once, with the cookie of any of its messages, before the device is detached.',
})

/** A complete page request group: its last fault is the last of the list. */
export interface FaultGroup {
  readonly device: IommuDevice
  readonly attachment: Attachment
  readonly faults: readonly PageFault[]
}

/** Answers a group to its device with pasid and grpid of its last fault. */
export const answer = (device: IommuDevice, fault: PageFault, code: number): void => {
  device.instance.driver.pageResponse?.(device, {
    ...(fault.pasid === undefined ? {} : { pasid: fault.pasid }),
    grpid: fault.grpid,
    code,
  })
}

export class FaultQueue extends KernelObject {
  readonly type = 'fault'
  readonly #unread = new Fifo<FaultGroup>()
  readonly #outstanding = new Map<number, FaultGroup>()
  /** No cookie below this is free. */
  #lowest = 1
  file: FaultQueueFile | undefined

  /** Groups that wait to be read, oldest first. */
  get unread(): Iterable<FaultGroup> {
    return this.#unread
  }

  /** Groups that were read and await an answer, by cookie. */
  get outstanding(): ReadonlyMap<number, FaultGroup> {
    return this.#outstanding
  }

  push(group: FaultGroup): void {
    this.#unread.push(group)
    this.file?.changed()
  }

  first(): FaultGroup | undefined {
    return this.#unread.first()
  }

  /** The cookie of the group read next: the lowest from 1 that nobody uses (04 §4.6). */
  nextCookie(): number {
    while (this.#outstanding.has(this.#lowest)) this.#lowest++
    return this.#lowest
  }

  /** The first unread group was copied out under `nextCookie()`. */
  delivered(): void {
    const group = this.#unread.shift()
    if (group !== undefined) this.#outstanding.set(this.nextCookie(), group)
  }

  /** User space answers: the cookie is free again. */
  respond(cookie: number, code: number): Result<void> {
    const group = this.#outstanding.get(cookie)
    if (group === undefined)
      return refuse(FaultCookieUnknown, { cookie, outstanding: [...this.#outstanding.keys()] })
    this.#forget(cookie)
    this.#answer(group, code, 'user')
  }

  #forget(cookie: number): void {
    this.#outstanding.delete(cookie)
    if (cookie < this.#lowest) this.#lowest = cookie
  }

  /**
   * Answers INVALID for everything of an attachment that ended: unread groups newest first, then those
   * read but not answered in ascending cookie order (04 §4.8).
   */
  cancel(attachment: Attachment): void {
    const mine = (group: FaultGroup) => group.attachment === attachment
    const unread = this.#unread.take(mine).reverse()
    const read = [...this.#outstanding].filter(([, group]) => mine(group))
    read.sort(([a], [b]) => a - b)
    for (const group of unread) this.#answer(group, PAGE_RESP_INVALID, 'cancelled')
    for (const [cookie, group] of read) {
      this.#forget(cookie)
      this.#answer(group, PAGE_RESP_INVALID, 'cancelled')
    }
    if (unread.length > 0) this.file?.changed()
  }

  #answer(group: FaultGroup, code: number, by: 'user' | 'cancelled'): void {
    const last = group.faults.at(-1)
    if (last === undefined) return
    answer(group.device, last, code)
    const { context } = this
    if (context.machine.observer !== undefined)
      context.emit({
        type: 'page-response',
        device: group.device.name,
        queue: this.id,
        pasid: last.pasid,
        grpid: last.grpid,
        code,
        by,
      })
  }

  override usedBy(): readonly string[] {
    return [...(this.file?.isOpen ? ['its open file'] : []), ...super.usedBy()]
  }

  /** Nothing is pending unless the teardown is abnormal; then it is answered INVALID (04 §4.8). */
  teardown(_by: DestroyedBy): void {
    for (const group of [...this.#unread, ...this.#outstanding.values()])
      this.#answer(group, PAGE_RESP_INVALID, 'cancelled')
    this.#unread.take(() => true)
    this.#outstanding.clear()
  }
}

export class FaultQueueFile extends EventFile {
  readonly kind = 'fault queue'
  readonly linkText = 'anon_inode:[iommufd-pgfault]'
  readonly #queue: FaultQueue

  constructor(queue: FaultQueue) {
    super(queue)
    this.#queue = queue
  }

  read(call: Call, buffer: UserVa, count: number): Result<number> {
    const room = Math.min(count, MAX_TRANSFER)
    if (room % MESSAGE !== 0) return refuse(FaultReadLength, { count })
    let done = 0
    for (;;) {
      const group = this.#queue.first()
      if (group === undefined) break
      const refusal = this.#deliver(call, buffer, group, done, room)
      if (refusal !== undefined) {
        if (done === 0) return refusal
        break
      }
      done += group.faults.length * MESSAGE
    }
    if (done > 0) this.changed()
    return done
  }

  #deliver(
    call: Call,
    buffer: UserVa,
    group: FaultGroup,
    done: number,
    room: number,
  ): Refusal | undefined {
    const size = group.faults.length * MESSAGE
    if (size > room - done)
      return refuse(FaultGroupTooLarge, { messages: group.faults.length, room: room - done })
    const cookie = this.#queue.nextCookie()
    const address = (buffer + BigInt(done)) as UserVa
    if (call.memory.write(address, encode(group, cookie)) < size)
      return refuse(FaultBufferUnwritable, { address, length: size })
    this.#queue.delivered()
  }

  write(call: Call, buffer: UserVa, count: number): Result<number> {
    const length = Math.min(count, MAX_TRANSFER)
    if (length % RESPONSE !== 0) return refuse(FaultWriteLength, { count })
    for (let done = 0; done < length; done += RESPONSE) {
      const refusal = this.#respond(call, (buffer + BigInt(done)) as UserVa)
      if (refusal instanceof Refusal) return done > 0 ? done : refusal
    }
    return length
  }

  #respond(call: Call, address: UserVa): Result<void> {
    const bytes = call.memory.read(address, RESPONSE)
    if (bytes.length < RESPONSE) return refuse(FaultResponseUnreadable, { address })
    const view = new DataView(bytes.buffer, bytes.byteOffset)
    const cookie = view.getUint32(0, true)
    const responseCode = view.getUint32(4, true)
    if (responseCode !== PAGE_RESP_SUCCESS && responseCode !== PAGE_RESP_INVALID)
      return refuse(FaultResponseCode, { responseCode, cookie })
    return this.#queue.respond(cookie, responseCode)
  }

  poll(): number {
    return this.#queue.first() === undefined ? WRITABLE : WRITABLE | READABLE
  }
}

/** POLLOUT | POLLWRNORM is what an always writable file shows; POLLIN | POLLRDNORM with a whole group. */
const WRITABLE = 0x004
const READABLE = 0x001 | 0x040

/** The messages of a group (04 §4.5); all carry the group's cookie. */
const encode = (group: FaultGroup, cookie: number): Uint8Array => {
  const bytes = new Uint8Array(group.faults.length * MESSAGE)
  const view = new DataView(bytes.buffer)
  group.faults.forEach((fault, index) => {
    const at = index * MESSAGE
    const flags =
      (fault.pasid === undefined ? 0 : FLAG_PASID_VALID) |
      (fault.last ? FLAG_LAST_PAGE : 0) |
      (fault.internalFlags ?? 0)
    view.setUint32(at, flags, true)
    view.setUint32(at + 4, group.attachment.maker.id, true)
    view.setUint32(at + 8, fault.pasid ?? 0, true)
    view.setUint32(at + 12, fault.grpid, true)
    view.setUint32(at + 16, fault.perm, true)
    view.setBigUint64(at + 24, fault.address, true)
    view.setUint32(at + 36, cookie, true)
  })
  return bytes
}

export const faultQueueAlloc = command(
  IOMMU_FAULT_QUEUE_ALLOC,
  ({ args, call, context, probe, respond }): Result<void> => {
    if (args.flags !== 0) return refuse(FaultQueueFlagsUnknown, { flags: args.flags })
    const id = context.objects.reserve(call)
    if (id instanceof Refusal) return id
    const queue = new FaultQueue(context, id)
    queue.file = new FaultQueueFile(queue)
    return publishWithFile(call, queue, queue.file, probe, (fd) =>
      respond({ out_fault_id: id, out_fault_fd: fd }),
    )
  },
)
