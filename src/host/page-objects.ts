/**
 * Memory objects behind pages that the engine has taken, and how their content is reached: through a
 * process that maps them, or, when nobody does any more, from what was saved before that.
 */
import type { PageObject } from '../engine/ports.ts'
import { PAGE_SIZE } from './kernel.ts'

/** Somebody who can read and write pages of an object now. */
export interface Reach {
  /** False when this way is gone for good. */
  read(page: number, offset: number, into: Uint8Array): boolean
  write(page: number, offset: number, bytes: Uint8Array): boolean
}

export class MemoryObject implements PageObject {
  readonly name: string
  readonly contiguity: number
  /** Ways to the content, the most recent first. */
  #reaches: Reach[] = []
  /** Pages whose content nobody maps any more. */
  readonly #saved = new Map<number, Uint8Array>()
  /** How often the engine holds the run of `count` pages from `page`: key `page:count`. */
  readonly #held = new Map<string, { page: number; count: number; times: number }>()

  constructor(name: string, contiguity: number) {
    this.name = name
    this.contiguity = contiguity
  }

  reachedBy(reach: Reach): void {
    this.#reaches.unshift(reach)
  }

  get reachable(): boolean {
    return this.#reaches.length > 0
  }

  /** A way to the content closes: other ways, or what was saved, remain. */
  lose(reach: Reach): void {
    this.#reaches = this.#reaches.filter((other) => other !== reach)
  }

  hold(page: number, count: number): void {
    const key = `${page}:${count}`
    const run = this.#held.get(key)
    if (run === undefined) this.#held.set(key, { page, count, times: 1 })
    else run.times += 1
  }

  release(page: number, count: number): void {
    const key = `${page}:${count}`
    const run = this.#held.get(key)
    if (run === undefined) return
    run.times -= 1
    if (run.times > 0) return
    this.#held.delete(key)
    if (this.#held.size === 0) this.#saved.clear()
  }

  get isHeld(): boolean {
    return this.#held.size > 0
  }

  /** The held pages in [first, first+count), as runs, overlapping ones included. */
  heldWithin(first: number, count: number): { page: number; count: number }[] {
    const found: { page: number; count: number }[] = []
    for (const run of this.#held.values()) {
      const start = Math.max(first, run.page)
      const end = Math.min(first + count, run.page + run.count)
      if (start < end) found.push({ page: start, count: end - start })
    }
    return found
  }

  /** Keeps the present content of held pages in [first, first+count). */
  save(first: number, count: number): void {
    for (const run of this.heldWithin(first, count))
      for (let page = run.page; page < run.page + run.count; page++) {
        if (this.#saved.has(page)) continue
        const bytes = new Uint8Array(PAGE_SIZE)
        if (this.read(page, 0, bytes)) this.#saved.set(page, bytes)
      }
  }

  /** What was saved in [first, first+count) is not needed: the pages live on. */
  unsave(first: number, count: number): void {
    for (const page of [...this.#saved.keys()])
      if (page >= first && page < first + count) this.#saved.delete(page)
  }

  read(page: number, offset: number, into: Uint8Array): boolean {
    return this.#each(page, offset, into.length, (at, within, from, to) => {
      const saved = this.#saved.get(at)
      if (saved === undefined)
        return this.#reaches.some((reach) => reach.read(at, within, into.subarray(from, to)))
      into.set(saved.subarray(within, within + to - from), from)
      return true
    })
  }

  write(page: number, offset: number, bytes: Uint8Array): boolean {
    return this.#each(page, offset, bytes.length, (at, within, from, to) => {
      const saved = this.#saved.get(at)
      if (saved === undefined)
        return this.#reaches.some((reach) => reach.write(at, within, bytes.subarray(from, to)))
      saved.set(bytes.subarray(from, to), within)
      return true
    })
  }

  /** In one piece while nothing is saved, else page by page. */
  #each(
    page: number,
    offset: number,
    length: number,
    part: (page: number, offset: number, from: number, to: number) => boolean,
  ): boolean {
    if (this.#saved.size === 0) return part(page, offset, 0, length)
    let at = page * PAGE_SIZE + offset
    for (let from = 0; from < length; ) {
      const within = at % PAGE_SIZE
      const to = Math.min(length, from + PAGE_SIZE - within)
      if (!part(Math.trunc(at / PAGE_SIZE), within, from, to)) return false
      at += to - from
      from = to
    }
    return true
  }
}
