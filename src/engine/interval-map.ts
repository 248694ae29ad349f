/**
 * Disjoint intervals of page numbers (or of addresses, as bigint) with a value each, in order: chunks of at most a few hundred
 * intervals, so that finding is O(log n) and a change moves little.
 */

export interface Interval<V, K extends number | bigint = number> {
  readonly start: K
  /** Exclusive. */
  readonly end: K
  readonly value: V
}

const CHUNK = 256

export class IntervalMap<V, K extends number | bigint = number> {
  #chunks: Interval<V, K>[][] = []

  get isEmpty(): boolean {
    return this.#chunks.length === 0
  }

  /** The interval that contains the page. */
  find(page: K): Interval<V, K> | undefined {
    const chunk = this.#chunks[this.#chunkOf(page)]
    if (chunk === undefined) return undefined
    const interval = chunk[firstEndingAfter(chunk, page)]
    return interval !== undefined && interval.start <= page ? interval : undefined
  }

  /** The intervals next to a page that none contains. */
  neighbours(page: K): { readonly before?: Interval<V, K>; readonly after?: Interval<V, K> } {
    const chunkIndex = this.#chunkOf(page)
    const chunk = this.#chunks[chunkIndex]
    const index = chunk === undefined ? 0 : firstEndingAfter(chunk, page)
    const after = chunk?.[index]
    const before = index > 0 ? chunk?.[index - 1] : this.#chunks[chunkIndex - 1]?.at(-1)
    return {
      ...(before === undefined ? {} : { before }),
      ...(after === undefined ? {} : { after }),
    }
  }

  /** Intervals that intersect [start, end), ascending. */
  overlapping(start: K, end: K): Interval<V, K>[] {
    const found: Interval<V, K>[] = []
    let chunkIndex = this.#chunkOf(start)
    let chunk = this.#chunks[chunkIndex]
    if (chunk === undefined) return found
    let index = firstEndingAfter(chunk, start)
    while (chunk !== undefined) {
      for (; index < chunk.length; index += 1) {
        const interval = chunk[index] as Interval<V, K>
        if (interval.start >= end) return found
        found.push(interval)
      }
      chunkIndex += 1
      index = 0
      chunk = this.#chunks[chunkIndex]
    }
    return found
  }

  /** Adds an interval that overlaps none. */
  insert(start: K, end: K, value: V): void {
    const interval = { start, end, value }
    const chunkIndex = Math.min(this.#chunkOf(start), this.#chunks.length - 1)
    const chunk = this.#chunks[chunkIndex]
    if (chunk === undefined) {
      this.#chunks.push([interval])
      return
    }
    const index = firstEndingAfter(chunk, start)
    if (index === chunk.length) chunk.push(interval)
    else chunk.splice(index, 0, interval)
    if (chunk.length > CHUNK) {
      // Adding at the end usually goes on there.
      const keep = index === chunk.length - 1 ? CHUNK : CHUNK / 2
      this.#chunks.splice(chunkIndex + 1, 0, chunk.splice(keep))
    }
  }

  /** Removes the interval that starts at the page. */
  delete(start: K): void {
    const chunkIndex = this.#chunkOf(start)
    const chunk = this.#chunks[chunkIndex]
    if (chunk === undefined) return
    const index = firstEndingAfter(chunk, start)
    if (chunk[index]?.start !== start) return
    if (chunk.length === 1) this.#chunks.splice(chunkIndex, 1)
    else chunk.splice(index, 1)
  }

  *[Symbol.iterator](): Iterator<Interval<V, K>> {
    for (const chunk of this.#chunks) yield* chunk
  }

  /** First chunk whose last interval ends after the page. */
  #chunkOf(page: K): number {
    let low = 0
    let high = this.#chunks.length
    while (low < high) {
      const middle = (low + high) >> 1
      const chunk = this.#chunks[middle] as Interval<V, K>[]
      if ((chunk[chunk.length - 1] as Interval<V, K>).end <= page) low = middle + 1
      else high = middle
    }
    return low
  }
}

const firstEndingAfter = <V, K extends number | bigint>(
  chunk: readonly Interval<V, K>[],
  page: K,
): number => {
  let low = 0
  let high = chunk.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((chunk[middle] as Interval<V, K>).end <= page) low = middle + 1
    else high = middle
  }
  return low
}
