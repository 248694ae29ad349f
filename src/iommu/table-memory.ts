/**
 * Simulated physical memory that holds I/O page tables and nothing else. It is shared memory where the
 * platform has it, so that a device worker can walk tables from the raw words, as hardware does.
 *
 * Memory is handed out in pages of 4096 bytes, named by their page number in this memory; the
 * simulated physical address of page n is `base + n * 4096`. Table items hold physical addresses.
 */
import type { PhysAddr } from '../abi/brands.ts'

/** Bytes of one page of table memory. */
export const TABLE_PAGE_BYTES = 4096
const PAGE_WORDS = TABLE_PAGE_BYTES / 4
/** Pages of one segment, the unit in which words are addressed: 1 MiB. */
export const SEGMENT_PAGES = 256
const MAX_GROWTH_SEGMENTS = 16

/** What a worker needs to read the tables of a memory: plain data, fit for postMessage. */
export interface SharedTableMemory {
  readonly basePage: number
  /** 1 MiB each; `segments[page >> 8]` holds page. */
  readonly segments: readonly Uint32Array[]
}

export type AllocateBuffer = (bytes: number) => ArrayBufferLike

/** SharedArrayBuffer where the platform offers it (a browser without cross-origin isolation does not). */
export const sharedBuffer: AllocateBuffer = (bytes) =>
  typeof SharedArrayBuffer === 'undefined' ? new ArrayBuffer(bytes) : new SharedArrayBuffer(bytes)

export interface TableMemoryOptions {
  /** Physical address of the first page, a multiple of 1 MiB; above all memory that is mapped. */
  readonly base?: PhysAddr
  /** Bytes that may be in use at once; beyond, allocation fails as on a machine out of memory. */
  readonly limit?: number
  readonly allocateBuffer?: AllocateBuffer
}

/** Below 2^44, which the smallest of the usual output widths reaches, and above any plausible RAM. */
const DEFAULT_BASE = 0xf00_0000_0000n
const DEFAULT_LIMIT = 64 * 2 ** 30

export class TableMemory {
  /** Physical page number (4096-byte units) of page 0. */
  readonly basePage: number
  readonly segments: Uint32Array[] = []
  readonly #limitPages: number
  readonly #allocateBuffer: AllocateBuffer
  /** Released blocks of 2^order pages, all zero. */
  readonly #released: number[][] = []
  readonly #growthListeners = new Set<() => void>()
  #next = 0
  #used = 0

  constructor(options: TableMemoryOptions = {}) {
    this.basePage = Number((options.base ?? DEFAULT_BASE) / BigInt(TABLE_PAGE_BYTES))
    this.#limitPages = Math.floor((options.limit ?? DEFAULT_LIMIT) / TABLE_PAGE_BYTES)
    this.#allocateBuffer = options.allocateBuffer ?? sharedBuffer
  }

  /** Bytes of tables in use. */
  get usedBytes(): number {
    return this.#used * TABLE_PAGE_BYTES
  }

  /** First of 2^order consecutive, zeroed, naturally aligned pages; undefined when the limit is reached. */
  allocate(order: number): number | undefined {
    const pages = 1 << order
    if (this.#used + pages > this.#limitPages) return undefined
    this.#used += pages
    const released = this.#released[order]?.pop()
    if (released !== undefined) return released
    const first = Math.ceil(this.#next / pages) * pages
    this.#next = first + pages
    while (this.#next > this.segments.length * SEGMENT_PAGES) this.#grow()
    return first
  }

  /** Gives pages back; the caller has zeroed them. */
  release(page: number, order: number): void {
    this.#used -= 1 << order
    const released = this.#released[order]
    if (released === undefined) {
      while (this.#released.length <= order) this.#released.push([])
      this.#released[order]?.push(page)
    } else released.push(page)
  }

  zero(page: number, order: number): void {
    const at = (page % SEGMENT_PAGES) * PAGE_WORDS
    this.segment(page).fill(0, at, at + (PAGE_WORDS << order))
  }

  segment(page: number): Uint32Array {
    const segment = this.segments[page >>> 8]
    if (segment === undefined) throw new RangeError(`table page ${page} was never allocated`)
    return segment
  }

  share(): SharedTableMemory {
    return { basePage: this.basePage, segments: [...this.segments] }
  }

  /** Tells when segments were added, so that workers can be sent them; returns how to stop that. */
  onGrowth(listener: () => void): () => void {
    this.#growthListeners.add(listener)
    return () => this.#growthListeners.delete(listener)
  }

  /** Doubles, up to a bound: a small machine stays small, a big one does not collect thousands of buffers. */
  #grow(): void {
    const count = Math.min(Math.max(this.segments.length, 1), MAX_GROWTH_SEGMENTS)
    const bytes = SEGMENT_PAGES * TABLE_PAGE_BYTES
    const buffer = this.#allocateBuffer(count * bytes)
    for (let i = 0; i < count; i++)
      this.segments.push(new Uint32Array(buffer, i * bytes, bytes / 4))
    for (const listener of this.#growthListeners) listener()
  }
}
