/** A program with an edu device, on simulated time, in-process. */
import {
  byteLength,
  type Fd,
  fileOffset,
  type Iova,
  iova,
  userVa,
} from '../../../src/abi/brands.ts'
import { encode, type Fields, type Struct } from '../../../src/abi/layout.ts'
import type { Context } from '../../../src/engine/context.ts'
import type { OpenFile, SharedRegion } from '../../../src/engine/file.ts'
import { Machine } from '../../../src/engine/machine.ts'
import type { ForeignFile, HeldEventfd } from '../../../src/engine/ports.ts'
import { Refusal } from '../../../src/engine/reason.ts'
import { PlatformDevice, PlatformGroup } from '../../../src/iommu/platform-device.ts'
import { platforms } from '../../../src/iommu/platforms.ts'
import { PciMachine } from '../../../src/vfio/pci/pci-machine.ts'
import type { PciModel, PciTimers } from '../../../src/vfio/pci/pci-model.ts'
import { Vfio } from '../../../src/vfio/vfio.ts'
import { errnoOf, Program } from '../../engine/support/program.ts'

/** Time that passes when the test says so. */
export class ManualTime implements PciTimers {
  #now = 0
  #due: { at: number; run: () => void }[] = []

  after(milliseconds: number, run: () => void): () => void {
    const entry = { at: this.#now + milliseconds, run }
    this.#due.push(entry)
    return () => {
      this.#due = this.#due.filter((other) => other !== entry)
    }
  }

  pass(milliseconds: number): void {
    const end = this.#now + milliseconds
    for (;;) {
      const next = this.#due.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0]
      if (next === undefined) break
      this.#due = this.#due.filter((other) => other !== next)
      this.#now = next.at
      next.run()
    }
    this.#now = end
  }
}

/** An eventfd of the test program. */
export class TestEventfd implements ForeignFile, HeldEventfd {
  readonly foreign = true
  readonly name = 'anon_inode:[eventfd]'
  #count = 0n
  #listeners = new Set<() => void>()
  dup(): never {
    throw new Error('an eventfd is no memory')
  }
  eventfd(): HeldEventfd {
    return this
  }
  signal(): void {
    this.#count += 1n
    for (const listener of [...this.#listeners]) listener()
  }
  drain(): bigint {
    const count = this.#count
    this.#count = 0n
    return count
  }
  onSignal(listener: () => void): () => void {
    this.#listeners.add(listener)
    if (this.#count > 0n) listener()
    return () => this.#listeners.delete(listener)
  }
  close(): void {}
  /** What read() gives: the count, or nothing. */
  read(): number {
    return Number(this.drain())
  }
}

/** A BAR as a program has it mapped: loads and stores that nobody sees happen. */
export class MappedBar implements SharedRegion {
  readonly length: number
  readonly view: DataView
  accessible = true

  constructor(length: number) {
    this.length = length
    this.view = new DataView(new ArrayBuffer(length))
  }

  get #bytes(): Uint8Array {
    return new Uint8Array(this.view.buffer)
  }

  read(offset: number, into: Uint8Array): void {
    into.set(this.#bytes.subarray(offset, offset + into.length))
  }

  write(offset: number, bytes: Uint8Array): void {
    this.#bytes.set(bytes, offset)
  }

  setAccessible(accessible: boolean): void {
    this.accessible = accessible
  }
}

export const CONFIG = 7n << 40n

type Answer = number | string

export class PciWorld {
  readonly machine = new Machine()
  readonly time = new ManualTime()
  readonly program = new Program(this.machine)
  readonly pci: PciMachine
  readonly context: Context
  file: OpenFile
  readonly #foreign = new Map<number, ForeignFile>()

  constructor(model: PciModel) {
    const platform = platforms.find(({ name }) => name === 'intel-qemu-48')?.create()
    if (platform === undefined) throw new Error('the platform is missing')
    const groups = new Map<number, PlatformGroup>()
    this.pci = new PciMachine(
      new Vfio(this.machine),
      (name, number) => {
        const group = groups.get(number) ?? new PlatformGroup(number)
        groups.set(number, group)
        return new PlatformDevice(platform.instance, group, { name })
      },
      this.time,
    )
    this.pci.add({ model, group: 7 })
    this.context = this.program.open()
    this.file = this.openCdev()
  }

  openCdev(): OpenFile {
    const node = this.machine.node('/dev/vfio/devices/vfio0')
    const opened = node?.open(this.program.process, 'read-write')
    if (opened === undefined || opened instanceof Refusal) throw new Error('no cdev')
    return opened
  }

  /** Maps a whole BAR, as the host does it for a program. */
  map(index: number, length: number): MappedBar {
    const region = this.file.mmap?.(this.call(), {
      length: byteLength(BigInt(length)),
      prot: 3,
      flags: 1,
      offset: fileOffset(BigInt(index) << 40n),
    })
    if (region === undefined || region instanceof Refusal) throw new Error('it cannot be mapped')
    const bar = new MappedBar(Number(region.length))
    const content = new Uint8Array(bar.length)
    region.memory.read(0, content)
    bar.write(0, content)
    region.memory.backBy?.(bar)
    return bar
  }

  /** A new descriptor for an eventfd. */
  eventfd(): { readonly fd: Fd; readonly eventfd: TestEventfd } {
    const eventfd = new TestEventfd()
    return { fd: this.foreign(eventfd), eventfd }
  }

  /** A new descriptor for a file that is not ours. */
  foreign(file: ForeignFile): Fd {
    const number = 100 + this.#foreign.size
    this.#foreign.set(number, file)
    return number as Fd
  }

  call() {
    const call = this.program.call()
    return { ...call, file: (fd: Fd) => this.#foreign.get(fd) ?? call.file(fd) }
  }

  ioctl(request: number, bytes: Uint8Array): { result: Answer; bytes: Uint8Array } {
    const place = this.program.place(bytes)
    const result = this.file.ioctl?.(this.call(), request, place.address)
    return { result: answerOf(result), bytes: place.bytes.slice(0, bytes.length) }
  }

  /** The structure in a buffer of `room` bytes (default: its size). */
  request<F extends Fields>(
    declared: { readonly request: number; readonly struct: Struct<F> },
    value: Parameters<typeof encode<F>>[1],
    room?: number,
  ) {
    const bytes = new Uint8Array(room ?? declared.struct.size)
    bytes.set(encode(declared.struct, value).subarray(0, bytes.length))
    const done = this.ioctl(declared.request, bytes)
    return { result: done.result, after: declared.struct.decode(done.bytes), bytes: done.bytes }
  }

  pread(count: number, position: bigint): Answer | Uint8Array {
    const place = this.program.place(Math.max(1, count))
    const result = this.file.pread?.(this.call(), place.address, count, fileOffset(position))
    return typeof result === 'number' ? place.bytes.slice(0, result) : answerOf(result)
  }

  /** Little-endian value of 1 to 8 bytes, or the errno. */
  load(count: number, position: bigint): bigint | Answer {
    const bytes = this.pread(count, position)
    if (!(bytes instanceof Uint8Array)) return bytes
    return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n)
  }

  store(count: number, position: bigint, value: bigint): Answer {
    const bytes = Uint8Array.from({ length: count }, (_, i) =>
      Number((value >> BigInt(8 * i)) & 0xffn),
    )
    const place = this.program.place(bytes)
    return answerOf(this.file.pwrite?.(this.call(), place.address, count, fileOffset(position)))
  }

  storeFromNowhere(count: number, position: bigint): Answer {
    return answerOf(this.file.pwrite?.(this.call(), userVa(0n), count, fileOffset(position)))
  }

  iova(value: bigint): Iova {
    return iova(value)
  }
}

const answerOf = (result: number | Refusal | undefined): Answer =>
  result === undefined ? 'missing' : result instanceof Refusal ? errnoOf(result) : result
