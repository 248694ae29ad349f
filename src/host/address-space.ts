/** The memory of one process: what the engine records with a mapping, and takes pages from (01 §17, §18). */
import type { UserVa } from '../abi/brands.ts'
import type { AddressSpace, PageRun, Process, UserMemory } from '../engine/ports.ts'
import { type Result, reasonKind, refuse } from '../engine/reason.ts'
import { openPath } from './client-memory.ts'
import { O, PAGE_SIZE } from './kernel.ts'
import { MemoryObject } from './page-objects.ts'
import type { Mapper, SharedMemory } from './shared-memory.ts'
import type { Block, Sys } from './sys.ts'
import { type Vma, Vmas } from './vmas.ts'

const END_OF_USER = 2 ** 47
const WINDOW = 1 << 20

const NotMapped = reasonKind<{ page: number; process: string }>({
  code: 'page-not-mapped',
  errno: 'EFAULT',
  cite: '01 §17.2',
  say: ({ page, process }) =>
    `nothing is mapped at 0x${(page * PAGE_SIZE).toString(16)} in ${process}`,
  advice: 'Map the memory in the process before a device or domain needs it.',
})
const NotWritable = reasonKind<{ page: number; process: string }>({
  code: 'page-not-writable',
  errno: 'EFAULT',
  cite: '01 §17.2',
  say: ({ page, process }) =>
    `the memory at 0x${(page * PAGE_SIZE).toString(16)} in ${process} is not writable, but the mapping is`,
  advice: 'Map it without IOMMU_IOAS_MAP_WRITEABLE, or make the memory writable.',
})
const NotReadable = reasonKind<{ page: number; process: string }>({
  code: 'page-not-readable',
  errno: 'EFAULT',
  cite: '01 §17.2',
  say: ({ page, process }) =>
    `the memory at 0x${(page * PAGE_SIZE).toString(16)} in ${process} may not be read`,
  advice: 'Map memory with PROT_READ; memory from memfd_secret cannot be used for DMA at all.',
})
const DeviceMemory = reasonKind<{ page: number; process: string; name: string }>({
  code: 'page-is-device-memory',
  errno: 'EFAULT',
  cite: '01 §17.2',
  say: ({ page, process, name }) =>
    `0x${(page * PAGE_SIZE).toString(16)} in ${process} maps device memory (${name}), which cannot be pinned`,
  advice:
    'Do not map BARs or other device memory for DMA by address; Linux takes them only as dma-bufs.',
})
const FileWritable = reasonKind<{ page: number; process: string; name: string }>({
  code: 'page-of-tracked-file',
  errno: 'EFAULT',
  cite: '01 §17.2',
  say: ({ page, process, name }) =>
    `0x${(page * PAGE_SIZE).toString(16)} in ${process} is a shared writable mapping of ${name}, whose file system tracks dirty pages`,
  advice: 'Use anonymous memory, a memfd or tmpfs for buffers that devices write.',
})
const AddressSpaceGone = reasonKind<{ process: string }>({
  code: 'process-memory-gone',
  errno: 'EFAULT',
  cite: '01 §17.2',
  say: ({ process }) =>
    `the memory of ${process} is gone: it has exited or executed another program`,
  advice: 'Keep the process that mapped memory alive, or map from a memfd with IOAS_MAP_FILE.',
})

let spaces = 0

/** What the kernel calls a memfd that stands for a device node of ours. */
const nodeName = (name: string): string => name.replace(/^\/memfd:(.*) \(deleted\)$/, '$1')

export class HostAddressSpace implements AddressSpace, Mapper {
  readonly id: number
  readonly #sys: Sys
  readonly #pid: number
  readonly #shared: SharedMemory
  /** /proc/PID/mem: this memory, whatever the process executes later; reads nothing once it is gone. */
  #mem: number
  readonly #window: Block
  readonly #vmas: Vmas
  readonly #private: MemoryObject
  /** Ranges of pages whose private memory was replaced while held: later pages there are other pages. */
  readonly #replaced: { first: number; end: number; object: MemoryObject }[] = []
  #ended = false
  /** The process may be about to lose this memory. */
  #leaving = false

  constructor(sys: Sys, pid: number, shared: SharedMemory) {
    spaces += 1
    this.id = spaces
    this.#sys = sys
    this.#pid = pid
    this.#shared = shared
    this.#mem = openPath(sys, `/proc/${pid}/mem`, O.RDWR)
    this.#window = shared.window
    this.#vmas = new Vmas(sys, pid)
    this.#private = this.#newPrivate()
  }

