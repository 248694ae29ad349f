/**
 * What comes between one call and the next, as one sequence of system calls: the answer to the last call is
 * sent, we wait, and the next call is received. In a streak (streak.ts) it goes on: is it an ioctl of the
 * same thread on the same descriptor, which still is the same file? Then the beginning of its argument is
 * read.
 */
import type { ClientMemory } from './client-memory.ts'
import {
  EPOLL_CLOEXEC,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  POLLIN,
  SECCOMP_IOCTL_NOTIF_RECV,
  SECCOMP_IOCTL_NOTIF_SEND,
} from './kernel.ts'
import { Notif, type Notifications } from './notifications.ts'
import { type Held, KCMP_FILE } from './streak.ts'
import type { Block, Sys } from './sys.ts'
import { resultOf, type Sequence, type Step } from './syscall-sequence.ts'

const POLLFD_SIZE = 8
const ALL = 0xffff_ffff_ffff_ffffn
const LOW = 0xffff_ffffn
/** Of no thread: nothing goes on. */
const NOBODY = 0xffff_ffff

// Numbers of the steps.
const SEND = 0
const WAIT = 1
const LISTENER_ALONE = 3
const CLEAR = 4
const RECEIVE = 5
const SAME_THREAD = 7
const SAME_DESCRIPTOR = 8
const COMPARE = 10
const SAME_FILE = 11
const READ = 12
const END = 13

/**
 * `look`: something is ready, by `ready`; a call is not received yet. `nothing`: the caller is gone.
 * `call`: received. `goes-on`: received, and known to be an ioctl that goes on with the streak.
 */
export type Arrival = 'look' | 'nothing' | 'call' | 'goes-on'

export class Turn {
  readonly #notifications: Notifications
  readonly #memory: ClientMemory
  readonly #sys: Sys
  /** The listener, and an epoll of the others: one descriptor is waited for more cheaply than many. */
  readonly #waitedFor: Block
  readonly #others: Block
  readonly #othersCount: number
  readonly #epoll: number
  readonly #sequence: Sequence
  #followed: Held | undefined

  /** `others` are polled beside the listener. */
  constructor(
    sys: Sys,
    notifications: Notifications,
    memory: ClientMemory,
    others: readonly number[],
  ) {
    this.#sys = sys
    this.#notifications = notifications
    this.#memory = memory
    this.#othersCount = others.length
    this.#others = pollfds(sys, others)
    // The listener first: what else is ready is then looked at after it (supervise.ts).
    this.#epoll = epollOf(sys, others)
    this.#waitedFor = pollfds(sys, [notifications.listener, this.#epoll])
    this.#sequence = sys.sequence(END, (table) => this.#steps(sys, table))
    this.follow(undefined)
  }

