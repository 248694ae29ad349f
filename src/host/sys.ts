/**
 * The little that host/ needs of the machine: memory at a fixed address, system calls, and one way to
 * start a process. Behind it stands an FFI library (sys-koffi.ts); another can take its place.
 */
import type { Arch, SyscallName } from './arch.ts'
import type { Sequence, Steps } from './syscall-sequence.ts'

/** A block of memory that never moves, for system calls to read and write. Zero at first. */
export interface Block {
  readonly address: number
  readonly bytes: Uint8Array
  readonly view: DataView
}

export interface SpawnRequest {
  readonly path: Uint8Array
  readonly argv: readonly Uint8Array[]
  readonly envp: readonly Uint8Array[]
  /** Process group to join; 0 for a new one. */
  readonly processGroup: number
  /** Bit n-1: signal n. */
  readonly blockedSignals: bigint
  /** Signals whose disposition becomes the default one; the others are inherited. */
  readonly defaultSignals: bigint
  readonly closeFds: readonly number[]
}

export interface Sys {
  readonly arch: Arch
  /**
   * One system call; absent arguments are 0. Returns what the kernel does: a value, or an errno
   * negated. A call that the architecture does not have returns -38 (ENOSYS).
   */
  call(
    name: SyscallName,
    a?: number,
    b?: number,
    c?: number,
    d?: number,
    e?: number,
    f?: number,
  ): number
  /** `length` steps to be run at one go; `steps` gets the table that they will stand in. */
  sequence(length: number, steps: Steps): Sequence
  /** The function at an address: takes an address, returns a number of 32 bits. */
  code(address: number): (argument: number) => number
  alloc(bytes: number): Block
  /** Memory that is mapped at `address` already. */
  at(address: number, length: number): Uint8Array
  /** 4 KiB for the operands of one call; nothing in it survives the next user. */
  readonly scratch: Block
  /** posix_spawn: the PID, or an errno negated. Reports failure of the execve too. */
  spawn(request: SpawnRequest): number
  /** Sets the disposition of a signal of this process: SIG_DFL or SIG_IGN. */
  signal(signal: number, disposition: 'default' | 'ignore'): void
}
