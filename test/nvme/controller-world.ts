/** An NVMe controller with a driver, in-process: memory by pages that are mapped or not, an image in memory. */
import { Controller, type Interrupter } from '../../src/devices/nvme/controller.ts'
import type { DeviceMemory, DmaPiece } from '../../src/devices/nvme/device-memory.ts'
import { diskIdentity } from '../../src/devices/nvme/identify.ts'
import type { Image, ImageFailure } from '../../src/devices/nvme/image.ts'
import {
  BAR_LENGTH,
  Register,
  type RegisterMemory,
  resetRegisters,
} from '../../src/devices/nvme/registers.ts'

const PAGE = 4096

interface TestPage {
  readonly bytes: Uint8Array
  readonly writable: boolean
}

/** What a device reaches by DMA: pages that the test maps. */
export class TestMemory implements DeviceMemory {
  busMaster = true
  readonly #pages = new Map<number, TestPage>()
  /** Every write, in order: where, and what. */
  readonly writes: { address: number; bytes: Uint8Array }[] = []

  map(address: number, length = PAGE, writable = true): void {
    for (let at = address; at < address + length; at += PAGE)
      this.#pages.set(at / PAGE, { bytes: new Uint8Array(PAGE), writable })
  }

  unmap(address: number): void {
    this.#pages.delete(address / PAGE)
  }

  /** A view of bytes that do not cross a page. */
  view(address: number, length = PAGE - (address % PAGE)): DataView {
    const page = this.#pages.get(Math.floor(address / PAGE))
    if (page === undefined) throw new Error(`nothing is mapped at 0x${address.toString(16)}`)
    return new DataView(page.bytes.buffer, address % PAGE, length)
  }

  bytes(address: number, length: number): Uint8Array {
    return Uint8Array.from({ length }, (_, i) => this.view(address + i, 1).getUint8(0))
  }

  read(pieces: readonly DmaPiece[], into: Uint8Array): boolean {
    return this.#each(pieces, (page, offset, from, to) => {
      into.set(page.bytes.subarray(offset, offset + to - from), from)
      return true
    })
  }

  write(pieces: readonly DmaPiece[], bytes: Uint8Array): boolean {
    let done = 0
    for (const { page, offset, length } of pieces) {
      this.writes.push({ address: page * PAGE + offset, bytes: bytes.slice(done, done + length) })
      done += length
    }
    return this.#each(pieces, (page, offset, from, to) => {
      if (page.writable) page.bytes.set(bytes.subarray(from, to), offset)
      return page.writable
    })
  }

  #each(
    pieces: readonly DmaPiece[],
    move: (page: TestPage, offset: number, from: number, to: number) => boolean,
  ): boolean {
    let done = 0
    for (const { page, offset, length } of pieces)
      for (let at = offset; at < offset + length; ) {
        const here = this.#pages.get(page + Math.floor(at / PAGE))
        const part = Math.min(offset + length - at, PAGE - (at % PAGE))
        if (!this.busMaster || here === undefined) return false
        if (!move(here, at % PAGE, done, done + part)) return false
        at += part
        done += part
      }
    return true
  }
}

export class TestImage implements Image {
  readonly bytes: Uint8Array
  readonly blocks: number
  readOnly = false
  flushes = 0
  /** What the next operations come to. */
  failure: ImageFailure | undefined

  constructor(blocks: number) {
    this.blocks = blocks
    this.bytes = new Uint8Array(blocks * 512)
  }

  read(position: number, into: Uint8Array): ImageFailure | undefined {
    into.set(this.bytes.subarray(position, position + into.length))
    return this.failure
  }
  write(position: number, bytes: Uint8Array): ImageFailure | undefined {
    if (this.failure === undefined) this.bytes.set(bytes, position)
    return this.failure
  }
  zero(position: number, length: number): ImageFailure | undefined {
    if (this.failure === undefined) this.bytes.fill(0, position, position + length)
    return this.failure
  }
  flush(): ImageFailure | undefined {
    this.flushes += 1
    return this.failure
  }
}

export class TestInterrupts implements Interrupter {
  kind: Interrupter['kind'] = 'none'
  readonly messages: number[] = []
  asserted = false

  message(vector: number): void {
    this.messages.push(vector)
  }
  line(asserted: boolean): void {
    this.asserted = asserted
  }
}

export interface TestCommand {
  readonly opcode: number
  readonly id?: number
  readonly flags?: number
  readonly nsid?: number
  readonly prp1?: number
  readonly prp2?: number
  readonly dwords?: readonly number[]
}

/** A completion as the driver finds it: four dwords. */
export type Dwords = readonly [number, number, number, number]

/** Status field of DW3, without the phase. */
export const statusOf = ([, , , dw3]: Dwords): number => dw3 >>> 17

class DriverQueue {
  tail = 0
  head = 0
  phase = 1
  readonly id: number
  readonly submission: number
  readonly completion: number
  readonly entries: number

  constructor(id: number, submission: number, completion: number, entries: number) {
    this.id = id
    this.submission = submission
    this.completion = completion
    this.entries = entries
  }
}

/** Where the driver has its things. */
export const ADMIN_SQ = 0x10000
export const ADMIN_CQ = 0x11000
export const BUFFER = 0x12000
export const IO_SQ = 0x20000
export const IO_CQ = 0x21000

