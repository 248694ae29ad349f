/**
 * What the engine asks of the world around it. `host/` implements these with Linux processes, tests
 * and the library with plain memory; the engine knows neither.
 */
import type { ByteLength, Fd, UserVa } from '../abi/brands.ts'
import type { CodePlace } from './events.ts'
import type { OpenFile } from './file.ts'
import type { Refusal, Result } from './reason.ts'

/** Memory addressed as a process addresses it. All calls are synchronous. */
export interface UserMemory {
  /** The longest readable prefix of `[address, address+length)`; shorter than asked means a fault there. */
  read(address: UserVa, length: number): Uint8Array
  /** Writes the longest writable prefix; returns how many bytes that was. */
  write(address: UserVa, bytes: Uint8Array): number
}

/** Linux capabilities in the initial user namespace; having one in a child namespace does not count. */
export type Capability = 'CAP_IPC_LOCK' | 'CAP_SYS_RESOURCE' | 'CAP_SYS_RAWIO' | 'CAP_SYS_ADMIN'

/**
 * What a page *is*, whoever maps it: shared memory is (object, page of the object), private memory
 * (address space, virtual page). Two lookups name the same page exactly when both members are equal.
 */
export interface PageIdentity {
  /** Same object (===) for the same memory object. */
  readonly object: PageObject
  /** Page number within the object (unit: 4096 bytes). */
  readonly page: number
}

/** A memory object: a shared or file-backed object, or one address space's private memory. */
export interface PageObject {
  /** For people: `memfd:buffer`, `anonymous memory of process 1234`. */
  readonly name: string
  /**
   * Number of pages (a power of two, 1 for ordinary memory) that are physically consecutive and
   * aligned: 512 for 2 MiB huge pages.
   */
  readonly contiguity: number
  /** The object of the host, where this one stands before it to note what is done with it (replay/). */
  readonly behind?: PageObject
  /** Bytes of one page or a run; false when the memory cannot be reached any more. `offset` may exceed a page. */
  read(page: number, offset: number, into: Uint8Array): boolean
  write(page: number, offset: number, bytes: Uint8Array): boolean
}

/** `count` consecutive pages of one object. */
export interface PageRun {
  readonly object: PageObject
  readonly page: number
  readonly count: number
}

/**
 * The address space that a mapping records. Compared by ===. It outlives its process: afterwards
 * `gone` is true and every access fails, except to pages taken before.
 */
export interface AddressSpace extends UserMemory {
  /** Small number for people and traces. */
  readonly id: number
  readonly gone: boolean
  /**
   * Takes `count` pages from `firstPage` (virtual page number) for long-term use, 01 §17.2: for
   * writing (also breaking copy-on-write) or only for reading. All or nothing; refuses with EFAULT
   * and its relatives. The runs come in ascending order and cover exactly `count` pages. Mapped device
   * memory is refused unless `deviceMemory` (06 §4.4).
   */
  take(
    firstPage: number,
    count: number,
    forWriting: boolean,
    caller: Process,
    deviceMemory?: boolean,
  ): Result<PageRun[]>
  /** The engine holds (or no longer holds) these pages: the host keeps their content reachable. */
  hold?(runs: readonly PageRun[]): void
  release?(runs: readonly PageRun[]): void
}

/** The calling process: the thread group leader of the thread that made the call. */
export interface Process {
  readonly pid: number
  /** Command name, for people. */
  readonly name: string
  /** Real user ID. */
  readonly uid: number
  readonly addressSpace: AddressSpace
  capable(capability: Capability): boolean
  /** Soft RLIMIT_MEMLOCK in bytes, read now; 2^64-1 is unlimited. */
  memlockLimit(): ByteLength
  /** Bytes that mlock and others have locked in this address space beside the engine's charges (VmLck). */
  lockedBytes(): ByteLength
}

/** A file of the caller that is not ours, as IOMMU_IOAS_MAP_FILE sees it (01 §13). */
export interface ForeignFile {
  readonly foreign: true
  readonly name: string
  /** The description can be held open beyond the caller's close(). */
  dup(): HeldFile
  /** Holds the eventfd that this file is; undefined for any other file. */
  eventfd?(): HeldEventfd | undefined
}

/** An eventfd of a client that the engine's side of a device signals or waits for. */
export interface HeldEventfd {
  /** A descriptor of this process for it, open until `close`: for a thread that signals on its own. */
  readonly descriptor?: number
  /** Adds 1; never blocks, and is lost at the highest value. */
  signal(): void
  /** The counter, which becomes 0; 0 when it was 0. */
  drain(): bigint
  /** Calls back when the counter becomes non-zero, and at once if it is; returns how to stop that. */
  onSignal(listener: () => void): () => void
  /** Whether no process has it any more but who holds it here; absent where that cannot be told. */
  abandoned?(): boolean
  close(): void
}

/** A foreign file held open by a mapping. */
export interface HeldFile {
  readonly name: string
  /** Takes pages for long-term use, 01 §13.1: EINVAL for other than shmem/hugetlb or beyond the size. */
  take(firstPage: number, count: number): Result<PageRun[]>
  close(): void
}

/** Steps at which a failure can be injected (05 §A.11). */
export type FallibleStep =
  | 'look-up-object'
  | 'reserve-regions'
  | 'allocate-batch'
  | 'pin-pages'
  | 'charge-pages'
  | 'store-access-pages'
  | 'access-one-page'
  | 'allocate-object'
  | 'copy-from-user'
  | 'copy-to-user'

/** One system call being served. Valid only until the handler returns. */
export interface Call {
  readonly process: Process
  /** Thread that made the call. */
  readonly tid: number
  readonly memory: UserMemory
  /** What a descriptor of the caller refers to: one of our files, another file, or nothing (EBADF, O_PATH included). */
  file(fd: Fd): OpenFile | ForeignFile | undefined
  /**
   * Gives the caller a new descriptor for `file`: the lowest free one. Refuses with EMFILE. It is
   * visible to the caller at once and cannot be taken back, so it is the last fallible step.
   */
  install(file: OpenFile, options: { readonly closeOnExec: boolean }): Fd | Refusal
  /** Must this step fail now? (fault injection; false where none is armed) */
  fails(step: FallibleStep): boolean
  /** Where in the program it was made; absent where nobody can tell or asked to know. */
  place?(): CodePlace | undefined
}
