/** Installing the filter, starting the program, waiting for it: see launcher-main.ts. */
import { filterProgram, type Trap } from './bpf.ts'
import {
  AT_FDCWD,
  CLD_EXITED,
  CLD_STOPPED,
  CLD_TRAPPED,
  P_PID,
  PR_SET_NO_NEW_PRIVS,
  RLIMIT_NOFILE,
  SECCOMP_FILTER_FLAG_NEW_LISTENER,
  SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
  SECCOMP_SET_MODE_FILTER,
  WEXITED,
  WNOWAIT,
  WSTOPPED,
} from './kernel.ts'
import type { Sys } from './sys.ts'
import { traps } from './traps.ts'

/** How the supervisor and its launcher thread talk: words of shared memory. */
export const Word = {
  /** Bits of `Go`, when the program may be started. */
  GO: 0,
  /** Listener descriptor + 1, or an errno negated. */
  LISTENER: 1,
  /** The program's PID, or an errno negated if it could not be started. */
  PID: 2,
  /** 1 when it has ended. */
  ENDED: 3,
  /** How: exit status, or signal + 0x100. */
  STATUS: 4,
  /** Signal that stopped it, 0 if it runs. */
  STOPPED: 5,
} as const

/** What to trap. */
export const Go = {
  GO: 1,
  /** Few reads and writes. */
  REGISTERS: 2,
  /** The making of eventfds. */
  EVENTFDS: 4,
  /** Short writes to standard output. */
  CONTROLS: 8,
} as const

export interface Launch {
  /** eventfd that tells the supervisor to look at the words. */
  readonly wake: number
  readonly argv: readonly Uint8Array[]
  readonly envp: readonly Uint8Array[]
  /** Paths to try, in order. */
  readonly candidates: readonly Uint8Array[]
  readonly processGroup: number
  readonly blockedSignals: bigint
  readonly defaultSignals: bigint
  readonly closeFds: readonly number[]
  /** Descriptors that it inherits. Node makes them close-on-exec. */
  readonly descriptors: readonly number[]
  /** Soft RLIMIT_NOFILE that the program is to have; undefined to leave it. */
  readonly openFiles: string | undefined
}

const F_SETFD = 2
const UNLIMITED = 0xffff_ffff_ffff_ffffn
const ENOENT = 2
const EINTR = 4
const ENOEXEC = 8
const EACCES = 13
const ENOTDIR = 20
const EINVAL = 22

export const launch = (sys: Sys, words: Int32Array, request: Launch): void => {
  const go = Atomics.load(words, Word.GO)
  const listener = installFilter(
    sys,
    traps((go & Go.REGISTERS) !== 0 ? 'registers' : 'all', {
      makesEventfds: (go & Go.EVENTFDS) !== 0,
      hasControls: (go & Go.CONTROLS) !== 0,
    }),
  )
  Atomics.store(words, Word.LISTENER, listener < 0 ? listener : listener + 1)
  Atomics.notify(words, Word.LISTENER)
  if (listener < 0) return
  for (const fd of request.descriptors) sys.call('fcntl', fd, F_SETFD, 0)
  const limit = lowerOpenFiles(sys, request.openFiles)
  const pid = start(sys, request)
  limit.restore()
  Atomics.store(words, Word.PID, pid)
  wake(sys, request.wake)
  if (pid > 0) wait(sys, words, request.wake, pid)
  // The thread ends here and now. Node's way of ending it would make calls that the filter catches, while
  // the supervisor, who must answer them, waits for the thread to end.
  sys.call('exit', 0)
}

