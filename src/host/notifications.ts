/** The listener: receives trapped calls, answers them, puts descriptors into the caller (seccomp_unotify(2)). */
import {
  SECCOMP_ADDFD_FLAG_SEND,
  SECCOMP_IOCTL_NOTIF_ADDFD,
  SECCOMP_IOCTL_NOTIF_ID_VALID,
  SECCOMP_IOCTL_NOTIF_RECV,
  SECCOMP_IOCTL_NOTIF_SEND,
  SECCOMP_IOCTL_NOTIF_SET_FLAGS,
  SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP,
  SECCOMP_USER_NOTIF_FLAG_CONTINUE,
} from './kernel.ts'
import type { Sys } from './sys.ts'

const NOTIF_SIZE = 80
const RESPONSE_SIZE = 24
const ADDFD_SIZE = 24
const ARGUMENTS = 32

/** One trapped call at a time; its members are valid until the next `receive`. */
export class Notifications {
  readonly #sys: Sys
  readonly #listener: number
  readonly #notif
  readonly #response
  readonly #addfd
  readonly #arguments: BigUint64Array
  /** Thread that made the call. */
  tid = 0
  /** System call number. */
  nr = 0

  constructor(sys: Sys, listener: number) {
    this.#sys = sys
    this.#listener = listener
    this.#notif = sys.alloc(NOTIF_SIZE)
    this.#response = sys.alloc(RESPONSE_SIZE)
    this.#addfd = sys.alloc(ADDFD_SIZE)
    this.#arguments = new BigUint64Array(this.#notif.bytes.buffer, ARGUMENTS, 6)
    // Saves a trip through another processor's run queue (Linux 6.6); an older kernel refuses, no matter.
    sys.call('ioctl', listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
  }

  /** False when there is nothing to serve: the caller was killed meanwhile (ENOENT), or a signal came. */
  receive(): boolean {
    this.#notif.bytes.fill(0)
    const result = this.#sys.call(
      'ioctl',
      this.#listener,
      SECCOMP_IOCTL_NOTIF_RECV,
      this.#notif.address,
    )
    if (result < 0) return false
    this.tid = this.#notif.view.getUint32(8, true)
    this.nr = this.#notif.view.getInt32(16, true)
    return true
  }

  /** Argument `index` as the 64-bit register value. */
  argument(index: number): bigint {
    return this.#arguments[index] ?? 0n
  }

  /** The low 32 bits of an argument as a C int. */
  int(index: number): number {
    return this.#notif.view.getInt32(ARGUMENTS + 8 * index, true)
  }

  /** True while the caller still waits, so that its thread ID still means that thread. */
  valid(): boolean {
    return (
      this.#sys.call('ioctl', this.#listener, SECCOMP_IOCTL_NOTIF_ID_VALID, this.#notif.address) ===
      0
    )
  }

  /** The call returns `value`. */
  succeed(value: number | bigint): void {
    this.#send(BigInt(value), 0, 0)
  }

  /** The call fails with `errno` (positive). */
  fail(errno: number): void {
    this.#send(0n, -errno, 0)
  }

  /** The kernel executes the call as if it had not been trapped. */
  proceed(): void {
    this.#send(0n, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE)
  }

  #send(value: bigint, error: number, flags: number): void {
    const { view, bytes } = this.#response
    copyId(this.#notif.bytes, bytes)
    view.setBigInt64(8, value, true)
    view.setInt32(16, error, true)
    view.setUint32(20, flags, true)
    // ENOENT: the caller has been killed. Nobody waits for the answer then.
    this.#sys.call('ioctl', this.#listener, SECCOMP_IOCTL_NOTIF_SEND, this.#response.address)
  }

  /**
   * Puts a descriptor for our `fd` into the caller, at the lowest free number, which is returned (or an
   * errno negated). With `answer` the call returns that number in the same step.
   */
  addFd(fd: number, options: { closeOnExec: boolean; answer: boolean }): number {
    const { view, bytes } = this.#addfd
    copyId(this.#notif.bytes, bytes)
    view.setUint32(8, options.answer ? SECCOMP_ADDFD_FLAG_SEND : 0, true)
    view.setUint32(12, fd, true)
    view.setUint32(16, 0, true)
    view.setUint32(20, options.closeOnExec ? 0o2000000 : 0, true)
    return this.#sys.call('ioctl', this.#listener, SECCOMP_IOCTL_NOTIF_ADDFD, this.#addfd.address)
  }
}

const copyId = (from: Uint8Array, to: Uint8Array): void => {
  for (let i = 0; i < 8; i++) to[i] = from[i] ?? 0
}
