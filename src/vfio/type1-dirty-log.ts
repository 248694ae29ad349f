/**
 * What a native type1 container knows of dirty pages (02 §6.7): hardware cannot tell, so that with a
 * physical group every page of a mapping counts as dirty; else what emulated devices pinned or wrote.
 */
import { hex, type Iova } from '../abi/brands.ts'
import type { IovaRange } from '../engine/ioas.ts'
import { type Refusal, reasonKind, refuse } from '../engine/reason.ts'
import type { Type1Backend } from './type1-backend.ts'

export const DirtyTrackingOff = reasonKind({
  code: 'type1-dirty-tracking-off',
  errno: 'EINVAL',
  cite: '02 §6.6 step 8, §6.7',
  say: () => 'dirty tracking is not on',
  advice: 'VFIO_IOMMU_DIRTY_PAGES with START first.',
})
export const DirtyPageSize = reasonKind<{ pgsize: bigint; page: bigint }>({
  code: 'type1-dirty-page-size',
  errno: 'EINVAL',
  cite: '02 §6.6 step 8, §6.7',
  say: ({ pgsize, page }) => `pgsize ${hex(pgsize)} is not ${hex(page)}, the smallest page`,
  advice: 'Set pgsize to the smallest page size that VFIO_IOMMU_GET_INFO reports.',
})

/** Bytes of the largest bitmap: 2^31 pages. */
export const LARGEST_BITMAP = 0x1000_0000n

export class DirtyLog {
  readonly #backend: Type1Backend
  isOn = false
  /** Pages (of the smallest size) that emulated devices wrote or pinned since the log was last read. */
  readonly #touched = new Set<bigint>()
  /** Pins by emulated devices, with how often each page is pinned. */
  readonly #pinned = new Map<bigint, number>()
  /** By first IOVA: the log of a mapping as the kernel keeps it, see `read`. */
  readonly #words = new Map<bigint, BigUint64Array>()

  constructor(backend: Type1Backend) {
    this.#backend = backend
  }

  start(): void {
    this.isOn = true
  }

  stop(): void {
    this.isOn = false
    this.#touched.clear()
    this.#words.clear()
  }

  checkPageSize(pgsize: bigint): Refusal | undefined {
    const page = this.#backend.smallestPage
    return pgsize === page ? undefined : refuse(DirtyPageSize, { pgsize, page })
  }

  checkOn(): Refusal | undefined {
    return this.isOn ? undefined : refuse(DirtyTrackingOff, {})
  }

  /** An emulated device wrote this range. */
  wrote(start: Iova, length: number): void {
    if (this.isOn) for (const page of this.#pages(start, BigInt(length))) this.#touched.add(page)
  }

  pinned(start: Iova, length: bigint): void {
    for (const page of this.#pages(start, length)) {
      this.#pinned.set(page, (this.#pinned.get(page) ?? 0) + 1)
      if (this.isOn) this.#touched.add(page)
    }
  }

  unpinned(start: Iova, length: bigint): void {
    for (const page of this.#pages(start, length)) {
      const left = (this.#pinned.get(page) ?? 0) - 1
      if (left > 0) this.#pinned.set(page, left)
      else this.#pinned.delete(page)
    }
  }

  /** The mapping is gone, and its log with it. */
  forget({ start }: IovaRange): void {
    this.#words.delete(start)
  }

  /**
   * The words to store for a mapping whose first page is bit `shift` of a word, over `found`, what that
   * word held before. The mapping's pages are clean afterwards, but for what is still pinned; bits
   * beyond them, shifted there or found, stay and are stored again next time (observed).
   */
  read({ start, last }: IovaRange, shift: number, found: bigint): Uint8Array {
    const page = this.#backend.smallestPage
    const count = Number((last - start + 1n) / page)
    const words = this.#words.get(start) ?? new BigUint64Array(Math.ceil(count / 64) + 1)
    this.#words.set(start, words)
    if (this.#backend.hasPhysicalGroups) fill(words, count, true)
    else for (const bit of this.#takeTouched(start / page, count)) setBit(words, bit)
    if (shift > 0) {
      shiftUp(words, shift)
      words[0] = (words[0] ?? 0n) | found
    }
    const stored = words.slice(0, Math.ceil((count + shift) / 64))
    fill(words, count, false)
    return new Uint8Array(stored.buffer)
  }

  /** Pages of a mapping that count as dirty, from 0. */
  #takeTouched(firstPage: bigint, count: number): number[] {
    const bits: number[] = []
    for (const number of new Set([...this.#touched, ...this.#pinned.keys()])) {
      const bit = number - firstPage
      if (bit < 0n || bit >= BigInt(count)) continue
      this.#touched.delete(number)
      bits.push(Number(bit))
    }
    return bits
  }

  *#pages(start: Iova, length: bigint): Iterable<bigint> {
    const page = this.#backend.smallestPage
    for (let at = start / page; at <= (start + length - 1n) / page; at += 1n) yield at
  }
}

const ALL_ONES = 0xffff_ffff_ffff_ffffn

const setBit = (words: BigUint64Array, bit: number): void => {
  words[bit >> 6] = (words[bit >> 6] ?? 0n) | (1n << BigInt(bit & 63))
}

/** Sets or clears the first `count` bits. */
const fill = (words: BigUint64Array, count: number, value: boolean): void => {
  words.fill(value ? ALL_ONES : 0n, 0, count >> 6)
  const mask = (1n << BigInt(count & 63)) - 1n
  const word = words[count >> 6] ?? 0n
  if (mask !== 0n) words[count >> 6] = value ? word | mask : word & ~mask
}

/** Moves all bits `shift` (below 64) places up. */
const shiftUp = (words: BigUint64Array, shift: number): void => {
  const up = BigInt(shift)
  for (let i = words.length - 1; i >= 0; i--) {
    const below = i === 0 ? 0n : (words[i - 1] ?? 0n) >> (64n - up)
    words[i] = BigInt.asUintN(64, (words[i] ?? 0n) << up) | below
  }
}
