/** The supervisor's side of the steps of a device worker (device-worker-words.ts). */
import { DeviceWord } from './device-worker-words.ts'

/** Far longer than a step takes: a worker that has died must not hang the supervisor. */
const PATIENCE = 10_000

export class WorkerHold {
  readonly #words: Int32Array

  constructor(words: Int32Array) {
    this.#words = words
  }

  /** Returns when the step that may be under way is over; the next may have begun. */
  settle(): void {
    const words = this.#words
    const step = Atomics.load(words, DeviceWord.STEP)
    if ((step & 1) === 0) return
    Atomics.store(words, DeviceWord.AWAITED, 1)
    Atomics.wait(words, DeviceWord.STEP, step, PATIENCE)
    Atomics.store(words, DeviceWord.AWAITED, 0)
  }

  /** From now on no step is under way, until as many `release`s as there were `begin`s. */
  begin(): void {
    Atomics.add(this.#words, DeviceWord.HELD, 1)
    this.settle()
  }

  release(): void {
    Atomics.sub(this.#words, DeviceWord.HELD, 1)
    Atomics.notify(this.#words, DeviceWord.HELD)
  }

  during(run: () => void): void {
    this.begin()
    try {
      run()
    } finally {
      this.release()
    }
  }
}
