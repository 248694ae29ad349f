/**
 * The controller: what it does about its registers and queues (06 §14.3, §14.4). It is worked in turns,
 * each bounded; whoever owns the thread decides when the next one is (06 §12: a store of a client to a
 * mapped register cannot trap).
 */
import { type AdminAnswer, type AdminResources, adminCommand } from './admin-commands.ts'
import { AsyncEvents } from './async-events.ts'
import { COMMAND_BYTES, Command } from './command.ts'
import { CompletionStatus } from './completion-status.ts'
import type { DeviceMemory } from './device-memory.ts'
import { Features } from './features.ts'
import { type DiskIdentity, MAX_TRANSFER } from './identify.ts'
import type { Image } from './image.ts'
import { type IoResources, ioCommand } from './io-commands.ts'
import { Statistics } from './log-pages.ts'
import { QueueSet } from './queue-set.ts'
import { CompletionQueue, SubmissionQueue } from './queues.ts'
import {
  adminCompletionEntries,
  adminSubmissionEntries,
  Configuration,
  publish,
  publishConstants,
  Register,
  type RegisterMemory,
  Status,
} from './registers.ts'

export interface Interrupter {
  readonly kind: 'none' | 'intx' | 'msi' | 'msix'
  message(vector: number): void
  line(asserted: boolean): void
}

export interface ControllerParts {
  readonly registers: RegisterMemory
  readonly memory: DeviceMemory
  readonly interrupts: Interrupter
  readonly image: Image
  readonly identity: DiskIdentity
  /** Buffers that `memory` reads into and writes from; ordinary ones if absent. */
  allocate?(bytes: number): Uint8Array
}

/** Commands fetched at once, and completions posted at once: a client goes on while the rest is done. */
const BATCH = 8
const ADMIN = 0

export class Controller {
  readonly #parts: ControllerParts
  readonly #statistics = new Statistics()
  readonly #buffer: Uint8Array
  readonly #entries: Uint8Array
  readonly #commands: readonly Command[]
  readonly #io: IoResources
  #queues = new QueueSet()
  #features = new Features()
  #events = new AsyncEvents()
  #configuration = 0
  #status = 0
  #interruptMask = 0
  #line = false

