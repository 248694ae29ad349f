/**
 * The threads whose calls we serve. A thread ID can be used again by another thread: what we hold for
 * one is a directory in /proc, which belongs to that very thread and answers ESRCH when it is gone.
 */
import { readdirSync, readFileSync } from 'node:fs'
import type { HostAddressSpace } from './address-space.ts'
import { openPath, pathAt } from './client-memory.ts'
import { HostProcess } from './host-process.ts'
import { openFlags } from './kernel.ts'
import type { SharedMemory } from './shared-memory.ts'
import type { Block, Sys } from './sys.ts'
import { areasOf, type Vma } from './vmas.ts'

const STATX_INO = 0x100
const STATX_TYPE = 0x1
const ENOENT = 2
const EACCES = 13
/** Beyond this many, what belongs to dead threads is thrown away. */
const SWEEP_AT = 512

export interface Task {
  readonly tid: number
  /** O_PATH descriptor of /proc/TID/fd. */
  readonly fds: number
  readonly process: HostProcess
}

/** Identity of what a descriptor refers to: device and inode. 0 for a descriptor that is not open. */
export type InodeKey = number

export class Tasks {
  readonly #sys: Sys
  readonly #shared: SharedMemory
  readonly #tasks = new Map<number, Task>()
  readonly #processes = new Map<number, HostProcess>()
  readonly #statx: Block
  readonly #name: Block
  #sweepAt = SWEEP_AT

  constructor(sys: Sys, shared: SharedMemory) {
    this.#sys = sys
    this.#shared = shared
    this.#statx = sys.alloc(256)
    this.#name = sys.alloc(16)
  }

