/**
 * Disjoint intervals of page numbers with a value each, in order: chunks of at most a few hundred
 * intervals, so that finding is O(log n) and a change moves little.
 */

export interface Interval<V> {
  readonly start: number
  /** Exclusive. */
  readonly end: number
  readonly value: V
}

const CHUNK = 256

export class IntervalMap<V> {
  #chunks: Interval<V>[][] = []

  get isEmpty(): boolean {
    return this.#chunks.length === 0
  }

  /** The interval that contains the page. */
  find(page: number): Interval<V> | undefined {
    const chunk = this.#chunks[this.#chunkOf(page)]
    if (chunk === undefined) return undefined
    const interval = chunk[firstEndingAfter(chunk, page)]
    return interval !== undefined && interval.start <= page ? interval : undefined
  }

  /** Intervals that intersect [start, end), ascending. */
  overlapping(start: number, end: number): Interval<V>[] {
    const found: Interval<V>[] = []
    let chunkIndex = this.#chunkOf(start)
    let chunk = this.#chunks[chunkIndex]
    if (chunk === undefined) return found
    let index = firstEndingAfter(chunk, start)
    while (chunk !== undefined) {
      for (; index < chunk.length; index += 1) {
        const interval = chunk[index] as Interval<V>
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
  insert(start: number, end: number, value: V): void {
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
  delete(start: number): void {
    const chunkIndex = this.#chunkOf(start)
    const chunk = this.#chunks[chunkIndex]
    if (chunk === undefined) return
    const index = firstEndingAfter(chunk, start)
    if (chunk[index]?.start !== start) return
    if (chunk.length === 1) this.#chunks.splice(chunkIndex, 1)
    else chunk.splice(index, 1)
  }

  *[Symbol.iterator](): Iterator<Interval<V>> {
    for (const chunk of this.#chunks) yield* chunk
  }

  /** First chunk whose last interval ends after the page. */
  #chunkOf(page: number): number {
    let low = 0
    let high = this.#chunks.length
    while (low < high) {
      const middle = (low + high) >> 1
      const chunk = this.#chunks[middle] as Interval<V>[]
      if ((chunk[chunk.length - 1] as Interval<V>).end <= page) low = middle + 1
      else high = middle
    }
    return low
  }
}

const firstEndingAfter = <V>(chunk: readonly Interval<V>[], page: number): number => {
  let low = 0
  let high = chunk.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((chunk[middle] as Interval<V>).end <= page) low = middle + 1
    else high = middle
  }
  return low
}
