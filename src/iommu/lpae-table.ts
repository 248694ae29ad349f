/**
 * A table as Linux's ARM page-table code builds it (07 §1.5 to §1.9, the ARM rules): other errors, other
 * partial unmaps, another dirty walk than the generic code.
 */
import { type ByteLength, type Iova, MAX_U64, type PhysAddr } from '../abi/brands.ts'
import type { Protection } from '../engine/iommu-driver.ts'
import { type Refusal, reasonKind, refuse } from '../engine/reason.ts'
import { PageTable } from './page-table.ts'
import {
  TableMapWithoutPermission,
  TableOutOfReach,
  TableOutputTooWide,
} from './page-table-reasons.ts'
import type { ReportDirty } from './table-dirty.ts'
import { log2Floor, trailingZeros } from './trailing-zeros.ts'

interface MapFields {
  readonly iova: bigint
  readonly phys: bigint
  readonly length: bigint
}

export const LpaeMisaligned = reasonKind<MapFields & { granule: bigint }>({
  code: 'lpae-misaligned',
  errno: 'EINVAL',
  cite: '07 §1.6, ARM row 1',
  say: ({ granule }) => `the IOVA, the address or the length is not a multiple of ${granule}`,
  advice: 'Align IOVA, address and length to the granule of the page table.',
})

export const LpaeItemTaken = reasonKind<MapFields & { taken: Iova }>({
  code: 'lpae-item-taken',
  errno: 'EEXIST',
  cite: '07 §1.6, ARM row 4',
  say: ({ taken }) => `IOVA 0x${taken.toString(16)} is mapped already`,
  advice: 'Unmap the range first.',
})

export class LpaeTable extends PageTable {
  protected override checkMap(
    iova: Iova,
    phys: PhysAddr,
    length: ByteLength,
    protection: Protection,
  ): Refusal | undefined {
    const call = { iova, phys, length }
    const { outputBits } = this.format
    const { iovaBits } = this.geometry
    if (length === 0n || ((iova | phys | length) & (this.granule - 1n)) !== 0n)
      return refuse(LpaeMisaligned, { ...call, granule: this.granule })
    if (iova >> BigInt(iovaBits) !== 0n) return refuse(TableOutOfReach, { ...call, iovaBits })
    if (phys >> BigInt(outputBits) !== 0n)
      return refuse(TableOutputTooWide, { ...call, outputBits })
    if (!protection.read && !protection.write) return refuse(TableMapWithoutPermission, call)
    return undefined
  }

  protected override refuseTaken(fields: MapFields & { taken: Iova }): Refusal {
    return refuse(LpaeItemTaken, fields)
  }

  /** Drops whatever hangs there, unseen. */
  protected override mayReplaceTable(): boolean {
    return true
  }

  /**
   * Removes pages of the sizes that fit the IOVA and the rest of the length; a table at such a place goes
   * as a whole, holes included. Stops at an empty item and at a larger leaf.
   */
  override unmap(iova: Iova, length: ByteLength): bigint {
    const shift = BigInt(this.format.granuleShift)
    if (((iova | length) & (this.granule - 1n)) !== 0n || iova + length - 1n > MAX_U64) return 0n
    const page = Number(iova >> shift)
    const end = page + Number(length >> shift)
    if (end > this.currentReach()) return 0n
    let position = page
    while (position < end) {
      const removed = this.#removePage(position, end - position)
      if (removed === 0) break
      position += removed
    }
    return BigInt(position - page) << shift
  }

  /** Removes what stands at one place; units removed, 0 where the walk must stop. */
  #removePage(page: number, rest: number): number {
    const size = this.largestSize(Math.min(trailingZeros(page), log2Floor(rest)))
    if (size < 0) return 0
    const level = Math.floor(size / this.format.indexBits)
    let table = this.root
    for (let at = this.topLevel; at >= level; at--) {
      const segment = this.memory.segment(table)
      const word = this.wordAt(table, this.indexOf(page, at))
      const lo = segment[word] ?? 0
      const hi = segment[word + 1] ?? 0
      if (!this.format.present(lo, hi)) return 0
      const isLeaf = this.format.isLeaf(at, lo, hi)
      if (at === level) {
        segment[word] = 0
        segment[word + 1] = 0
        if (!isLeaf) this.freeChild(lo, hi, level - 1)
        return 2 ** size
      }
      if (isLeaf) return 0
      table = this.childOf(lo, hi)
    }
    return 0
  }

  /**
   * From leaf to leaf by the size of each, without aligning again: a query that starts inside a block may
   * miss the last one. Stops at an empty item.
   */
  override readAndClearDirty(
    iova: Iova,
    length: ByteLength,
    clear: boolean,
    report: ReportDirty | undefined,
  ): void {
    const { dirty, granuleShift } = this.format
    if (dirty === undefined) return
    const shift = BigInt(granuleShift)
    const end = iova + length
    for (let at: bigint = iova; at < end; ) {
      const { walker } = this
      if (!walker.walk(Number(at >> shift), undefined)) return
      const { lo, hi } = walker
      const size = BigInt(this.unitsAt(walker.level)) << shift
      if ((lo & dirty.mask) === dirty.value && (hi & dirty.hiMask) === dirty.hiMask) {
        report?.(at as Iova, size as ByteLength)
        const segment = this.memory.segment(walker.tablePage)
        if (clear) Atomics.xor(segment, this.wordAt(walker.tablePage, walker.index), dirty.mask)
      }
      at += size
    }
  }
}