  /** The thread with this ID, which must be waiting for us; undefined if it may not be looked at. */
  get(tid: number): Task | undefined {
    const known = this.#tasks.get(tid)
    if (known === undefined) return this.#open(tid)
    if (this.#inode(known.fds, '.') >= 0) return known
    this.#forget(tid, known)
    return this.#open(tid)
  }

  /** The thread last seen with this ID, without looking whether it is still the same. */
  known(tid: number): Task | undefined {
    return this.#tasks.get(tid)
  }

  #open(tid: number): Task | undefined {
    if (this.#tasks.size >= this.#sweepAt) this.#sweep()
    const { PATH, DIRECTORY } = openFlags(this.#sys.arch.name)
    const fds = openPath(this.#sys, `/proc/${tid}/fd`, PATH | DIRECTORY)
    if (fds < 0) return undefined
    const task = { tid, fds, process: this.#process(tid) }
    this.#tasks.set(tid, task)
    return task
  }

  #process(tid: number): HostProcess {
    const pid = threadGroup(tid)
    const known = this.#processes.get(pid)
    if (known?.alive()) return known
    known?.close()
    const process = new HostProcess(this.#sys, pid, this.#shared)
    this.#processes.set(pid, process)
    return process
  }

  /** A process seen before that still lives. */
  process(pid: number): HostProcess | undefined {
    const known = this.#processes.get(pid)
    return known?.alive() ? known : undefined
  }

  /** All processes seen that may still live. */
  processes(): IterableIterator<HostProcess> {
    return this.#processes.values()
  }

  /** Address spaces of all processes that we know, and of their descendants. */
  *addressSpaces(): Generator<HostAddressSpace> {
    for (const pid of this.family()) {
      const process = this.#processes.get(pid) ?? this.#process(pid)
      if (process.alive()) yield process.addressSpace
    }
  }

  /** Everything mapped by the processes that we know and their descendants. */
  *allAreas(): Generator<Vma> {
    for (const pid of this.family()) yield* areasOf(pid)
  }

  /** IDs of the processes that we know and of their descendants. */
  *family(): Generator<number> {
    const seen = new Set<number>()
    const queue = [...this.#processes.keys()]
    for (let pid = queue.pop(); pid !== undefined; pid = queue.pop()) {
      if (seen.has(pid)) continue
      seen.add(pid)
      queue.push(...childrenOf(pid))
      yield pid
    }
  }

  #sweep(): void {
    for (const [tid, task] of this.#tasks)
      if (this.#inode(task.fds, '.') < 0) this.#forget(tid, task)
    for (const [pid, process] of this.#processes)
      if (!process.alive()) {
        process.close()
        this.#processes.delete(pid)
      }
    this.#sweepAt = Math.max(SWEEP_AT, 2 * this.#tasks.size)
  }

  #forget(tid: number, task: Task): void {
    this.#sys.call('close', task.fds)
    this.#tasks.delete(tid)
  }

  /**
   * What descriptor `fd` of the calling thread refers to. `device` is the device number of its file
   * system; both are 0 if it is not open.
   */
  descriptor(tid: number, fd: number): { task: Task; inode: InodeKey; device: number } | undefined {
    let task = this.#tasks.get(tid) ?? this.#open(tid)
    if (task === undefined) return undefined
    let result = this.#statFd(task.fds, fd)
    if (result !== 0 && result !== -ENOENT && result !== -EACCES) {
      // The thread that we knew by this ID is gone; this is another one.
      this.#forget(tid, task)
      task = this.#open(tid)
      if (task === undefined) return undefined
      result = this.#statFd(task.fds, fd)
    } else if (result === -ENOENT && this.#inode(task.fds, '.') < 0) {
      this.#forget(tid, task)
      task = this.#open(tid)
      if (task === undefined) return undefined
      result = this.#statFd(task.fds, fd)
    }
    if (result !== 0) return { task, inode: 0, device: 0 }
    return { task, ...this.#identity() }
  }

  /** The same for any thread, which may be gone or never have been seen. */
  descriptorOf(tid: number, fd: number): { inode: InodeKey; device: number } | undefined {
    const { PATH, DIRECTORY } = openFlags(this.#sys.arch.name)
    const fds = openPath(this.#sys, `/proc/${tid}/fd`, PATH | DIRECTORY)
    if (fds < 0) return undefined
    const result = this.#statFd(fds, fd)
    this.#sys.call('close', fds)
    return result === 0 ? this.#identity() : undefined
  }

  #identity(): { inode: InodeKey; device: number } {
    const { view } = this.#statx
    return {
      inode: view.getUint32(32, true) + view.getUint32(36, true) * 0x1_0000_0000,
      device: view.getUint32(136, true) * 0x10_0000 + view.getUint32(140, true),
    }
  }

  #statFd(fds: number, fd: number): number {
    if (fd < 0) return -ENOENT
    const { bytes, address } = this.#name
    let digits = 1
    for (let rest = fd; rest >= 10; rest = Math.trunc(rest / 10)) digits += 1
    bytes[digits] = 0
    for (let rest = fd; digits > 0; rest = Math.trunc(rest / 10)) {
      digits -= 1
      bytes[digits] = 48 + (rest % 10)
    }
    return this.#sys.call('statx', fds, address, 0, STATX_TYPE | STATX_INO, this.#statx.address)
  }

  #inode(directory: number, name: string): number {
    return this.#sys.call(
      'statx',
      directory,
      pathAt(this.#sys, name),
      0,
      STATX_INO,
      this.#statx.address,
    )
  }
}

/** The process that a thread belongs to; itself if it is gone. */
const threadGroup = (tid: number): number => {
  try {
    const match = /^Tgid:\t(\d+)/m.exec(readFileSync(`/proc/${tid}/status`, 'latin1'))
    return match === null ? tid : Number(match[1])
  } catch {
    return tid
  }
}

const childrenOf = (pid: number): number[] => {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((tid) =>
      readFileSync(`/proc/${pid}/task/${tid}/children`, 'latin1')
        .split(' ')
        .filter((child) => child !== '')
        .map(Number),
    )
  } catch {
    return []
  }
}
