import { type AskedCode, type EntryCode, HEAD } from './served.ts'

/** Gives numbers to things of one kind, as they first appear. */
export class Numbers<Thing extends object> {
  readonly #numbers = new WeakMap<Thing, number>()
  #next = 0

  of(thing: Thing): number {
    return this.#numbers.get(thing) ?? this.add(thing)
  }

  has(thing: Thing): boolean {
    return this.#numbers.has(thing)
  }

  add(thing: Thing): number {
    const number = this.#next++
    this.#numbers.set(thing, number)
    return number
  }
}

/** Collects what belongs to one entry, and hands it on when the entry is over. */
export class Notes {
  readonly #take: (record: readonly unknown[]) => void
  readonly #record: unknown[] = []
  #open = false
  /** The system call being served, counted from 1; 0 between calls: what happens then was caused by none. */
  systemCall = 0

  constructor(take: (record: readonly unknown[]) => void) {
    this.#take = take
  }

  /** What is asked outside of every entry changes nothing in the machine. */
  get isOpen(): boolean {
    return this.#open
  }

  /**
   * The machine is entered: `run` does it, `shown` is how its result is noted. What throws is a mistake of
   * ours, and not noted. An entry within another is part of that: the machine itself caused it, and will
   * again.
   */
  enter<T>(
    entry: EntryCode,
    args: readonly unknown[],
    run: () => T,
    shown: (result: T) => unknown = () => undefined,
  ): T {
    if (this.#open) return run()
    this.#open = true
    const record = this.#record
    record.length = 0
    record.push(entry, this.systemCall, undefined)
    for (const arg of args) record.push(arg)
    try {
      const result = run()
      record[2] = shown(result)
      this.#take(record)
      return result
    } finally {
      this.#open = false
    }
  }

  /** Replaces an argument of the entry that was not known at the beginning. */
  argument(index: number, value: unknown): void {
    if (this.#open) this.#record[HEAD + index] = value
  }

  asked(asked: AskedCode, ...values: readonly unknown[]): void {
    if (this.#open) this.#record.push(asked, ...values)
  }
}
