/** The supervisor's end of its channel to the front. */
import { POLLIN } from './kernel.ts'
import type { Report, SupervisorOrder } from './run-protocol.ts'
import type { Sys } from './sys.ts'

const NEWLINE = 10
const F_SETFD = 2
const FD_CLOEXEC = 1
const CHUNK = 4096

export class Control {
  readonly #sys: Sys
  readonly fd: number
  /** Bytes that came behind the order: signals. */
  #pending: number[] = []

  constructor(sys: Sys, fd: number) {
    this.#sys = sys
    this.fd = fd
    sys.call('fcntl', fd, F_SETFD, FD_CLOEXEC)
  }

  /** Waits for the order: one line of JSON. Undefined if the front has gone without one. */
  order(): SupervisorOrder | undefined {
    const { bytes, view, address } = this.#sys.scratch
    let line = Buffer.alloc(0)
    for (;;) {
      view.setInt32(0, this.fd, true)
      view.setInt16(4, POLLIN, true)
      this.#sys.call('ppoll', address, 1, 0, 0, 8)
      const count = this.#sys.call('read', this.fd, address, CHUNK)
      if (count <= 0) return undefined
      const end = bytes.subarray(0, count).indexOf(NEWLINE)
      line = Buffer.concat([line, bytes.subarray(0, end < 0 ? count : end)])
      if (end < 0) continue
      this.#pending = [...bytes.subarray(end + 1, count)]
      return JSON.parse(line.toString('utf8'))
    }
  }

  /** Signals that came with the order. */
  early(): readonly number[] {
    return this.#pending.splice(0)
  }

  /** Signals that the front wants sent; 'gone' if it is. */
  receive(): readonly number[] | 'gone' {
    const { bytes, address } = this.#sys.scratch
    const count = this.#sys.call('read', this.fd, address, 64)
    return count > 0 ? [...bytes.subarray(0, count)] : 'gone'
  }

  report(report: Report): void {
    const text = Buffer.from(`${JSON.stringify(report)}\n`)
    const { bytes, address } = this.#sys.alloc(text.length)
    bytes.set(text)
    this.#sys.call('write', this.fd, address, text.length)
  }
}
