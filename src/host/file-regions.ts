/** The parts of a file of ours that clients map: pages of its memfd, which we map as well. */
import type { MmapRegion, SharedRegion } from '../engine/file.ts'
import { openPath } from './client-memory.ts'
import { O } from './kernel.ts'
import type { Sys } from './sys.ts'

const PROT_READ_WRITE = 3
const MAP_SHARED = 1

export class FileRegions {
  readonly #sys: Sys
  /** A descriptor of our own for the same memfd. */
  readonly #fd: number
  #size = 0
  readonly #lengths = new Map<number, number>()

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
    if (offset + length > this.#size) {
      this.#size = offset + length
      this.#sys.call('ftruncate', this.#fd, this.#size)
    }
    const address = this.#sys.call('mmap', 0, length, PROT_READ_WRITE, MAP_SHARED, this.#fd, offset)
    if (address < 0)
      throw new Error(`a region of ${length} bytes cannot be mapped (errno ${-address})`)
    this.#lengths.set(offset, length)
    const pages = sharedPages(this.#sys.at(address, length))
    // The region may have had other pages before, of a file that was opened earlier.
    const content = new Uint8Array(length)
    region.memory.read(0, content)
    pages.write(0, content)
    region.memory.backBy?.(pages)
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

  close(): void {
    this.#sys.call('close', this.#fd)
  }
}

const sharedPages = (bytes: Uint8Array): SharedRegion => ({
  length: bytes.length,
  read: (offset, into) => into.set(bytes.subarray(offset, offset + into.length)),
  write: (offset, from) => bytes.set(from, offset),
})
