/** Time for simulated devices: the supervisor's loop sleeps no longer than until the next call back. */

interface Timer {
  readonly due: number
  readonly run: () => void
}

export class HostTimers {
  /** By due time. */
  #timers: Timer[] = []

  /** Calls back once, after `milliseconds` or a little later; returns how to cancel. */
  after(milliseconds: number, run: () => void): () => void {
    const timer = { due: performance.now() + milliseconds, run }
    const at = this.#timers.findIndex(({ due }) => due > timer.due)
    this.#timers.splice(at < 0 ? this.#timers.length : at, 0, timer)
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer)
    }
  }

  /** Nanoseconds until the next one is due, 0 if it is already; undefined if none is set. */
  untilNext(): number | undefined {
    const next = this.#timers[0]
    return next === undefined
      ? undefined
      : Math.max(0, Math.ceil((next.due - performance.now()) * 1e6))
  }

  runDue(): void {
    for (;;) {
      const next = this.#timers[0]
      if (next === undefined || next.due > performance.now()) return
      this.#timers.shift()
      next.run()
    }
  }
}