/** Puts this thread, and whatever it starts, under a filter: the listener, or an errno negated. */
const installFilter = (sys: Sys, trapped: readonly Trap[]): number => {
  const program = filterProgram(sys.arch, trapped)
  const code = sys.alloc(program.length)
  code.bytes.set(program)
  const { view, address } = sys.alloc(16)
  view.setUint16(0, program.length / 8, true)
  view.setBigUint64(8, BigInt(code.address), true)
  sys.call('prctl', PR_SET_NO_NEW_PRIVS, 1)
  const install = (flags: number): number =>
    sys.call('seccomp', SECCOMP_SET_MODE_FILTER, flags, address)
  // A signal must not interrupt a call that we have begun to serve: the kernel would restart it, and it
  // would be done twice.
  const killable = install(
    SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
  )
  return killable === -EINVAL ? install(SECCOMP_FILTER_FLAG_NEW_LISTENER) : killable
}

/** Node raises the soft limit to the hard one at its start; what it starts shall have it as it was. */
const lowerOpenFiles = (sys: Sys, soft: string | undefined): { restore(): void } => {
  if (soft === undefined) return { restore: () => {} }
  const { view, address } = sys.alloc(32)
  sys.call('prlimit64', 0, RLIMIT_NOFILE, 0, address)
  view.setBigUint64(16, soft === 'unlimited' ? UNLIMITED : BigInt(soft), true)
  view.setBigUint64(24, view.getBigUint64(8, true), true)
  sys.call('prlimit64', 0, RLIMIT_NOFILE, address + 16, 0)
  return {
    restore: () => {
      sys.call('prlimit64', 0, RLIMIT_NOFILE, address, 0)
    },
  }
}

/** As execvp does: the first candidate that can be executed; a script without `#!` goes to the shell. */
const start = (sys: Sys, request: Launch): number => {
  let failure = -ENOENT
  for (const path of request.candidates) {
    if (!exists(sys, path)) continue
    const result = sys.spawn({ ...request, path })
    if (result > 0) return result
    if (result === -ENOEXEC) return sys.spawn({ ...request, ...forShell(path, request.argv) })
    if (result === -EACCES) failure = result
    else if (result !== -ENOENT && result !== -ENOTDIR) return result
  }
  return failure
}

/** Cheaper than a process that finds out. */
const exists = (sys: Sys, path: Uint8Array): boolean => {
  const { bytes, address } = sys.scratch
  if (path.length >= bytes.length) return true
  bytes.set(path)
  bytes[path.length] = 0
  return sys.call('faccessat', AT_FDCWD, address, 0) !== -ENOENT
}

const forShell = (path: Uint8Array, argv: readonly Uint8Array[]) => {
  const shell = Buffer.from('/bin/sh')
  return { path: shell, argv: [shell, path, ...argv.slice(1)] }
}

const wait = (sys: Sys, words: Int32Array, fd: number, pid: number): void => {
  const { view, address } = sys.alloc(128)
  for (;;) {
    // The program stays a zombie until its end has been noted, so that its PID keeps meaning it.
    const result = sys.call('waitid', P_PID, pid, address, WEXITED | WSTOPPED | WNOWAIT)
    if (result === -EINTR) continue
    if (result < 0) return
    const code = view.getInt32(8, true)
    const status = view.getInt32(24, true)
    // Stopped by ourselves, for a moment (injected-calls.ts).
    if (code === CLD_TRAPPED) {
      sys.call('waitid', P_PID, pid, address, WSTOPPED)
      continue
    }
    if (code === CLD_STOPPED) {
      sys.call('waitid', P_PID, pid, address, WSTOPPED)
      Atomics.store(words, Word.STOPPED, status)
      wake(sys, fd)
      continue
    }
    Atomics.store(words, Word.STATUS, code === CLD_EXITED ? status : 0x100 + status)
    Atomics.store(words, Word.ENDED, 1)
    sys.call('waitid', P_PID, pid, address, WEXITED)
    wake(sys, fd)
    return
  }
}

const wake = (sys: Sys, eventFd: number): void => {
  const { view, address } = sys.alloc(8)
  view.setBigUint64(0, 1n, true)
  sys.call('write', eventFd, address, 8)
}
