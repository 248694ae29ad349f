/** What a device worker asks of the supervisor, one thing at a time. It waits for the answer, outside of steps. */
import type { DeviceWorkerShares } from './device-worker-words.ts'
import { DeviceWord, REQUEST_NUMBERS, type RequestKind } from './device-worker-words.ts'
import type { Sys } from './sys.ts'
import type { WorkerGate } from './worker-gate.ts'

type Kind = (typeof RequestKind)[keyof typeof RequestKind]

export class WorkerRequests {
  readonly #sys: Sys
  readonly #gate: WorkerGate
  readonly #attention: number
  /** Arguments, then the answer. */
  readonly #numbers: Float64Array
  readonly data: Uint8Array
  readonly #one

  constructor(sys: Sys, gate: WorkerGate, shares: DeviceWorkerShares) {
    this.#sys = sys
    this.#gate = gate
    this.#attention = shares.attention
    this.#numbers = new Float64Array(shares.request, 0, REQUEST_NUMBERS)
    this.data = new Uint8Array(shares.request, REQUEST_NUMBERS * 8)
    this.#one = sys.alloc(8)
    this.#one.view.setBigUint64(0, 1n, true)
  }

  /** The answer, good until the next request. A step that was under way is another one afterwards. */
  ask(kind: Kind, ...values: readonly number[]): Float64Array {
    return this.#gate.outside(() => this.askOutside(kind, ...values))
  }

  /** The same where no step is under way. */
  askOutside(kind: Kind, ...values: readonly number[]): Float64Array {
    const { words } = this.#gate
    this.#numbers[0] = kind
    this.#numbers.set(values, 1)
    Atomics.store(words, DeviceWord.ASKED, 1)
    this.#sys.call('write', this.#attention, this.#one.address, 8)
    while (Atomics.load(words, DeviceWord.ASKED) === 1) Atomics.wait(words, DeviceWord.ASKED, 1)
    return this.#numbers
  }
}
