/**
 * Fault injection (05 §A.11): "fail the Nth fallible step that this thread comes to". Per thread a
 * countdown; every fallible step executed while it is not zero counts it down, and the step that
 * brings it to zero fails. The unwinding after such a failure is what is tested.
 *
 * The host offers it as /proc/self/task/TID/fail-nth, `run` as an option, the library as an argument.
 */
import type { FallibleStep } from './ports.ts'

export interface ArmedFault {
  /** Steps to go, the failing one included; 0 once it has failed. */
  readonly remaining: number
  /** The step that failed, once it has. */
  readonly failedAt?: FallibleStep
}

export class FaultInjector {
  readonly #threads = new Map<number, { remaining: number; only?: ReadonlySet<FallibleStep> }>()
  readonly #failedAt = new Map<number, FallibleStep>()

  /**
   * Makes the nth (from 1) fallible step of the thread fail; 0 disarms. With `only`, other kinds of step
   * are neither counted nor failed.
   */
  arm(tid: number, nth: number, only?: Iterable<FallibleStep>): void {
    this.#failedAt.delete(tid)
    if (nth === 0) this.#threads.delete(tid)
    else
      this.#threads.set(tid, {
        remaining: nth,
        ...(only === undefined ? {} : { only: new Set(only) }),
      })
  }

  /** What is left to count: 0 when it has failed or was never armed. */
  state(tid: number): ArmedFault {
    const remaining = this.#threads.get(tid)?.remaining ?? 0
    const failedAt = this.#failedAt.get(tid)
    return failedAt === undefined ? { remaining } : { remaining, failedAt }
  }

  /** Asked at every fallible step; true once, when the countdown of this thread reaches zero. */
  fails(tid: number, step: FallibleStep): boolean {
    const armed = this.#threads.get(tid)
    if (armed === undefined) return false
    if (armed.only !== undefined && !armed.only.has(step)) return false
    armed.remaining--
    if (armed.remaining > 0) return false
    this.#threads.delete(tid)
    this.#failedAt.set(tid, step)
    return true
  }

  /** The thread is gone. */
  forget(tid: number): void {
    this.#threads.delete(tid)
    this.#failedAt.delete(tid)
  }
}

/** Text written to a fail-nth file as a count, 0 to 2^32-1; undefined where Linux answers EINVAL. */
export const parseFailNth = (text: string): number | undefined => {
  const digits = /^\+?(0x[0-9a-f]+|[0-9]+)\n?$/i.exec(text)?.[1]
  if (digits === undefined) return undefined
  const octal = /^0[0-9]+$/.test(digits)
  if (octal && /[89]/.test(digits)) return undefined
  const value = octal ? Number.parseInt(digits, 8) : Number(digits)
  return value <= 0xffff_ffff ? value : undefined
}
