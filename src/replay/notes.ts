import type { UserVa } from '../abi/brands.ts'
import type { ValueEncoder } from '../watch/recording-encoder.ts'
import { Asked, type AskedCode, type EntryCode, putContent, putWritten } from './served.ts'

/** Where a record goes: its values, then the word that they are complete. */
export interface ServedSink {
  readonly servedValues: ValueEncoder
  served(): void
}

/** Writes down what belongs to one entry, as it happens. */
export class Notes {
  readonly #sink: ServedSink
  readonly #values: ValueEncoder
  #open = false
  /** The system call being served, counted from 1; 0 between calls: what happens then was caused by none. */
  systemCall = 0

  constructor(sink: ServedSink) {
    this.#sink = sink
    this.#values = sink.servedValues
  }

  /** What is asked outside of every entry changes nothing in the machine. */
  get isOpen(): boolean {
    return this.#open
  }

  /**
   * The machine is entered: `run` does it, `shown` is how its result is noted. An entry within another is
   * part of that: the machine itself caused it, and will again.
   */
  enter<T>(
    entry: EntryCode,
    args: readonly unknown[],
    run: () => T,
    shown: (result: T) => unknown = () => undefined,
  ): T {
    if (this.#open) return run()
    const values = this.begin(entry)
    for (const arg of args) values.value(arg)
    try {
      const result = run()
      this.end(shown(result))
      return result
    } finally {
      this.endThrown()
    }
  }

  /** The same by hand: the arguments follow, then either end. Not within another entry. */
  begin(entry: EntryCode): ValueEncoder {
    this.#open = true
    const values = this.#values
    values.number(entry)
    values.number(this.systemCall)
    return values
  }

  end(result: unknown): void {
    this.#values.number(Asked.RESULT)
    this.#values.value(result)
    this.#open = false
    this.#sink.served()
  }

  /** Nothing, after the proper end. */
  endThrown(): void {
    if (!this.#open) return
    this.#values.number(Asked.THROWN)
    this.#open = false
    this.#sink.served()
  }

  asked(asked: AskedCode, ...answer: readonly unknown[]): void {
    if (!this.#open) return
    this.#values.number(asked)
    for (const value of answer) this.#values.value(value)
  }

  /** Memory of the calling thread was read: at every call, so it takes no detour. */
  read(address: UserVa, length: number, bytes: Uint8Array): void {
    if (!this.#open) return
    const values = this.#values
    values.number(Asked.READ)
    values.bigint(address)
    values.number(length)
    putContent(values, bytes)
  }

  /** And written. */
  written(address: UserVa, bytes: Uint8Array, count: number): void {
    if (!this.#open) return
    const values = this.#values
    values.number(Asked.WRITE)
    values.bigint(address)
    values.number(bytes.length)
    putWritten(values, bytes)
    values.number(count)
  }
}
