import type { SharedRegion } from '../engine/file.ts'
import type { Notes } from './notes.ts'
import { RegionMirror } from './region-mirror.ts'
import { Asked, Entry } from './served.ts'

/**
 * A region that clients map, as the host sees it. Once the host has backed it with pages, clients change
 * it without a call: what the machine reads is noted where it is not what it read or wrote before.
 */
export class NotedRegion implements SharedRegion {
  readonly number: number
  readonly length: number
  readonly #notes: Notes
  readonly #inner: SharedRegion
  readonly setAccessible?: (accessible: boolean) => void
  readonly backBy?: (pages: SharedRegion) => void
  readonly pagesGo?: (pages: SharedRegion) => void
  /** By the pages themselves: as the machine knows them. */
  readonly #noted = new WeakMap<SharedRegion, SharedRegion>()

  constructor(notes: Notes, inner: SharedRegion, number: number) {
    this.number = number
    this.length = inner.length
    this.#notes = notes
    this.#inner = inner
    if (inner.setAccessible !== undefined)
      this.setAccessible = (accessible) => inner.setAccessible?.(accessible)
    if (inner.backBy !== undefined)
      this.backBy = (pages) => this.#backBy((noted) => inner.backBy?.(noted), pages)
    if (inner.pagesGo !== undefined)
      this.pagesGo = (pages) => this.#pagesGo((noted) => inner.pagesGo?.(noted), pages)
  }

  read(offset: number, into: Uint8Array): void {
    this.#inner.read(offset, into)
  }

  write(offset: number, bytes: Uint8Array): void {
    this.#inner.write(offset, bytes)
  }

  #backBy(backBy: (pages: SharedRegion) => void, pages: SharedRegion): void {
    const noted = notedPages(this.#notes, pages, this.number)
    this.#noted.set(pages, noted)
    this.#notes.enter(Entry.BACKED, [this.number], () => backBy(noted))
  }

  #pagesGo(pagesGo: (pages: SharedRegion) => void, pages: SharedRegion): void {
    const noted = this.#noted.get(pages) ?? pages
    this.#notes.enter(Entry.UNBACKED, [this.number], () => pagesGo(noted))
  }
}

const notedPages = (notes: Notes, pages: SharedRegion, number: number): SharedRegion => {
  const mirror = new RegionMirror()
  const setAccessible = pages.setAccessible?.bind(pages)
  return {
    length: pages.length,
    // A thread that goes there on its own is not replayed.
    ...(pages.address === undefined ? {} : { address: pages.address }),
    read: (offset, into) => {
      pages.read(offset, into)
      if (mirror.matches(offset, into)) return
      // Outside of every entry nobody could tell it to a replay.
      if (!notes.isOpen) return
      const bytes = into.slice()
      mirror.write(offset, bytes)
      notes.asked(Asked.REGION, number, offset, bytes)
    },
    write: (offset, bytes) => {
      pages.write(offset, bytes)
      mirror.write(offset, bytes)
    },
    ...(setAccessible === undefined ? {} : { setAccessible }),
  }
}
