/** The registers of BAR 0 as a device worker sees them: the pages that clients map, or their place before that. */
import { DeviceWord } from './device-worker-words.ts'
import type { Sys } from './sys.ts'
import type { WorkerGate } from './worker-gate.ts'

export class WorkerRegisters {
  readonly #sys: Sys
  readonly #gate: WorkerGate
  readonly #home: Uint32Array
  #words: Uint32Array
  #low = 0
  #high = 0

  constructor(sys: Sys, gate: WorkerGate, bar: SharedArrayBuffer) {
    this.#sys = sys
    this.#gate = gate
    this.#home = new Uint32Array(bar)
    this.#words = this.#home
    gate.entered = () => this.#locate()
  }

  /** Clients have mapped it: what they store does not trap. */
  get isMapped(): boolean {
    return this.#low !== 0 || this.#high !== 0
  }

  #locate(): void {
    const { words } = this.#gate
    const low = Atomics.load(words, DeviceWord.BAR_LOW)
    const high = Atomics.load(words, DeviceWord.BAR_HIGH)
    if (low === this.#low && high === this.#high) return
    this.#low = low
    this.#high = high
    const address = (high >>> 0) * 2 ** 32 + (low >>> 0)
    const { byteLength } = this.#home
    const bytes = address === 0 ? undefined : this.#sys.at(address, byteLength)
    this.#words = bytes
      ? new Uint32Array(bytes.buffer, bytes.byteOffset, byteLength / 4)
      : this.#home
  }

  load(offset: number): number {
    return Atomics.load(this.#words, offset >>> 2)
  }

  store(offset: number, value: number): void {
    Atomics.store(this.#words, offset >>> 2, value >>> 0)
  }
}
