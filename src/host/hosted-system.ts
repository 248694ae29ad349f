/**
 * What host/ serves: device nodes and synthetic files, laid over the real file system. Whoever puts a
 * run together (cli/) makes one from a machine; host/ knows no more of it than this.
 */
import type { EngineEvent } from '../engine/events.ts'
import type { FaultInjector } from '../engine/fault-injection.ts'
import type { Later } from '../engine/later.ts'
import type { DeviceNode } from '../engine/node.ts'
import type { AddressSpace, FallibleStep } from '../engine/ports.ts'
import type { Result } from '../engine/reason.ts'
import type { DeviceWorker } from './device-worker.ts'
import type { HostTimers } from './timers.ts'
import type { Transfers } from './traps.ts'

/** A file with text in it, as in /sys. */
export interface TextFile {
  readonly kind: 'text'
  /** Permission bits, e.g. 0o444. */
  readonly permissions: number
  content(): string | Uint8Array
  /** The content may change while the file is open, and who reads it again wants to see that. */
  readonly live?: boolean
  /**
   * What is written to it, in one piece; absent for a read-only file. Returns the number of bytes taken; the
   * caller waits where that comes later.
   */
  write?(bytes: Uint8Array): Result<number> | Later<Result<number>>
}

export interface SymbolicLink {
  readonly kind: 'link'
  readonly target: string
}

/** A file or link at an absolute path. The directories on the way exist too. */
export interface SyntheticFile {
  readonly path: string
  readonly node: TextFile | SymbolicLink
}

/** A call that was answered: what its `call` event says, but for its number and its context. */
export type AnsweredCall = Omit<
  EngineEvent & { readonly type: 'call' },
  'type' | 'call' | 'context'
>

/** A process gives up memory: what the event says, but for the call's number. */
export type MemoryReplaced = Omit<
  EngineEvent & { readonly type: 'memory-replaced' },
  'type' | 'call'
>

/** Whoever watches calls: it has the clock and the numbers, host/ knows descriptors. */
export interface CallWatch {
  /** A call is about to be served. `call.fd` is the descriptor it came through, once that is known; -1 for none. */
  begins(call: { readonly fd: number }): void
  /** It has been served. */
  ends(): void
  /** One was answered that the engine does not report itself: any but an ioctl. */
  answered(call: AnsweredCall): void
  /** A process is about to give up memory, while pages of some process are held for DMA. */
  replaces(memory: MemoryReplaced): void
}

export interface HostedSystem {
  /** The device nodes there are now. Asked again after each call on a file of ours. */
  nodes(): readonly DeviceNode[]
  /** The synthetic files there are now; asked when `nodes` is. */
  files?(): readonly SyntheticFile[]
  /** Directories in which nothing real shows through: `/sys/bus/pci`. */
  readonly opaqueDirectories?: readonly string[]
  /** Some of the files take writing, as shells do it: on standard output. */
  readonly hasControls?: boolean
  /** Which reads and writes are trapped (traps.ts); `all` if absent. */
  readonly transfers?: Transfers
  /** What the engine has charged to an address space, in pages; shown in /proc/PID/status (01 §17.4). */
  lockedPages?(space: AddressSpace): { readonly pinned: number; readonly locked: number }
  /** Fault injection by /proc/PID/task/TID/fail-nth, with what Linux has in debugfs for it (05 §B.10). */
  readonly faults?: FaultInjector
  /** Must this step of a call by this thread fail? (fault injection beside /proc/.../fail-nth) */
  fails?(tid: number, step: FallibleStep): boolean
  /**
   * The program that was run has ended, with this exit status or, above 255, by a signal; other processes
   * that it started may live on. Returns an exit status to use instead of its own, if any.
   */
  programEnded?(status: number): number | undefined
  /** Devices whose work is done in threads of their own. */
  readonly deviceWorkers?: readonly DeviceWorker[]
  /** What devices have asked to be called back for; absent where no device has a notion of time. */
  readonly timers?: HostTimers
  /** Whoever watches wants to know where in the program calls are made, which takes time. */
  readonly placesCalls?: boolean
  /** Absent when nobody watches. */
  readonly watch?: CallWatch
  /** No process is left to serve. */
  ended?(): void
}
