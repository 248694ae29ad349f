/**
 * DMA from a device worker: translates by walking the shared page table, finds the memory of each frame,
 * and moves the bytes itself. What it cannot do so, and every fault, is left to the supervisor, which does
 * the access in the engine's way and reports it.
 */
import { DeviceWord, RequestKind, TRANSFER_BYTES } from './device-worker-words.ts'
import { addressIn, type FramePlace } from './frame-place.ts'
import { PAGE_SIZE } from './kernel.ts'
import type { Block, Sys } from './sys.ts'
import type { WorkerFrames } from './worker-frames.ts'
import type { WorkerGate } from './worker-gate.ts'
import type { WorkerReports } from './worker-reports.ts'
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
/** For so many milliseconds a process that was seen alive counts as such. */
const ALIVE = 100
/** Questions about one piece before it is left to the supervisor. */
const MAX_LESSONS = 64

export class WorkerMemory {
  readonly #sys: Sys
  readonly #gate: WorkerGate
  readonly #frames: WorkerFrames
  readonly #requests: WorkerRequests
  readonly #reports: WorkerReports
  /** The table that DMA goes through now; undefined where there is no single one. */
  readonly #table: () => Walker | undefined
  readonly #staging: Block
  /** Buffers that were allocated here, and where they are. */
  readonly #addresses = new Map<ArrayBufferLike, number>()
  #walker: Walker | undefined
  #translation = -1
  /** What `#findRun` found: bytes of a memory, or the frame that nobody has told of yet. */
  readonly #run: { place: FramePlace | undefined; address: number; length: number; frame: number } =
    { place: undefined, address: 0, length: 0, frame: 0 }
  /** One buffer here, and one in a process. */
  readonly #vectors: Block
  readonly #seenAlive = { descriptor: -1, at: 0 }

  constructor(
    sys: Sys,
    gate: WorkerGate,
    frames: WorkerFrames,
    requests: WorkerRequests,
    reports: WorkerReports,
    table: () => Walker | undefined,
  ) {
    this.#sys = sys
    this.#gate = gate
    this.#frames = frames
    this.#requests = requests
    this.#reports = reports
    this.#table = table
    this.#staging = this.#block(STAGING)
    this.#vectors = sys.alloc(32)
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
        const { length: moved } = this.#run
        const within = position & (PAGE_SIZE - 1)
        this.#reports.moved(page + Math.floor(position / PAGE_SIZE), within, moved, write)
        done += moved
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
    this.#frames.look()
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
        run.place = place
        run.address = target + within
      } else if (place.descriptor !== run.place?.descriptor || target !== run.address + run.length)
        return 'found'
      if (write) walker.markDirty()
      const part = Math.min(position + length - at, PAGE_SIZE - within)
      run.length += part
      at += part
    }
    return 'found'
  }

  #currentWalker(): Walker | undefined {
    const { words } = this.#gate
    // Asking ends the step, so that it may have changed again when the answer is there.
    for (;;) {
      const translation = Atomics.load(words, DeviceWord.TRANSLATION)
      if (translation === this.#translation) return this.#walker
      this.#walker = this.#table()
      this.#translation = translation
    }
  }

  #moveRun(address: number, write: boolean): boolean {
    const { place, address: position, length } = this.#run
    if (place === undefined) return false
    if (place.process !== 0 && this.#isAlive(place.descriptor, position)) {
      const { view } = this.#vectors
      writeAddress(view, 0, address)
      writeAddress(view, 8, length)
      writeAddress(view, 16, position)
      writeAddress(view, 24, length)
      const at = this.#vectors.address
      const name = write ? 'process_vm_writev' : 'process_vm_readv'
      if (this.#sys.call(name, place.process, at, 1, at + 16, 1, 0) === length) return true
    }
    const name = write ? 'pwrite64' : 'pread64'
    return this.#sys.call(name, place.descriptor, address, length, position) === length
  }

  /** A process ID may come to mean another process, but not within a moment. */
  #isAlive(descriptor: number, position: number): boolean {
    const now = performance.now()
    if (this.#seenAlive.descriptor === descriptor && now - this.#seenAlive.at < ALIVE) return true
    const { address } = this.#sys.scratch
    if (this.#sys.call('pread64', descriptor, address, 1, position) !== 1) return false
    this.#seenAlive.descriptor = descriptor
    this.#seenAlive.at = now
    return true
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

/** Below 2^53. */
const writeAddress = (view: DataView, at: number, value: number): void => {
  view.setUint32(at, value % 2 ** 32, true)
  view.setUint32(at + 4, Math.floor(value / 2 ** 32), true)
}
