/** Submission and completion queues (06 §14.4): rings in the client's memory, and their doorbells. */
import { COMMAND_BYTES } from './command.ts'
import type { DeviceMemory, DmaPiece } from './device-memory.ts'
import { completionDoorbell, type RegisterMemory, submissionDoorbell } from './registers.ts'

export const COMPLETION_BYTES = 16
const PHASE_BYTE = 14
const PHASE_BIT = 1

/** What came of looking at a doorbell. */
export type DoorbellNews = 'none' | 'moved' | 'invalid'

interface Ring {
  readonly id: number
  /** IOVA of entry 0, in pages. */
  readonly page: number
  readonly entries: number
}

/** The register that a client stores its index into. Several stores between two looks collapse to the last. */
class Doorbell {
  readonly #offset: number
  /** What was seen last, valid or not: the same value is no news. */
  #seen = 0

  /** A value that a queue of the same number has left is no store to this one. */
  constructor(registers: RegisterMemory, offset: number) {
    this.#offset = offset
    registers.store(offset, 0)
  }

  /** The new index, or undefined. */
  look(registers: RegisterMemory): number | undefined {
    const value = registers.load(this.#offset)
    if (value === this.#seen) return undefined
    this.#seen = value
    return value & 0xffff
  }
}

const piecesOf = (
  { page, entries }: Ring,
  entryBytes: number,
  first: number,
  count: number,
): readonly DmaPiece[] => {
  const piece = (from: number, n: number): DmaPiece => {
    const byte = from * entryBytes
    return { page: page + (byte >>> 12), offset: byte & 0xfff, length: n * entryBytes }
  }
  const untilEnd = Math.min(count, entries - first)
  return untilEnd === count
    ? [piece(first, count)]
    : [piece(first, untilEnd), piece(0, count - untilEnd)]
}

export class SubmissionQueue implements Ring {
  readonly id: number
  readonly page: number
  readonly entries: number
  readonly completions: CompletionQueue
  /** The next entry to fetch. */
  head = 0
  #tail = 0
  readonly #doorbell: Doorbell

  constructor(registers: RegisterMemory, ring: Ring, completions: CompletionQueue) {
    this.id = ring.id
    this.page = ring.page
    this.entries = ring.entries
    this.completions = completions
    this.#doorbell = new Doorbell(registers, submissionDoorbell(ring.id))
  }

  look(registers: RegisterMemory): DoorbellNews {
    const tail = this.#doorbell.look(registers)
    if (tail === undefined) return 'none'
    if (tail >= this.entries) return 'invalid'
    this.#tail = tail
    return 'moved'
  }

  get waiting(): number {
    return (this.#tail - this.head + this.entries) % this.entries
  }

  /** Reads the next `count` entries, without taking them. False: the memory does not answer. */
  fetch(memory: DeviceMemory, count: number, into: Uint8Array): boolean {
    const bytes = into.subarray(0, count * COMMAND_BYTES)
    return memory.read(piecesOf(this, COMMAND_BYTES, this.head, count), bytes)
  }

  take(): void {
    this.head = (this.head + 1) % this.entries
  }
}

export interface Completion {
  /** DW0. */
  readonly result: number
  readonly queue: SubmissionQueue
  /** Of the submission queue, when the command had been fetched or later. */
  readonly head: number
  readonly commandId: number
  readonly status: number
}

export class CompletionQueue implements Ring {
  readonly id: number
  readonly page: number
  readonly entries: number
  /** Undefined: without interrupts. */
  readonly vector: number | undefined
  /** Submission queues that complete here. */
  users = 0
  readonly #held: Completion[] = []
  #head = 0
  #tail = 0
  #phase = 1
  readonly #doorbell: Doorbell

  constructor(registers: RegisterMemory, ring: Ring, vector: number | undefined) {
    this.id = ring.id
    this.page = ring.page
    this.entries = ring.entries
    this.vector = vector
    this.#doorbell = new Doorbell(registers, completionDoorbell(ring.id))
  }

  look(registers: RegisterMemory): DoorbellNews {
    const head = this.#doorbell.look(registers)
    if (head === undefined) return 'none'
    if (head >= this.entries) return 'invalid'
    this.#head = head
    return 'moved'
  }

  /** The client has not consumed all. */
  get hasUnread(): boolean {
    return this.#head !== this.#tail
  }

  get held(): number {
    return this.#held.length
  }

  /** Completions that can still be added and posted before the queue is full. */
  get room(): number {
    return Math.max(0, this.#free() - this.#held.length)
  }

  #free(): number {
    return (this.#head - this.#tail - 1 + 2 * this.entries) % this.entries
  }

  add(completion: Completion): void {
    this.#held.push(completion)
  }

  /** Makes what was added visible, as far as there is room. False: the memory does not answer. */
  post(memory: DeviceMemory): 'nothing' | 'posted' | 'failed' {
    let result: 'nothing' | 'posted' = 'nothing'
    for (;;) {
      const count = Math.min(this.#held.length, this.#free(), this.entries - this.#tail)
      if (count === 0) return result
      if (!this.#write(memory, this.#held.slice(0, count))) return 'failed'
      this.#held.splice(0, count)
      this.#tail = (this.#tail + count) % this.entries
      if (this.#tail === 0) this.#phase ^= PHASE_BIT
      result = 'posted'
    }
  }

  /**
   * The bodies first, with the phase that says "old", then the same bytes from the first phase byte to the
   * last with the new one: an entry that looks new is whole (06 §12.2 rule 3).
   */
  #write(memory: DeviceMemory, completions: readonly Completion[]): boolean {
    const count = completions.length
    const bytes = new Uint8Array(count * COMPLETION_BYTES)
    const view = new DataView(bytes.buffer)
    let at = 0
    for (const { result, head, queue, commandId, status } of completions) {
      view.setUint32(at, result, true)
      view.setUint16(at + 8, head, true)
      view.setUint16(at + 10, queue.id, true)
      view.setUint16(at + 12, commandId, true)
      view.setUint16(at + PHASE_BYTE, (status << 1) | (this.#phase ^ PHASE_BIT), true)
      at += COMPLETION_BYTES
    }
    const pieces = piecesOf(this, COMPLETION_BYTES, this.#tail, count)
    if (!memory.write(pieces, bytes)) return false
    for (let phase = PHASE_BYTE; phase < bytes.length; phase += COMPLETION_BYTES)
      bytes[phase] = (bytes[phase] ?? 0) ^ PHASE_BIT
    const [piece] = pieces
    if (piece === undefined) return true
    const length = bytes.length - COMPLETION_BYTES + 1
    const phases = { page: piece.page, offset: piece.offset + PHASE_BYTE, length }
    return memory.write([phases], bytes.subarray(PHASE_BYTE, PHASE_BYTE + length))
  }
}