export class ControllerWorld {
  readonly memory = new TestMemory()
  readonly image: TestImage
  readonly interrupts = new TestInterrupts()
  readonly words = new Uint32Array(BAR_LENGTH / 4)
  readonly controller: Controller
  readonly admin = new DriverQueue(0, ADMIN_SQ, ADMIN_CQ, 32)
  readonly io = new DriverQueue(1, IO_SQ, IO_CQ, 32)

  constructor(blocks = 2048) {
    this.image = new TestImage(blocks)
    const registers: RegisterMemory = {
      load: (offset) => this.register(offset),
      store: (offset, value) => {
        this.words[offset / 4] = value
      },
    }
    resetRegisters(registers)
    for (const address of [ADMIN_SQ, ADMIN_CQ, IO_SQ, IO_CQ]) this.memory.map(address)
    this.memory.map(BUFFER, 8 * PAGE)
    this.controller = new Controller({
      registers,
      memory: this.memory,
      interrupts: this.interrupts,
      image: this.image,
      identity: diskIdentity('/tmp/disk.img'),
    })
  }

  register(offset: number): number {
    return this.words[offset / 4] ?? 0
  }

  /** A store of the client through its mapping: nobody is told. */
  store(offset: number, value: number): void {
    this.words[offset / 4] = value
  }

  /** Lets the controller work until it finds nothing to do. */
  run(): void {
    for (let turns = 0; this.controller.turn(); turns++)
      if (turns > 10_000) throw new Error('the controller finds something to do forever')
  }

  get status(): number {
    return this.register(Register.CSTS)
  }

  /** As in E27: admin queues of 32 entries. */
  enable(configuration = 0x0046_0001): void {
    this.store(Register.AQA, 0x001f_001f)
    this.store(Register.ASQ, ADMIN_SQ)
    this.store(Register.ACQ, ADMIN_CQ)
    this.store(Register.CC, configuration & ~1)
    this.store(Register.CC, configuration)
    Object.assign(this.admin, { tail: 0, head: 0, phase: 1 })
    this.memory.map(ADMIN_CQ)
    this.run()
  }

  put(queue: DriverQueue, command: TestCommand): void {
    const view = this.memory.view(queue.submission + 64 * queue.tail, 64)
    for (let at = 0; at < 64; at += 4) view.setUint32(at, 0, true)
    view.setUint8(0, command.opcode)
    view.setUint8(1, command.flags ?? 0)
    view.setUint16(2, command.id ?? 0, true)
    view.setUint32(4, command.nsid ?? 0, true)
    view.setBigUint64(24, BigInt(command.prp1 ?? 0), true)
    view.setBigUint64(32, BigInt(command.prp2 ?? 0), true)
    for (const [i, dword] of (command.dwords ?? []).entries())
      view.setUint32(40 + 4 * i, dword >>> 0, true)
    queue.tail = (queue.tail + 1) % queue.entries
  }

  ring(queue: DriverQueue): void {
    this.store(0x1000 + 8 * queue.id, queue.tail)
  }

  /** The completions that are new, without telling the controller that they were seen. */
  reap(queue: DriverQueue): Dwords[] {
    const found: Dwords[] = []
    for (;;) {
      const view = this.memory.view(queue.completion + 16 * queue.head, 16)
      const word = (at: number): number => view.getUint32(at, true)
      if (((word(12) >>> 16) & 1) !== queue.phase) return found
      found.push([word(0), word(4), word(8), word(12)])
      queue.head = (queue.head + 1) % queue.entries
      if (queue.head === 0) queue.phase ^= 1
    }
  }

  consume(queue: DriverQueue): void {
    this.store(0x1004 + 8 * queue.id, queue.head)
  }

  /** One command and its completion; throws if it does not complete. */
  do(queue: DriverQueue, command: TestCommand): Dwords {
    this.put(queue, command)
    this.ring(queue)
    this.run()
    const [completion, ...more] = this.reap(queue)
    this.consume(queue)
    if (completion === undefined || more.length > 0)
      throw new Error(`${more.length + (completion ? 1 : 0)} completions instead of one`)
    return completion
  }

  /** The status of an admin command. */
  adminStatus(command: TestCommand): number {
    return statusOf(this.do(this.admin, command))
  }

  ioStatus(command: TestCommand): number {
    return statusOf(this.do(this.io, { nsid: 1, ...command }))
  }

  createQueues({ vector = 0, entries = 32, interrupts = true } = {}): void {
    Object.assign(this.io, { tail: 0, head: 0, phase: 1, entries })
    this.memory.map(IO_CQ)
    const size = ((entries - 1) << 16) | 1
    const flags = 1 | (interrupts ? 2 : 0) | (vector << 16)
    const completion = this.adminStatus({ opcode: 5, prp1: IO_CQ, dwords: [size, flags] })
    const submission = this.adminStatus({ opcode: 1, prp1: IO_SQ, dwords: [size, 0x0001_0001] })
    if (completion !== 0 || submission !== 0)
      throw new Error(
        `creating queues failed: 0x${completion.toString(16)}, 0x${submission.toString(16)}`,
      )
  }
}
