/** How many holders each page of a row of pages has, kept per run of equal counts. */
import { IntervalMap } from './interval-map.ts'

/** [start, end) of pages. */
export type PageRange = readonly [start: number, end: number]

export class PageCounts {
  readonly #runs = new IntervalMap<number>()

  get isEmpty(): boolean {
    return this.#runs.isEmpty
  }

  of(page: number): number {
    return this.#runs.find(page)?.value ?? 0
  }

  /** Ranges within [start, end) that nobody holds. */
  free(start: number, end: number): PageRange[] {
    const free: PageRange[] = []
    let from = start
    for (const run of this.#runs.overlapping(start, end)) {
      if (run.start > from) free.push([from, run.start])
      from = run.end
    }
    if (from < end) free.push([from, end])
    return free
  }

  /** One more holder of [start, end); returns the ranges that had none before. */
  add(start: number, end: number): PageRange[] {
    return this.#change(start, end, 1)
  }

  /** One holder of [start, end) less; returns the ranges that have none left. */
  remove(start: number, end: number): PageRange[] {
    return this.#change(start, end, -1)
  }

  *[Symbol.iterator](): Iterator<{ start: number; end: number; count: number }> {
    for (const { start, end, value } of this.#runs) yield { start, end, count: value }
  }

  #change(start: number, end: number, by: 1 | -1): PageRange[] {
    const crossed: PageRange[] = []
    // With the neighbours, which may join.
    const old = this.#runs.overlapping(start - 1, end + 1)
    const runs: { start: number; end: number; count: number }[] = []
    const push = (from: number, to: number, count: number): void => {
      if (from >= to) return
      if (count < 0) throw new Error('a page was let go that nobody held')
      const last = runs.at(-1)
      if (last !== undefined && last.end === from && last.count === count) last.end = to
      else runs.push({ start: from, end: to, count })
    }
    let at = start
    const through = (to: number, count: number): void => {
      if (at >= to) return
      push(at, to, count + by)
      if (count + Math.min(by, 0) === 0) crossed.push([at, to])
      at = to
    }
    for (const { start: from, end: to, value } of old) {
      push(from, Math.min(to, start), value)
      through(Math.min(from, end), 0)
      through(Math.min(to, end), value)
      if (from >= end && at < end) through(end, 0)
      push(Math.max(from, end), to, value)
    }
    through(end, 0)
    for (const { start: from } of old) this.#runs.delete(from)
    for (const run of runs) if (run.count > 0) this.#runs.insert(run.start, run.end, run.count)
    return crossed
  }
}