  #newPrivate(): MemoryObject {
    const object = new MemoryObject(`anonymous memory of process ${this.#pid}`, 1)
    object.reachedBy({
      place: () =>
        this.#mem < 0
          ? undefined
          : {
              descriptor: this.#mem,
              address: 0,
              firstPage: 0,
              endPage: END_OF_USER / PAGE_SIZE,
              process: this.reachable,
            },
      read: (page, offset, into) => this.readAt(page * PAGE_SIZE + offset, into),
      write: (page, offset, bytes) => this.writeAt(page * PAGE_SIZE + offset, bytes),
    })
    return object
  }

  get #name(): string {
    return `process ${this.#pid}`
  }

  get gone(): boolean {
    if (this.#ended) return true
    if (this.#near !== undefined) return false
    // At any address: a read of a gone address space is 0, that of a hole EIO.
    const result = this.#sys.call('pread64', this.#mem, this.#sys.scratch.address, 1, PAGE_SIZE)
    this.#ended = result === 0 || this.#mem < 0
    return this.#ended
  }

  /** The caller's own memory is there, and reached more quickly. */
  get #near(): UserMemory | undefined {
    const { caller, callerMemory } = this.#shared
    return caller?.certainAddressSpace === this ? callerMemory : undefined
  }

  read(address: UserVa, length: number): Uint8Array {
    const near = this.#near
    if (near !== undefined) return near.read(address, length)
    if (address >= BigInt(END_OF_USER)) return new Uint8Array(0)
    const bytes = new Uint8Array(length)
    return bytes.subarray(0, this.#readAt(Number(address), bytes))
  }

  write(address: UserVa, bytes: Uint8Array): number {
    const near = this.#near
    if (near !== undefined) return near.write(address, bytes)
    if (address >= BigInt(END_OF_USER)) return 0
    let writable = 0
    const start = Number(address)
    // The file writes through write protection, which an access must not.
    for (const vma of this.#vmas.within(start, start + bytes.length)) {
      if (!vma.writable || vma.start > start + writable) break
      writable = Math.min(bytes.length, vma.end - start)
    }
    return this.#writeAt(start, bytes.subarray(0, writable))
  }

  readAt(address: number, into: Uint8Array): boolean {
    return this.#readAt(address, into) === into.length
  }

  writeAt(address: number, bytes: Uint8Array): boolean {
    return this.#writeAt(address, bytes) === bytes.length
  }

  #readAt(address: number, into: Uint8Array): number {
    for (let done = 0; done < into.length; ) {
      const part = Math.min(WINDOW, into.length - done)
      const count = this.#sys.call('pread64', this.#mem, this.#window.address, part, address + done)
      if (count <= 0) return done
      into.set(this.#window.bytes.subarray(0, count), done)
      done += count
    }
    return into.length
  }

  #writeAt(address: number, bytes: Uint8Array): number {
    for (let done = 0; done < bytes.length; ) {
      const part = Math.min(WINDOW, bytes.length - done)
      this.#window.bytes.set(bytes.subarray(done, done + part))
      const count = this.#sys.call(
        'pwrite64',
        this.#mem,
        this.#window.address,
        part,
        address + done,
      )
      if (count <= 0) return done
      done += count
    }
    return bytes.length
  }

  take(
    firstPage: number,
    count: number,
    forWriting: boolean,
    caller: Process,
    deviceMemory = false,
  ): Result<PageRun[]> {
    const process = this.#name
    if (this.#near === undefined && this.gone) return refuse(AddressSpaceGone, { process })
    const start = firstPage * PAGE_SIZE
    const end = start + count * PAGE_SIZE
    const runs: PageRun[] = []
    let at = start
    for (const vma of this.#vmas.within(start, Math.min(end, END_OF_USER))) {
      if (vma.start > at) break
      const page = at / PAGE_SIZE
      const refusal =
        (deviceMemory ? undefined : this.#deviceMemory(vma, page)) ??
        this.#refusal(vma, page, forWriting, caller)
      if (refusal !== undefined) return refusal
      const to = Math.min(end, vma.end)
      runs.push(...this.#runs(vma, at, to))
      at = to
    }
    if (at < end) return refuse(NotMapped, { page: at / PAGE_SIZE, process })
    return runs
  }

  #deviceMemory(vma: Vma, page: number) {
    return this.#shared.isOurs(vma)
      ? refuse(DeviceMemory, { page, process: this.#name, name: nodeName(vma.name) })
      : undefined
  }

  #refusal(vma: Vma, page: number, forWriting: boolean, caller: Process) {
    const process = this.#name
    if (vma.name === '[vvar]' || vma.name === '[vsyscall]')
      return refuse(DeviceMemory, { page, process, name: nodeName(vma.name) })
    if (vma.name.startsWith('/secretmem')) return refuse(NotReadable, { page, process })
    if (forWriting && !vma.writable) return refuse(NotWritable, { page, process })
    if (!vma.readable && !vma.writable) return refuse(NotReadable, { page, process })
    if (!vma.readable && !forWriting && caller.addressSpace !== this)
      return refuse(NotReadable, { page, process })
    if (forWriting && vma.shared && !this.#shared.isMemoryFile(vma, this.#pid))
      return refuse(FileWritable, { page, process, name: vma.name })
    return undefined
  }

  #runs(vma: Vma, from: number, to: number): PageRun[] {
    const count = (to - from) / PAGE_SIZE
    if (vma.shared || vma.pageSize > PAGE_SIZE) {
      const object = this.#shared.object(vma, this)
      const base = vma.shared ? vma.offset : vma.start
      return [{ object, page: (base + from - vma.start) / PAGE_SIZE, count }]
    }
    return this.#privateRuns(from / PAGE_SIZE, count)
  }

  /** Splits where pages were replaced. */
  #privateRuns(page: number, count: number): PageRun[] {
    const runs: PageRun[] = []
    const end = page + count
    for (let at = page; at < end; ) {
      const over = this.#replaced.findLast((range) => at >= range.first && at < range.end)
      let to = Math.min(end, over?.end ?? end)
      for (const range of this.#replaced)
        if (range !== over && range.first > at && range.first < to) to = range.first
      runs.push({ object: over?.object ?? this.#private, page: at, count: to - at })
      at = to
    }
    return runs
  }

  areas(): readonly Vma[] {
    return this.#vmas.within(0, END_OF_USER)
  }

  /**
   * The process is about to unmap or replace [start, end), addresses: pages that are held keep their
   * content; whatever will be there afterwards are other pages (01 §18).
   */
  replacing(start: number, end: number): void {
    const first = Math.floor(start / PAGE_SIZE)
    const last = Math.ceil(end / PAGE_SIZE)
    if (this.#holdsWithin(first, last)) this.#shared.moving()
    for (const run of this.#privateRuns(first, last - first)) {
      const { object } = run
      if (!(object instanceof MemoryObject)) continue
      for (const [from, to] of object.heldWithin(run.page, run.page + run.count)) {
        object.save(from, to)
        this.#replaced.push({ first: from, end: to, object: this.#newPrivate() })
      }
    }
    this.#shared.unmapping(this, start, end)
  }

  #holdsWithin(first: number, last: number): boolean {
    return (
      this.#privateRuns(first, last - first).some(
        ({ object, page, count }) =>
          object instanceof MemoryObject && object.heldWithin(page, page + count).length > 0,
      ) || this.#shared.holdsWithin(this, first * PAGE_SIZE, last * PAGE_SIZE)
    )
  }

  get memory(): number {
    return this.#mem
  }

  /** Not while the process may be executing: it has another memory then. */
  get reachable(): number {
    return this.#shared.byProcess && !this.#leaving && !this.gone ? this.#pid : 0
  }

  /** The process is perhaps about to lose all its memory: by exit, or by an execve that succeeds. */
  ending(): void {
    this.#leaving = true
    this.#shared.moving()
    for (const object of [this.#private, ...this.#replaced.map((range) => range.object)])
      object.save(0, END_OF_USER / PAGE_SIZE)
    this.#shared.unmapping(this, 0, END_OF_USER)
  }

  /** It has not lost it. */
  notEnded(): void {
    this.#leaving = false
    this.#private.unsave()
  }

  /** The process is gone; what was saved of its memory stays. */
  close(): void {
    this.#shared.moving()
    this.#ended = true
    this.#shared.forget(this)
    this.#vmas.close()
    if (this.#mem >= 0) this.#sys.call('close', this.#mem)
    this.#mem = -1
  }

  hold(runs: readonly PageRun[]): void {
    for (const { object, page, count } of runs)
      if (object instanceof MemoryObject) {
        object.hold(page, count)
        this.#shared.heldPages += count
      }
  }

  release(runs: readonly PageRun[]): void {
    for (const { object, page, count } of runs)
      if (object instanceof MemoryObject) {
        object.release(page, count)
        this.#shared.heldPages -= count
      }
  }
}
