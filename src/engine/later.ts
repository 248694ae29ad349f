/** An answer that has to wait for something else to happen, as a call does that blocks in Linux. */
export class Later<T> {
  #answer: { readonly value: T } | undefined
  readonly #listeners: ((value: T) => void)[] = []

  /** It is there now; counts once. */
  resolve(value: T): void {
    if (this.#answer !== undefined) return
    this.#answer = { value }
    for (const listener of this.#listeners.splice(0)) listener(value)
  }

  /** Calls back with the answer, at once if it is there. */
  when(listener: (value: T) => void): void {
    if (this.#answer === undefined) this.#listeners.push(listener)
    else listener(this.#answer.value)
  }
}
