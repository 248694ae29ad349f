/**
 * Eventfds of clients that a device signals or waits for: held as descriptors of our own, so that a
 * client may close its own (06 §6.2).
 */
import type { HeldEventfd } from '../engine/ports.ts'
import type { EventfdAccess } from './eventfd-access.ts'
import { eventfdId, eventfdsOf } from './eventfd-ids.ts'
import { EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL } from './kernel.ts'
import { MadeEventfds } from './made-eventfds.ts'
import type { Sys } from './sys.ts'

const EPOLLIN = 1
const EPOLLET = 0x8000_0000
const POLLOUT = 4
const MOST_AT_ONCE = 32

export class Eventfds {
  /** Readable while an eventfd that somebody waits for is. */
  readonly epoll: number
  readonly #sys: Sys
  readonly #events
  readonly #one
  /** struct epoll_event is packed on x86-64 only. */
  readonly #stride: number
  /** Processes that may have eventfds. */
  clients: () => Iterable<number> = () => []
  readonly #listeners = new Map<number, Set<() => void>>()

  /** Where eventfds cannot be taken: those that were made here. */
  readonly made: MadeEventfds | undefined

  constructor(sys: Sys, access: EventfdAccess) {
    this.#sys = sys
    this.made = access === 'made' ? new MadeEventfds(sys) : undefined
    this.#stride = sys.arch.name === 'x64' ? 12 : 16
    this.#events = sys.alloc(MOST_AT_ONCE * this.#stride)
    this.#one = sys.alloc(8)
    this.epoll = sys.call('epoll_create1', EPOLL_CLOEXEC)
  }

  /** Descriptor `fd` of process `pid`, which is an eventfd; undefined where the kernel does not give it to us. */
  hold(pid: number, fd: number): HeldEventfd | undefined {
    const sys = this.#sys
    if (this.made !== undefined) {
      const made = this.made.find(pid, fd)
      return made === undefined ? undefined : this.#wrap(made)
    }
    const pidfd = sys.call('pidfd_open', pid, 0)
    if (pidfd < 0) return undefined
    const held = sys.call('pidfd_getfd', pidfd, fd, 0)
    sys.call('close', pidfd)
    return held < 0 ? undefined : this.#wrap(held)
  }

  #wrap(fd: number): HeldEventfd {
    let open = true
    return {
      descriptor: fd,
      signal: () => this.#signal(fd),
      drain: () => this.#drain(fd),
      onSignal: (listener) => this.#listen(fd, listener),
      abandoned: () => this.#abandoned(fd),
      close: () => {
        if (open) this.#sys.call('close', fd)
        open = false
      },
    }
  }

  /** Asks the kernel which eventfd each of the clients' descriptors is. */
  #abandoned(fd: number): boolean {
    const wanted = eventfdId('self', fd)
    if (wanted === undefined) return false
    for (const pid of this.clients())
      for (const id of eventfdsOf(pid)) if (id === wanted) return false
    return true
  }

  /** Poll first: a blocking eventfd at its highest value would block us. */
  #readiness(fd: number, events: number): boolean {
    const { view, address } = this.#sys.scratch
    view.setInt32(0, fd, true)
    view.setInt16(4, events, true)
    view.setInt16(6, 0, true)
    // A zero timeout: two zero words behind the pollfd.
    view.setBigInt64(8, 0n, true)
    view.setBigInt64(16, 0n, true)
    return this.#sys.call('ppoll', address, 1, address + 8, 0, 8) > 0
  }

  #signal(fd: number): void {
    if (!this.#readiness(fd, POLLOUT)) return
    this.#one.view.setBigUint64(0, 1n, true)
    this.#sys.call('write', fd, this.#one.address, 8)
  }

  #drain(fd: number): bigint {
    if (!this.#readiness(fd, EPOLLIN)) return 0n
    return this.#sys.call('read', fd, this.#one.address, 8) === 8
      ? this.#one.view.getBigUint64(0, true)
      : 0n
  }

  /** Calls back when an eventfd of ours becomes readable. */
  watch(fd: number, listener: () => void): void {
    this.#listen(fd, listener)
  }

  #listen(fd: number, listener: () => void): () => void {
    const listeners = this.#listeners.get(fd) ?? new Set()
    if (listeners.size === 0) {
      this.#listeners.set(fd, listeners)
      this.#watch(EPOLL_CTL_ADD, fd)
    }
    listeners.add(listener)
    if (this.#readiness(fd, EPOLLIN)) listener()
    return () => {
      listeners.delete(listener)
      if (listeners.size > 0 || !this.#listeners.delete(fd)) return
      this.#watch(EPOLL_CTL_DEL, fd)
    }
  }

  /** Edge-triggered: one call back for each signal, whoever drains the counter. */
  #watch(operation: number, fd: number): void {
    const { view, address } = this.#sys.scratch
    view.setUint32(0, (EPOLLIN | EPOLLET) >>> 0, true)
    view.setBigUint64(this.#stride - 8, BigInt(fd), true)
    this.#sys.call('epoll_ctl', this.epoll, operation, fd, address)
  }

  /** `epoll` is readable: calls back whoever waits. */
  dispatch(): void {
    const { view, address } = this.#events
    const count = this.#sys.call('epoll_pwait', this.epoll, address, MOST_AT_ONCE, 0, 0, 8)
    const ready = Array.from({ length: Math.max(0, count) }, (_, i) =>
      Number(view.getBigUint64((i + 1) * this.#stride - 8, true)),
    )
    for (const fd of ready) for (const listener of [...(this.#listeners.get(fd) ?? [])]) listener()
  }
}
