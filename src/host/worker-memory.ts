/**
 * DMA from a device worker: translates by walking the shared page table, finds the memory of each frame,
 * and moves the bytes itself. What it cannot do so, and every fault, is left to the supervisor, which does
 * the access in the engine's way and reports it.
 */
import { DeviceWord, RequestKind, TRANSFER_BYTES } from './device-worker-words.ts'
import { PAGE_SIZE } from './kernel.ts'
import type { Block, Sys } from './sys.ts'
import { addressIn, type WorkerFrames } from './worker-frames.ts'
import type { WorkerGate } from './worker-gate.ts'
import type { WorkerRequests } from './worker-requests.ts'

/** Walks a table of 4 KiB pages; what was found stands in the fields. */
export interface Walker {
  walk(page: number, write: boolean): boolean
  readonly frame: number
  /** The page just found is written. */
  markDirty(): void
}

/** `length` bytes from byte `offset` of IOVA page `page` on. */
export interface MemoryPiece {
  readonly page: number
  readonly offset: number
  readonly length: number
}

/** Bytes that wait in a block of their own, for callers whose memory has no fixed address. */
const STAGING = 0x10000
/** Questions about one piece before it is left to the supervisor. */
const MAX_LESSONS = 64

export class WorkerMemory {
  readonly #sys: Sys
  readonly #gate: WorkerGate
  readonly #frames: WorkerFrames
  readonly #requests: WorkerRequests
  /** The table that DMA goes through now; undefined where there is no single one. */
  readonly #table: () => Walker | undefined
  readonly #staging: Block
  /** Buffers that were allocated here, and where they are. */
  readonly #addresses = new Map<ArrayBufferLike, number>()
  #walker: Walker | undefined
  #translation = -1
  /** What `#findRun` found: bytes of a memory, or the frame that nobody has told of yet. */
  readonly #run = { descriptor: -1, address: 0, length: 0, frame: 0 }

  constructor(
    sys: Sys,
    gate: WorkerGate,
    frames: WorkerFrames,
    requests: WorkerRequests,
    table: () => Walker | undefined,
  ) {
    this.#sys = sys
    this.#gate = gate
    this.#frames = frames
    this.#requests = requests
    this.#table = table
    this.#staging = this.#block(STAGING)
  }

  /** A buffer that DMA goes to and from directly. */
  allocate(bytes: number): Uint8Array {
    return this.#block(bytes).bytes
  }

  #block(bytes: number): Block {
    const block = this.#sys.alloc(bytes)
    this.#addresses.set(block.bytes.buffer, block.address - block.bytes.byteOffset)
    return block
  }

  get busMaster(): boolean {
    return Atomics.load(this.#gate.words, DeviceWord.BUS_MASTER) === 1
  }

  read(pieces: readonly MemoryPiece[], into: Uint8Array): boolean {
    return this.#transfer(pieces, into, false)
  }

  write(pieces: readonly MemoryPiece[], bytes: Uint8Array): boolean {
    return this.#transfer(pieces, bytes, true)
  }

  #transfer(pieces: readonly MemoryPiece[], bytes: Uint8Array, write: boolean): boolean {
    const base = this.#addresses.get(bytes.buffer)
    if (base === undefined) return this.#staged(pieces, bytes, write)
    let address = base + bytes.byteOffset
    for (const piece of pieces) {
      // One piece is the longest that a call which takes memory away may have to wait for.
      this.#gate.breathe()
      if (!this.busMaster || !this.#move(piece, address, write)) return false
      address += piece.length
    }
    return true
  }

  #staged(pieces: readonly MemoryPiece[], bytes: Uint8Array, write: boolean): boolean {
    const staging = this.#staging.bytes
    let done = 0
    for (const { page, offset, length } of pieces)
      for (let at = 0; at < length; at += STAGING) {
        const size = Math.min(STAGING, length - at)
        const part = staging.subarray(0, size)
        if (write) part.set(bytes.subarray(done, done + size))
        if (!this.#transfer([{ page, offset: offset + at, length: size }], part, write))
          return false
        if (!write) bytes.set(part, done)
        done += size
      }
    return true
  }

  #move({ page, offset, length }: MemoryPiece, address: number, write: boolean): boolean {
    let lessons = 0
    for (let done = 0; done < length; ) {
      const position = offset + done
      const found = this.#findRun(page, position, length - done, write)
      if (found === 'unknown' && lessons++ < MAX_LESSONS && this.#frames.learn(this.#run.frame))
        continue
      if (found === 'found' && this.#moveRun(address + done, write)) {
        done += this.#run.length
        continue
      }
      const part =
        found === 'no-table'
          ? Math.min(length - done, TRANSFER_BYTES)
          : Math.min(length - done, PAGE_SIZE - (position & (PAGE_SIZE - 1)))
      if (!this.#bySupervisor(page, position, address + done, part, write)) return false
      done += part
    }
    return true
  }

  /** The longest run of bytes from `position` on that are neighbours in one memory; it is left in `#run`. */
  #findRun(
    page: number,
    position: number,
    length: number,
    write: boolean,
  ): 'found' | 'unknown' | 'fault' | 'no-table' {
    const walker = this.#currentWalker()
    if (walker === undefined) return 'no-table'
    const run = this.#run
    run.length = 0
    for (let at = position; at < position + length; ) {
      const within = at & (PAGE_SIZE - 1)
      if (!walker.walk(page + Math.floor(at / PAGE_SIZE), write))
        return run.length > 0 ? 'found' : 'fault'
      const place = this.#frames.known(walker.frame)
      const target = place && addressIn(place, walker.frame)
      if (place === undefined || target === undefined) {
        run.frame = walker.frame
        return run.length > 0 ? 'found' : 'unknown'
      }
      if (run.length === 0) {
        run.descriptor = place.descriptor
        run.address = target + within
      } else if (place.descriptor !== run.descriptor || target !== run.address + run.length)
        return 'found'
      if (write) walker.markDirty()
      const part = Math.min(position + length - at, PAGE_SIZE - within)
      run.length += part
      at += part
    }
    return 'found'
  }

  #currentWalker(): Walker | undefined {
    const translation = Atomics.load(this.#gate.words, DeviceWord.TRANSLATION)
    if (translation !== this.#translation) {
      this.#walker = this.#table()
      // If it has changed again since, the next step asks again.
      this.#translation = translation
    }
    return this.#walker
  }

  #moveRun(address: number, write: boolean): boolean {
    const { descriptor, address: position, length } = this.#run
    const name = write ? 'pwrite64' : 'pread64'
    return this.#sys.call(name, descriptor, address, length, position) === length
  }

  #bySupervisor(
    page: number,
    position: number,
    address: number,
    length: number,
    write: boolean,
  ): boolean {
    const bytes = this.#sys.at(address, length)
    const { data } = this.#requests
    const at = page + Math.floor(position / PAGE_SIZE)
    const offset = position & (PAGE_SIZE - 1)
    if (write) data.set(bytes)
    const answer = this.#requests.ask(RequestKind.TRANSFER, at, offset, length, write ? 1 : 0)
    if (answer[0] !== 1) return false
    if (!write) bytes.set(data.subarray(0, length))
    return true
  }
}