  /** The registers must hold their reset values. */
  constructor(parts: ControllerParts) {
    this.#parts = parts
    const allocate = (bytes: number): Uint8Array => parts.allocate?.(bytes) ?? new Uint8Array(bytes)
    this.#buffer = allocate(MAX_TRANSFER)
    this.#entries = allocate(BATCH * COMMAND_BYTES)
    const features = (): Features => this.#features
    this.#io = {
      memory: parts.memory,
      image: parts.image,
      statistics: this.#statistics,
      buffer: this.#buffer,
      get writeCacheEnabled() {
        return features().writeCacheEnabled
      },
    }
    this.#commands = Array.from(
      { length: BATCH },
      (_, i) => new Command(this.#entries.subarray(i * COMMAND_BYTES)),
    )
  }

  /** Everything is as after a reset of the function; the registers have been put to their values already. */
  reset(): void {
    this.#clear()
    this.#configuration = 0
    this.#status = 0
    this.#interruptMask = 0
    this.#setLine(false)
  }

  get isEnabled(): boolean {
    return Configuration.enable(this.#configuration)
  }

  get #isRunning(): boolean {
    return this.#status === Status.READY
  }

  /** Looks at all registers once, and works at most a batch for each queue. True: there was something to do. */
  turn(): boolean {
    this.#publish()
    const configured = this.#lookAtConfiguration()
    this.#lookAtInterruptMask()
    const worked = this.#isRunning && this.#parts.memory.busMaster && this.#lookAtQueues()
    this.#updateLine()
    return worked || configured
  }

  // --- registers ------------------------------------------------------------------------------------

  #publish(): void {
    const { registers } = this.#parts
    publishConstants(registers)
    publish(registers, Register.CSTS, this.#status)
  }

  #setStatus(status: number): void {
    this.#status = status
    this.#parts.registers.store(Register.CSTS, status)
  }

  #fail(): void {
    this.#setStatus(this.#status | Status.FATAL)
  }

  #lookAtConfiguration(): boolean {
    const value = this.#parts.registers.load(Register.CC)
    const previous = this.#configuration
    if (value === previous) return false
    this.#configuration = value
    const { enable, shutdown } = Configuration
    if (enable(previous) && !enable(value)) {
      this.#clear()
      this.#setStatus(0)
      return true
    }
    if (!enable(previous) && enable(value)) this.#enable(value)
    if (shutdown(value) !== 0 && shutdown(previous) === 0) this.#shutDown()
    return true
  }

  /** AQA, ASQ and ACQ count as they are now. */
  #enable(configuration: number): void {
    const { registers } = this.#parts
    const aqa = registers.load(Register.AQA)
    const submission = adminSubmissionEntries(aqa)
    const completion = adminCompletionEntries(aqa)
    const { commandSet, pageSize, arbitration } = Configuration
    const impossible =
      commandSet(configuration) !== 0 ||
      pageSize(configuration) !== 0 ||
      arbitration(configuration) !== 0 ||
      submission < 2 ||
      completion < 2
    if (impossible) {
      this.#setStatus(Status.FATAL)
      return
    }
    this.#clear()
    const completions = new CompletionQueue(
      registers,
      { id: ADMIN, page: this.#pageIn(Register.ACQ), entries: completion },
      ADMIN,
    )
    this.#queues.addCompletion(completions)
    const ring = { id: ADMIN, page: this.#pageIn(Register.ASQ), entries: submission }
    this.#queues.addSubmission(new SubmissionQueue(registers, ring, completions))
    this.#setStatus(Status.READY)
  }

  #pageIn(register: number): number {
    const { registers } = this.#parts
    return registers.load(register + 4) * 2 ** 20 + (registers.load(register) >>> 12)
  }

  #shutDown(): void {
    if (this.isEnabled) this.#parts.image.flush()
    this.#setStatus(this.#status | Status.SHUTDOWN_COMPLETE)
  }

  #clear(): void {
    this.#queues = new QueueSet()
    this.#features = new Features()
    this.#events = new AsyncEvents()
  }

  /**
   * INTMS sets bits of the mask and reads as it. INTMC clears bits; it rests at 0, since a store of what
   * stands there already would go unseen.
   */
  #lookAtInterruptMask(): void {
    const { registers } = this.#parts
    const set = registers.load(Register.INTMS)
    const clear = registers.load(Register.INTMC)
    const mask = ((this.#interruptMask | set) & ~clear) >>> 0
    if (mask === this.#interruptMask && set === mask && clear === 0) return
    this.#interruptMask = mask
    registers.store(Register.INTMS, mask)
    registers.store(Register.INTMC, 0)
  }

  // --- queues ---------------------------------------------------------------------------------------

  #lookAtQueues(): boolean {
    let worked = false
    for (const queue of this.#queues.completion.values())
      worked = this.#noteDoorbell(queue) || worked
    // None starves, the admin queue neither (06 §14.4 rule 2).
    for (let left = this.#queues.submission.size; left > 0; left--) {
      const queue = this.#queues.next()
      if (queue === undefined) break
      worked = this.#noteDoorbell(queue) || worked
      if (queue.waiting > 0) worked = this.#work(queue) || worked
      if (!this.#isRunning) return true
    }
    this.#answerEvents()
    for (const queue of this.#queues.completion.values())
      if (queue.held > 0) worked = this.#post(queue) || worked
    return worked
  }

  #noteDoorbell(queue: SubmissionQueue | CompletionQueue): boolean {
    const news = queue.look(this.#parts.registers)
    if (news === 'invalid') this.#events.invalidDoorbellValue()
    return news !== 'none'
  }

  /** A batch of one queue. What cannot be completed for want of room is not fetched yet. */
  #work(queue: SubmissionQueue): boolean {
    const count = Math.min(BATCH, queue.waiting, queue.completions.room)
    if (count === 0) return false
    if (!queue.fetch(this.#parts.memory, count, this.#entries)) return this.#lost()
    for (let i = 0; i < count; i++) {
      const command = this.#commands[i]
      if (command === undefined) break
      queue.take()
      this.#execute(queue, command)
    }
    this.#post(queue.completions)
    return true
  }

  #execute(queue: SubmissionQueue, command: Command): void {
    if (queue.id !== ADMIN) {
      this.#complete(queue, command.id, { status: ioCommand(this.#io, command), result: 0 })
      return
    }
    const answer = this.#admin(command)
    if (answer !== undefined) this.#complete(queue, command.id, answer)
  }

  #complete(queue: SubmissionQueue, commandId: number, answer: AdminAnswer): void {
    const { result, status } = answer
    queue.completions.add({ result, status, queue, head: queue.head, commandId })
  }

  #admin(command: Command): AdminAnswer | undefined {
    const resources: AdminResources = {
      ...this.#parts,
      queues: this.#queues,
      features: this.#features,
      events: this.#events,
      statistics: this.#statistics,
      configuration: this.#configuration,
      manyVectors: this.#parts.interrupts.kind === 'msix' || this.#parts.interrupts.kind === 'none',
      completeAborted: (commandId) =>
        this.#completeEvent(commandId, { status: CompletionStatus.ABORT_REQUESTED, result: 0 }),
    }
    return adminCommand(resources, command)
  }

  #answerEvents(): void {
    for (let answer = this.#events.take(); answer !== undefined; answer = this.#events.take())
      this.#completeEvent(answer.commandId, {
        status: CompletionStatus.SUCCESS,
        result: answer.result,
      })
  }

  #completeEvent(commandId: number, answer: AdminAnswer): void {
    const queue = this.#queues.submission.get(ADMIN)
    if (queue !== undefined) this.#complete(queue, commandId, answer)
  }

  /** The interrupt comes after the last completion that it speaks of. */
  #post(queue: CompletionQueue): boolean {
    const posted = queue.post(this.#parts.memory)
    if (posted === 'failed') return this.#lost()
    if (posted === 'posted' && queue.vector !== undefined && this.#sendsMessages)
      this.#parts.interrupts.message(queue.vector)
    return posted === 'posted'
  }

  /** The memory of a queue does not answer: the controller stops, unless bus mastering was turned off. */
  #lost(): boolean {
    if (this.#parts.memory.busMaster) this.#fail()
    return false
  }

  // --- interrupts -----------------------------------------------------------------------------------

  get #sendsMessages(): boolean {
    const { kind } = this.#parts.interrupts
    return kind === 'msi' || kind === 'msix'
  }

  /** INTx is asserted while completions of vector 0 wait to be consumed (06 §14.12). */
  #updateLine(): void {
    let asserted = false
    if (!this.#sendsMessages && (this.#interruptMask & 1) === 0)
      for (const { vector, hasUnread } of this.#queues.completion.values())
        if (vector === 0 && hasUnread) asserted = true
    this.#setLine(asserted)
  }

  #setLine(asserted: boolean): void {
    if (asserted === this.#line) return
    this.#line = asserted
    this.#parts.interrupts.line(asserted)
  }
}
