/**
 * One thread that calls on one descriptor again and again. Asking the kernel which file a descriptor is
 * takes a good part of a call's time; comparing it with a descriptor of our own for the same file is much
 * cheaper (kcmp(2)). But ours keeps the file open. So we hold one only while nothing else happens: before
 * any other call is served, and when none has come for a moment, we let go of it, and learn then if the
 * client has.
 */
import { TFD_CLOEXEC, TFD_NONBLOCK } from './kernel.ts'
import type { HostedFile } from './open-files.ts'
import type { Sys } from './sys.ts'

export const KCMP_FILE = 0
const CLOCK_MONOTONIC = 1
/** Calls in a row after which it pays to hold the file. */
const WORTHWHILE = 4
/** Nanoseconds without a call after which the client is taken to do something else now. */
const A_MOMENT = 1_000_000

/** A file that we hold, and the thread and descriptor that the client calls it by. */
export interface Held {
  readonly tid: number
  readonly fd: number
  /** Our own descriptor. */
  readonly held: number
  readonly file: HostedFile
}

export class Streak {
  readonly #sys: Sys
  #tid = -1
  #fd = -1
  #length = 0
  #held: Held | undefined
  /** Calls since the timer was set. */
  #calls = 0
  /** Some container runtimes refuse pidfd_getfd, some kernels have no kcmp. */
  #possible = true
  /** Readable when a moment has passed: a timer per call would cost more than all this saves. */
  readonly timer: number

  constructor(sys: Sys) {
    this.#sys = sys
    this.timer = sys.call('timerfd_create', CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)
  }

  /** What we keep open of a client's, if anything. */
  get held(): Held | undefined {
    return this.#held
  }

  /** The same thread has called on the same descriptor, and it is the same file. */
  goesOn(): void {
    this.#calls += 1
  }

  /** The descriptor of this thread was found to be this file; `pid` is its process. */
  found(tid: number, fd: number, pid: number, file: HostedFile): void {
    this.#length = tid === this.#tid && fd === this.#fd ? this.#length + 1 : 1
    this.#tid = tid
    this.#fd = fd
    if (this.#length < WORTHWHILE || !this.#possible || this.timer < 0) return
    const held = this.#take(pid, fd)
    this.#possible = held >= 0 && this.#same(held, tid, fd)
    if (!this.#possible) {
      if (held >= 0) this.#sys.call('close', held)
      return
    }
    this.#held = { tid, fd, held, file }
    this.#setTimer()
  }

  #take(pid: number, fd: number): number {
    const pidfd = this.#sys.call('pidfd_open', pid, 0)
    if (pidfd < 0) return -1
    const held = this.#sys.call('pidfd_getfd', pidfd, fd, 0)
    this.#sys.call('close', pidfd)
    return held
  }

  #same(held: number, tid: number, fd: number): boolean {
    return this.#sys.call('kcmp', process.pid, tid, KCMP_FILE, held, fd) === 0
  }

  #setTimer(): void {
    this.#calls = 0
    const { view, bytes, address } = this.#sys.scratch
    // struct itimerspec: no interval, then the time.
    bytes.fill(0, 0, 32)
    view.setUint32(24, A_MOMENT, true)
    this.#sys.call('timerfd_settime', this.timer, 0, address, 0)
  }

  /** The timer has run out. True if there were no calls meanwhile, so that it is over. */
  isOver(): boolean {
    this.#sys.call('read', this.timer, this.#sys.scratch.address, 8)
    if (this.#held === undefined) return false
    if (this.#calls === 0) return true
    this.#setTimer()
    return false
  }

  /** Something else happens. If the client has closed its descriptors, this is the last close. */
  letGo(): void {
    this.pause()
    this.#length = 0
  }

  /** Nothing happens: the same, but the next call may go on with the streak. */
  pause(): void {
    if (this.#held !== undefined) this.#sys.call('close', this.#held.held)
    this.#held = undefined
  }
}
