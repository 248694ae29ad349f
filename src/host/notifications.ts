/** The listener: receives trapped calls, answers them, puts descriptors into the caller (seccomp_unotify(2)). */
import {
  SECCOMP_ADDFD_FLAG_SEND,
  SECCOMP_IOCTL_NOTIF_ADDFD,
  SECCOMP_IOCTL_NOTIF_ID_VALID,
  SECCOMP_IOCTL_NOTIF_SEND,
  SECCOMP_IOCTL_NOTIF_SET_FLAGS,
  SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP,
  SECCOMP_USER_NOTIF_FLAG_CONTINUE,
} from './kernel.ts'
import type { Block, Sys } from './sys.ts'

/** Offsets in struct seccomp_notif. */
export const Notif = { ID: 0, PID: 8, NR: 16, ARGUMENTS: 32, SIZE: 80 } as const
const RESPONSE_SIZE = 24
const ADDFD_SIZE = 24
const TWO_32 = 0x1_0000_0000

/**
 * One trapped call at a time; its members are valid until the next is received.
 */
export class Notifications {
  readonly #sys: Sys
  readonly listener: number
  /** struct seccomp_notif and seccomp_notif_resp. */
  readonly notif: Block
  readonly response: Block
  readonly #addfd: Block
  readonly #arguments: BigUint64Array
  readonly #notifWords: Int32Array
  readonly #responseWords: Int32Array
  #answered = true
  #isAnswerToSend = false
  /** Thread that made the call. */
  tid = 0
  /** System call number. */
  nr = 0

  constructor(sys: Sys, listener: number) {
    this.#sys = sys
    this.listener = listener
    this.notif = sys.alloc(Notif.SIZE)
    this.response = sys.alloc(RESPONSE_SIZE)
    this.#addfd = sys.alloc(ADDFD_SIZE)
    this.#arguments = new BigUint64Array(this.notif.bytes.buffer, Notif.ARGUMENTS, 6)
    this.#notifWords = new Int32Array(this.notif.bytes.buffer)
    this.#responseWords = new Int32Array(this.response.bytes.buffer)
    // Saves a trip through another processor's run queue (Linux 6.6); an older kernel refuses, no matter.
    sys.call('ioctl', listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
  }

  /** `notif` has been filled. */
  received(): void {
    this.tid = this.notif.view.getUint32(Notif.PID, true)
    this.nr = this.notif.view.getInt32(Notif.NR, true)
    this.#answered = false
  }

  /** Argument `index` as the 64-bit register value. */
  argument(index: number): bigint {
    return this.#arguments[index] ?? 0n
  }

  /** The low 32 bits of an argument as a C int. */
  int(index: number): number {
    return this.#notifWords[Notif.ARGUMENTS / 4 + 2 * index] ?? 0
  }

  /** True while the caller still waits, so that its thread ID still means that thread. */
  valid(): boolean {
    return (
      this.#sys.call('ioctl', this.listener, SECCOMP_IOCTL_NOTIF_ID_VALID, this.notif.address) === 0
    )
  }

  /** The call returns `value`. */
  succeed(value: number): void {
    this.#answer(value, 0, 0)
    this.send()
  }

  /** The call fails with `errno` (positive). */
  fail(errno: number): void {
    this.#answer(0, -errno, 0)
    this.send()
  }

  /** The kernel executes the call as if it had not been trapped. */
  proceed(): void {
    this.#answer(0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE)
    this.send()
  }

  /** As `succeed`, or as `fail` if negative; sent when the supervisor waits for the next call, which is cheaper (turn.ts). */
  return(value: number): void {
    this.#answer(Math.max(value, 0), Math.min(value, 0), 0)
  }

  #answer(value: number, error: number, flags: number): void {
    // A call has one answer.
    if (this.#answered) return
    this.#answered = true
    this.#isAnswerToSend = true
    const notif = this.#notifWords
    const response = this.#responseWords
    response[0] = notif[0] ?? 0
    response[1] = notif[1] ?? 0
    response[2] = value | 0
    response[3] = Math.floor(value / TWO_32)
    response[4] = error
    response[5] = flags
  }

  /** Whether `response` is still to be sent; whoever asks sends it. */
  takeAnswer(): boolean {
    const isToSend = this.#isAnswerToSend
    this.#isAnswerToSend = false
    return isToSend
  }

  /** Sends the answer now, if there is one. */
  send(): void {
    // ENOENT: the caller has been killed. Nobody waits for the answer then.
    if (this.takeAnswer())
      this.#sys.call('ioctl', this.listener, SECCOMP_IOCTL_NOTIF_SEND, this.response.address)
  }

  /** The caller waits until the function that is returned is called, with what its call returns or an errno negated. */
  defer(): (result: number) => void {
    this.#answered = true
    const { bytes, view, address } = this.#sys.alloc(RESPONSE_SIZE)
    bytes.set(this.notif.bytes.subarray(0, 8))
    return (result) => {
      view.setBigInt64(8, BigInt(Math.max(result, 0)), true)
      view.setInt32(16, Math.min(result, 0), true)
      this.#sys.call('ioctl', this.listener, SECCOMP_IOCTL_NOTIF_SEND, address)
    }
  }

  /**
   * Puts a descriptor for our `fd` into the caller, at the lowest free number, which is returned (or an
   * errno negated). With `answer` the call returns that number in the same step.
   */
  addFd(fd: number, options: { closeOnExec: boolean; answer: boolean }): number {
    const { view, bytes } = this.#addfd
    bytes.set(this.notif.bytes.subarray(Notif.ID, Notif.ID + 8))
    view.setUint32(8, options.answer ? SECCOMP_ADDFD_FLAG_SEND : 0, true)
    view.setUint32(12, fd, true)
    view.setUint32(16, 0, true)
    view.setUint32(20, options.closeOnExec ? 0o2000000 : 0, true)
    const { address } = this.#addfd
    const result = this.#sys.call('ioctl', this.listener, SECCOMP_IOCTL_NOTIF_ADDFD, address)
    if (options.answer && result >= 0) this.#answered = true
    return result
  }
}
