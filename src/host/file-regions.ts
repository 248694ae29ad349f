/** The parts of a file of ours that clients map: pages of its memfd, which we map as well. */
import type { MmapRegion, SharedRegion } from '../engine/file.ts'
import { openPath } from './client-memory.ts'
import { O, PAGE_SIZE } from './kernel.ts'
import type { Sys } from './sys.ts'

const PROT_READ_WRITE = 3
const MAP_SHARED = 1

export class FileRegions {
  readonly #sys: Sys
  /** A descriptor of our own for the same memfd. */
  readonly #fd: number
  #size = 0
  readonly #lengths = new Map<number, number>()
  /** Our own mappings of the regions. */
  readonly #mapped: Uint8Array[] = []
  readonly #addresses: number[] = []
  readonly #backed: { readonly memory: SharedRegion; readonly pages: SharedRegion }[] = []
  /** Their content while clients may not touch it, in the same order. */
  #saved: readonly Uint8Array[] | undefined
  #closed = false

  /** `fd` of thread `tid` is the file. */
  constructor(sys: Sys, tid: number, fd: number) {
    this.#sys = sys
    this.#fd = openPath(sys, `/proc/${tid}/fd/${fd}`, O.RDWR)
    if (this.#fd < 0) throw new Error(`the file cannot be opened again (errno ${-this.#fd})`)
  }

  /** From now on these pages of the memfd are the region's memory. */
  back(region: MmapRegion): void {
    const offset = Number(region.offset)
    const length = Number(region.length)
    if (this.#lengths.has(offset)) return
    this.#setAccessible(true)
    if (offset + length > this.#size) {
      this.#size = offset + length
      this.#sys.call('ftruncate', this.#fd, this.#size)
    }
    const address = this.#sys.call('mmap', 0, length, PROT_READ_WRITE, MAP_SHARED, this.#fd, offset)
    if (address < 0)
      throw new Error(`a region of ${length} bytes cannot be mapped (errno ${-address})`)
    this.#lengths.set(offset, length)
    this.#addresses.push(address)
    const index = this.#mapped.push(this.#sys.at(address, length)) - 1
    const pages: SharedRegion = {
      length,
      address,
      read: (at, into) => into.set(this.#bytes(index).subarray(at, at + into.length)),
      write: (at, from) => this.#bytes(index).set(from, at),
      setAccessible: (accessible) => this.#setAccessible(accessible),
    }
    // The region may have had other pages before, of a file that was opened earlier.
    const content = new Uint8Array(length)
    region.memory.read(0, content)
    for (let at = 0; at < length; at += PAGE_SIZE) {
      const page = content.subarray(at, at + PAGE_SIZE)
      if (page.some((byte) => byte !== 0)) pages.write(at, page)
    }
    this.#backed.push({ memory: region.memory, pages })
    region.memory.backBy?.(pages)
  }

  #bytes(index: number): Uint8Array {
    const bytes = this.#saved?.[index] ?? this.#mapped[index]
    if (bytes === undefined) throw new RangeError(`there is no region ${index}`)
    return bytes
  }

  /**
   * Pages behind the end of a memfd fault with SIGBUS when touched, in every process and in this one: the
   * content waits elsewhere until the file has its size again.
   */
  #setAccessible(accessible: boolean): void {
    if (this.#closed || accessible === (this.#saved === undefined)) return
    if (!accessible) {
      this.#saved = this.#mapped.map((bytes) => bytes.slice())
      this.#sys.call('ftruncate', this.#fd, 0)
      return
    }
    const saved = this.#saved
    this.#sys.call('ftruncate', this.#fd, this.#size)
    this.#saved = undefined
    for (const [i, bytes] of this.#mapped.entries()) bytes.set(saved?.[i] ?? [])
  }

  offsets(): IterableIterator<number> {
    return this.#lengths.keys()
  }

  /** Offsets of the regions that share a byte with [offset, offset+length). */
  overlapping(offset: number, length: number): number[] {
    return [...this.#lengths].flatMap(([start, size]) =>
      start < offset + length && offset < start + size ? [start] : [],
    )
  }

  /** Nobody maps them any more; who reads and writes the regions finds them as they were. */
  close(): void {
    for (const { memory, pages } of this.#backed) memory.pagesGo?.(pages)
    this.#setAccessible(false)
    for (const [i, bytes] of this.#mapped.entries())
      this.#sys.call('munmap', this.#addresses[i] ?? 0, bytes.length)
    this.#closed = true
    this.#sys.call('close', this.#fd)
  }
}
