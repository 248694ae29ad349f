/** Interrupts from a device worker: it signals eventfds itself where that is all there is to do. */
import { DeviceWord, INTERRUPT_KINDS, MAX_VECTORS, RequestKind } from './device-worker-words.ts'
import type { Sys } from './sys.ts'
import type { WorkerGate } from './worker-gate.ts'
import type { WorkerRequests } from './worker-requests.ts'

const POLLOUT = 4

export class WorkerInterrupts {
  readonly #sys: Sys
  readonly #gate: WorkerGate
  readonly #requests: WorkerRequests
  readonly #one

  constructor(sys: Sys, gate: WorkerGate, requests: WorkerRequests) {
    this.#sys = sys
    this.#gate = gate
    this.#requests = requests
    this.#one = sys.alloc(8)
    this.#one.view.setBigUint64(0, 1n, true)
  }

  get kind(): (typeof INTERRUPT_KINDS)[number] {
    return INTERRUPT_KINDS[Atomics.load(this.#gate.words, DeviceWord.INTERRUPTS)] ?? 'none'
  }

  /** Within a step, which keeps the descriptor from being closed. */
  message(vector: number): void {
    const { words } = this.#gate
    const descriptor = vector < MAX_VECTORS ? Atomics.load(words, DeviceWord.VECTORS + vector) : -1
    if (descriptor >= 0 && Atomics.load(words, DeviceWord.BUS_MASTER) === 1)
      this.#signal(descriptor)
    else this.#requests.ask(RequestKind.MESSAGE, vector)
  }

  line(asserted: boolean): void {
    this.#requests.ask(RequestKind.LINE, asserted ? 1 : 0)
  }

  /** Looks first: one that blocks would hold us up at its highest value. */
  #signal(descriptor: number): void {
    const { view, address } = this.#sys.scratch
    view.setInt32(0, descriptor, true)
    view.setInt16(4, POLLOUT, true)
    view.setInt16(6, 0, true)
    view.setFloat64(8, 0)
    view.setFloat64(16, 0)
    if (this.#sys.call('ppoll', address, 1, address + 8, 0, 8) > 0)
      this.#sys.call('write', descriptor, this.#one.address, 8)
  }
}
