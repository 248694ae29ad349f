/**
 * The caller's bitmap of GET_DIRTY_BITMAP (03 §12.3, "The bitmap"): bits are OR-ed in, bytes without a
 * dirty bit are left alone, and what cannot be written is dropped without an error.
 *
 * Spans come in ascending order. They are collected for one page of the caller's memory at a time, so
 * that a densely dirty range costs one read and one write per page of bitmap.
 */
import type { ByteLength, Iova, UserVa } from '../abi/brands.ts'
import type { UserMemory } from './ports.ts'

const PAGE = 4096
const PAGE_BITS = BigInt(PAGE * 8)
const U64 = 0xffff_ffff_ffff_ffffn

/** log2 of the bytes that one bit stands for: the lowest set bit of `pageSize`, which is not 0. */
export const granularityShift = (pageSize: bigint): bigint => {
  let shift = 0n
  while (((pageSize >> shift) & 0xffffn) === 0n) shift += 16n
  while (((pageSize >> shift) & 1n) === 0n) shift += 1n
  return shift
}

export class UserBitmap {
  readonly #memory: UserMemory
  readonly #base: Iova
  readonly #last: Iova
  readonly #shift: bigint
  /** The page of the caller's memory that holds bit 0, and the number that bit 0 has within that page. */
  readonly #firstPage: bigint
  readonly #bias: bigint
  /** Bits collected for page `#page`, bytes `#low` to `#high` of it; nothing when `#high` is below `#low`. */
  readonly #bits = new Uint8Array(PAGE)
  #page = -1n
  #low = PAGE
  #high = -1
  /** Spans of which some bits were lost because the bitmap could not be written. */
  dropped = 0
  /** Bytes of IOVA space reported dirty. */
  dirtyBytes = 0n

  /** `base` to `last` is the range asked for; `data` is where bit 0 lies. */
  constructor(memory: UserMemory, data: UserVa, base: Iova, last: Iova, pageSize: bigint) {
    this.#memory = memory
    this.#base = base
    this.#last = last
    this.#shift = granularityShift(pageSize)
    this.#firstPage = data >> 12n
    this.#bias = (data & 0xfffn) << 3n
  }

  /**
   * Sets the bits of `[iova, iova+length)` as far as it lies in the range asked for. The span is one leaf,
   * or neighbouring leaves of `leaf` bytes each.
   */
  setSpan(iova: Iova, length: ByteLength, leaf: ByteLength = length): void {
    let start: bigint = iova < this.#base ? this.#base : iova
    const end = iova + length - 1n
    const last = end > this.#last ? this.#last : end
    if (last < start) return
    this.dirtyBytes += last - start + 1n
    while (start <= last) {
      const lostFrom = this.#setBits(start, last)
      if (lostFrom === undefined) return
      // The rest of that leaf is lost; the next one is tried on its own.
      this.dropped++
      start = iova + ((lostFrom - iova + leaf - 1n) / leaf) * leaf
    }
  }

  /** Collects the bits of `start` to `last`; the IOVA where it ended if a page on the way was lost. */
  #setBits(start: bigint, last: bigint): bigint | undefined {
    let bit = ((start - this.#base) >> this.#shift) + this.#bias
    const lastBit = ((last - this.#base) >> this.#shift) + this.#bias
    for (let startsHere = true; ; startsHere = false) {
      const page = bit / PAGE_BITS
      if (page !== this.#page) {
        const written = this.#write()
        this.#page = page
        if (!written && startsHere) this.dropped++
        if (!written && !startsHere) return this.#base + ((bit - this.#bias) << this.#shift)
      }
      const from = Number(bit - page * PAGE_BITS)
      const endOfPage = (page + 1n) * PAGE_BITS - 1n
      this.#collect(from, Number((lastBit < endOfPage ? lastBit : endOfPage) - page * PAGE_BITS))
      if (lastBit <= endOfPage) return undefined
      bit = endOfPage + 1n
    }
  }

  /** Writes what is still collected. To be called once after the last span. */
  flush(): void {
    if (!this.#write()) this.dropped++
  }

  #collect(first: number, last: number): void {
    const bits = this.#bits
    const low = first >> 3
    const high = last >> 3
    const head = (0xff << (first & 7)) & 0xff
    const tail = 0xff >> (7 - (last & 7))
    if (low === high) bits[low] = (bits[low] ?? 0) | (head & tail)
    else {
      bits[low] = (bits[low] ?? 0) | head
      bits.fill(0xff, low + 1, high)
      bits[high] = (bits[high] ?? 0) | tail
    }
    if (low < this.#low) this.#low = low
    if (high > this.#high) this.#high = high
  }

  #write(): boolean {
    if (this.#high < this.#low) return true
    const length = this.#high - this.#low + 1
    const address = ((((this.#firstPage + this.#page) << 12n) + BigInt(this.#low)) & U64) as UserVa
    const collected = this.#bits.subarray(this.#low, this.#high + 1)
    const present = this.#memory.read(address, length)
    let written = present.length === length
    if (written) {
      const merged = collected.map((byte, index) => byte | (present[index] ?? 0))
      written = this.#memory.write(address, merged) === length
    }
    collected.fill(0)
    this.#low = PAGE
    this.#high = -1
    return written
  }
}
