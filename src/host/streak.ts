/**
 * One thread that calls on one descriptor again and again. Asking the kernel which file a descriptor is
 * takes a good part of a call's time; comparing it with a descriptor of our own for the same file is much
 * cheaper. But ours keeps the file open. So we hold one only while nothing else happens: before any other
 * call is served, and when none has come for a moment, we let go of it, and learn then if the client has.
 */
import type { HostedFile } from './open-files.ts'
import type { Sys } from './sys.ts'

const KCMP_FILE = 0
/** Calls in a row after which it pays to hold the file. */
const WORTHWHILE = 8

export class Streak {
  readonly #sys: Sys
  #tid = -1
  #fd = -1
  #length = 0
  #held = -1
  #file: HostedFile | undefined
  /** Some container runtimes refuse pidfd_getfd, some kernels have no kcmp. */
  #possible = true

  constructor(sys: Sys) {
    this.#sys = sys
  }

  /** A descriptor of ours keeps a client's file open. */
  get holds(): boolean {
    return this.#held >= 0
  }

  /** Whether a call by this thread on this descriptor goes on with it. */
  continues(tid: number, fd: number): boolean {
    return tid === this.#tid && fd === this.#fd
  }

  /** The file, if one is held and the thread's descriptor still is that one. */
  known(tid: number): HostedFile | undefined {
    if (this.#held < 0) return undefined
    const same = this.#sys.call('kcmp', process.pid, tid, KCMP_FILE, this.#held, this.#fd)
    return same === 0 ? this.#file : undefined
  }

  /** The thread's descriptor was found to be this file; `pid` is its process. */
  found(tid: number, fd: number, pid: number, file: HostedFile): void {
    this.#length = this.continues(tid, fd) ? this.#length + 1 : 1
    this.#tid = tid
    this.#fd = fd
    if (this.#length < WORTHWHILE || !this.#possible) return
    this.#held = this.#take(pid, fd)
    this.#file = file
    this.#possible = this.#held >= 0 && this.known(tid) !== undefined
    if (!this.#possible) this.letGo()
  }

  #take(pid: number, fd: number): number {
    const pidfd = this.#sys.call('pidfd_open', pid, 0)
    if (pidfd < 0) return -1
    const held = this.#sys.call('pidfd_getfd', pidfd, fd, 0)
    this.#sys.call('close', pidfd)
    return held
  }

  /** Something else happens. If the client has closed its descriptors, this is the last close. */
  letGo(): void {
    if (this.#held >= 0) this.#sys.call('close', this.#held)
    this.#held = -1
    this.#length = 0
    this.#file = undefined
  }
}
