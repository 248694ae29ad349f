/** The worker's side of the steps (device-worker-words.ts). */
import { DeviceWord } from './device-worker-words.ts'

/** The function was reset: what was being worked on is to be forgotten. */
export class FunctionReset extends Error {
  override readonly name = 'FunctionReset'
}

export class WorkerGate {
  readonly words: Int32Array
  /** Called at the beginning of each step: what the last one knew may have changed. */
  entered: () => void = () => {}
  #resets = 0

  constructor(words: Int32Array) {
    this.words = words
  }

  /** Begins the first step of something new. True: the function was reset since the last time. */
  begin(): boolean {
    this.#wait()
    const resets = Atomics.load(this.words, DeviceWord.RESETS)
    const reset = resets !== this.#resets
    this.#resets = resets
    return reset
  }

  /** Begins a further step of what was begun. Throws FunctionReset where that is to be forgotten. */
  enter(): void {
    this.#wait()
    if (Atomics.load(this.words, DeviceWord.RESETS) === this.#resets) return
    this.leave()
    throw new FunctionReset()
  }

  /** Waits as long as the supervisor holds the worker up. */
  #wait(): void {
    const { words } = this
    for (;;) {
      Atomics.add(words, DeviceWord.STEP, 1)
      const held = Atomics.load(words, DeviceWord.HELD)
      if (held === 0) break
      this.leave()
      Atomics.wait(words, DeviceWord.HELD, held)
    }
    this.entered()
  }

  leave(): void {
    const { words } = this
    Atomics.add(words, DeviceWord.STEP, 1)
    if (Atomics.load(words, DeviceWord.AWAITED) !== 0) Atomics.notify(words, DeviceWord.STEP)
  }

  /** Ends the step and begins another if somebody waits for that. Nothing found out before holds after it. */
  breathe(): void {
    if (Atomics.load(this.words, DeviceWord.AWAITED) === 0) return
    this.leave()
    this.enter()
  }

  /** Does something that may take long and needs no step. */
  outside<T>(run: () => T): T {
    this.leave()
    const result = run()
    this.enter()
    return result
  }
}
