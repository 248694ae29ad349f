/** What a region held when it was looked at last: clients change it without a call. */

const PAGE = 4096

export class RegionMirror {
  readonly #pages = new Map<number, Uint8Array>()

  /** Copies the bytes at `offset` into `into`. */
  read(offset: number, into: Uint8Array): void {
    this.#each(offset, into.length, (page, at, from, to) => {
      const known = this.#pages.get(page)
      if (known === undefined) into.fill(0, from, to)
      else into.set(known.subarray(at, at + to - from), from)
    })
  }

  write(offset: number, bytes: Uint8Array): void {
    this.#each(offset, bytes.length, (page, at, from, to) => {
      let known = this.#pages.get(page)
      if (known === undefined) {
        known = new Uint8Array(PAGE)
        this.#pages.set(page, known)
      }
      known.set(bytes.subarray(from, to), at)
    })
  }

  /** Is this what is there? */
  matches(offset: number, bytes: Uint8Array): boolean {
    let same = true
    this.#each(offset, bytes.length, (page, at, from, to) => {
      const known = this.#pages.get(page)
      for (let i = from; same && i < to; i++) same = bytes[i] === (known?.[at + i - from] ?? 0)
    })
    return same
  }

  #each(
    offset: number,
    length: number,
    visit: (page: number, at: number, from: number, to: number) => void,
  ): void {
    for (let from = 0; from < length; ) {
      const at = (offset + from) % PAGE
      const to = Math.min(length, from + PAGE - at)
      visit(Math.floor((offset + from) / PAGE), at, from, to)
      from = to
    }
  }
}
