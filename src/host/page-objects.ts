/**
 * Memory objects behind pages that the engine has taken, and how their content is reached: through a
 * process that maps them or a descriptor, or, when nobody has them any more, from what was saved before.
 */
import { PageCounts } from '../engine/page-counts.ts'
import type { PageObject } from '../engine/ports.ts'
import { PAGE_SIZE } from './kernel.ts'

/** A way to the content of an object's pages; false where it does not lead (any more). */
export interface Reach {
  /** Where a page and its neighbours are in a memory that is open as a file; undefined where there is none. */
  place?(page: number): PagePlace | undefined
  read(page: number, offset: number, into: Uint8Array): boolean
  write(page: number, offset: number, bytes: Uint8Array): boolean
}

/** Pages [firstPage, endPage) of an object lie one after another from `address` on in what `descriptor` has open. */
export interface PagePlace {
  readonly descriptor: number
  readonly address: number
  readonly firstPage: number
  readonly endPage: number
  /** The process whose memory `descriptor` is, while it can be reached by its ID; else 0. */
  readonly process: number
}

/** Pages read at once to be saved. */
const AT_ONCE = 256
/** Stands for every saved page that has nothing in it, as most have. */
const ZEROS = new Uint8Array(PAGE_SIZE)

const isZero = (bytes: Uint8Array): boolean =>
  Buffer.compare(bytes, ZEROS.subarray(0, bytes.length)) === 0

const withBytes = (bytes: Uint8Array, at: number): Uint8Array => {
  const page = new Uint8Array(PAGE_SIZE)
  page.set(bytes, at)
  return page
}

export class MemoryObject implements PageObject {
  readonly name: string
  readonly contiguity: number
  /** The most recent first. */
  #reaches: Reach[] = []
  /** Finds another way when none of those known leads to a page. */
  readonly #search: (page: number) => Reach | undefined
  /** Pages that nobody has any more. */
  readonly #saved = new Map<number, Uint8Array>()
  readonly #held = new PageCounts()

  constructor(
    name: string,
    contiguity: number,
    search: (page: number) => Reach | undefined = () => undefined,
  ) {
    this.name = name
    this.contiguity = contiguity
    this.#search = search
  }

  reachedBy(reach: Reach): void {
    this.#reaches.unshift(reach)
  }

  lose(reach: Reach): void {
    this.#reaches = this.#reaches.filter((other) => other !== reach)
  }

  hold(page: number, count: number): void {
    this.#held.add(page, page + count)
  }

  release(page: number, count: number): void {
    for (const [from, to] of this.#held.remove(page, page + count))
      if (this.#saved.size > 0) for (let at = from; at < to; at++) this.#saved.delete(at)
  }

  get isHeld(): boolean {
    return !this.#held.isEmpty
  }

  /** The pages held in [start, end), as [from, to) ranges. */
  heldWithin(start: number, end: number): [from: number, to: number][] {
    const held: [number, number][] = []
    let at = start
    for (const [from, to] of this.#held.free(start, end)) {
      if (from > at) held.push([at, from])
      at = to
    }
    if (at < end) held.push([at, end])
    return held
  }

  /** Keeps the present content of the held pages in [start, end). */
  save(start: number, end: number): void {
    for (const [from, to] of this.heldWithin(start, end))
      for (let page = from; page < to; page += AT_ONCE)
        this.#savePages(page, Math.min(to, page + AT_ONCE))
  }

  #savePages(from: number, to: number): void {
    const bytes = new Uint8Array((to - from) * PAGE_SIZE)
    let isSaved = false
    for (let page = from; page < to && !isSaved; page++) isSaved = this.#saved.has(page)
    const inOnePiece = !isSaved && this.#reach(from, (reach) => reach.read(from, 0, bytes))
    for (let page = from; page < to; page++) {
      const start = (page - from) * PAGE_SIZE
      const content = bytes.subarray(start, start + PAGE_SIZE)
      if (inOnePiece || (!this.#saved.has(page) && this.read(page, 0, content)))
        this.#saved.set(page, isZero(content) ? ZEROS : content.slice())
    }
  }

  /** What was saved is not needed: the memory lives on. */
  unsave(): void {
    this.#saved.clear()
  }

  /** The memory that holds a page now, for who reads and writes it on his own; undefined for a page that was saved. */
  place(page: number): PagePlace | undefined {
    if (this.#saved.has(page)) return undefined
    for (const reach of this.#reaches) {
      const place = reach.place?.(page)
      if (place === undefined) continue
      if (this.#saved.size === 0) return place
      // Some pages around it are elsewhere.
      const address = place.address + (page - place.firstPage) * PAGE_SIZE
      return { ...place, address, firstPage: page, endPage: page + 1 }
    }
    return undefined
  }

  read(page: number, offset: number, into: Uint8Array): boolean {
    return this.#each(page, offset, into.length, (at, within, from, to) => {
      const saved = this.#saved.get(at)
      const part = into.subarray(from, to)
      if (saved === undefined) return this.#reach(at, (reach) => reach.read(at, within, part))
      part.set(saved.subarray(within, within + part.length))
      return true
    })
  }

  write(page: number, offset: number, bytes: Uint8Array): boolean {
    return this.#each(page, offset, bytes.length, (at, within, from, to) => {
      const saved = this.#saved.get(at)
      const part = bytes.subarray(from, to)
      if (saved === undefined) return this.#reach(at, (reach) => reach.write(at, within, part))
      if (saved !== ZEROS) saved.set(part, within)
      else if (!isZero(part)) this.#saved.set(at, withBytes(part, within))
      return true
    })
  }

  #reach(page: number, go: (reach: Reach) => boolean): boolean {
    if (this.#reaches.some(go)) return true
    const found = this.#search(page)
    if (found === undefined) return false
    this.#reaches.unshift(found)
    return go(found)
  }

  /** In one piece while nothing is saved, else page by page. */
  #each(
    page: number,
    offset: number,
    length: number,
    part: (page: number, offset: number, from: number, to: number) => boolean,
  ): boolean {
    if (this.#saved.size === 0 && part(page, offset, 0, length)) return true
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