  #steps(sys: Sys, table: Block): Step[] {
    const { listener, notif, response } = this.#notifications
    const { first } = this.#memory
    const of = (offset: number) => ({ block: notif, offset })
    const isIoctl = BigInt(sys.arch.nr.ioctl ?? NOBODY)
    const readsBySystemCall = this.#memory.access === 'process_vm'
    return [
      // ENOENT: the caller has been killed. Nobody waits for the answer then.
      { call: 'ioctl', args: [listener, SECCOMP_IOCTL_NOTIF_SEND, response.address] },
      { call: 'ppoll', args: [this.#waitedFor.address, 2, 0, 0, 8] },
      { expect: resultOf(table, WAIT), mask: ALL, is: 1n },
      {
        expect: { block: this.#waitedFor, offset: 0 },
        mask: 0xffffn << 48n,
        is: BigInt(POLLIN) << 48n,
      },
      // The kernel insists.
      { clear: notif },
      { call: 'ioctl', args: [listener, SECCOMP_IOCTL_NOTIF_RECV, notif.address], orStop: true },
      { expect: of(Notif.NR), mask: LOW, is: isIoctl },
      { expect: of(Notif.PID), mask: LOW, is: 0n },
      { expect: of(Notif.ARGUMENTS), mask: LOW, is: 0n },
      { copy: of(Notif.ARGUMENTS + 16), to: { block: first.there, offset: 0 } },
      { call: 'kcmp', args: [process.pid, 0, KCMP_FILE, 0, 0], orStop: true },
      { expect: resultOf(table, COMPARE), mask: ALL, is: 0n },
      readsBySystemCall
        ? {
            call: 'process_vm_readv',
            args: [0, first.here.address, 1, first.there.address, 1, 0],
            orStop: true,
          }
        : { expect: of(0), mask: 0n, is: 1n },
    ]
  }

  /** The streak that the next calls may go on with. */
  follow(held: Held | undefined): void {
    if (held === this.#followed) return
    this.#followed = held
    this.#sequence.set(SAME_THREAD, 2, held?.tid ?? NOBODY)
    if (held === undefined) return
    this.#sequence.set(SAME_DESCRIPTOR, 2, held.fd >>> 0)
    this.#sequence.set(COMPARE, 1, held.tid)
    this.#sequence.set(COMPARE, 3, held.held)
    this.#sequence.set(COMPARE, 4, held.fd)
    this.#sequence.set(READ, 0, held.tid)
  }

  /** Answers the last call if that is still to be done, and waits; `timeout` is the address of a time, 0 for ever. */
  next(timeout: number): Arrival {
    const notifications = this.#notifications
    const sequence = this.#sequence
    sequence.set(WAIT, 2, timeout)
    const stopped = sequence.run(notifications.takeAnswer() ? SEND : WAIT)
    if (stopped <= LISTENER_ALONE) {
      this.#lookAtOthers(sequence.result(WAIT))
      return 'look'
    }
    return this.#received(stopped)
  }

  /** Receives the call that is known to be there, since the listener is ready. */
  receive(): Arrival {
    return this.#received(this.#sequence.run(CLEAR))
  }

  #received(stopped: number): Arrival {
    if (stopped === RECEIVE) return 'nothing'
    this.#notifications.received()
    if (stopped <= SAME_FILE) return 'call'
    this.#memory.firstRead(stopped === END ? this.#sequence.result(READ) : 0)
    return 'goes-on'
  }

  /** POLL* bits of the listener. */
  get listener(): number {
    return readiness(this.#waitedFor, 0)
  }

  /** The same of the others, by their index. */
  ready(index: number): number {
    return readiness(this.#others, index)
  }

  /** It is polled no more. */
  forget(index: number): void {
    const fd = this.#others.view.getInt32(POLLFD_SIZE * index, true)
    this.#sys.call('epoll_ctl', this.#epoll, EPOLL_CTL_DEL, fd)
    this.#others.view.setInt32(POLLFD_SIZE * index, -1, true)
  }

  #lookAtOthers(waited: number): void {
    const { scratch } = this.#sys
    // Interrupted by a signal: what was ready before says nothing.
    if (waited < 0) this.#waitedFor.view.setInt32(4, POLLIN, true)
    scratch.bytes.fill(0, 0, 16)
    this.#sys.call('ppoll', this.#others.address, this.#othersCount, scratch.address, 0, 8)
  }
}

const pollfds = (sys: Sys, fds: readonly number[]): Block => {
  const block = sys.alloc(POLLFD_SIZE * fds.length)
  for (const [i, fd] of fds.entries()) {
    block.view.setInt32(POLLFD_SIZE * i, fd, true)
    block.view.setInt16(POLLFD_SIZE * i + 4, POLLIN, true)
  }
  return block
}

const readiness = ({ view }: Block, index: number): number =>
  view.getInt16(POLLFD_SIZE * index + 6, true)

/** Readable when one of these is. */
const epollOf = (sys: Sys, fds: readonly number[]): number => {
  const epoll = sys.call('epoll_create1', EPOLL_CLOEXEC)
  const { view, address } = sys.scratch
  view.setUint32(0, POLLIN, true)
  for (const fd of fds) {
    const result = sys.call('epoll_ctl', epoll, EPOLL_CTL_ADD, fd, address)
    if (result < 0) throw new Error(`epoll_ctl failed with errno ${-result}`)
  }
  return epoll
}
