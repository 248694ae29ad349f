/**
 * One I/O page table as Linux's generic page-table code builds it (07 §1): any format, tables in shared
 * memory, and no other record of what is mapped: what translates is what the table words say.
 */
import { type ByteLength, type Iova, MAX_U64, type PhysAddr } from '../abi/brands.ts'
import type { Protection } from '../engine/iommu-driver.ts'
import { type Refusal, type Result, refuse } from '../engine/reason.ts'
import { sizeTables } from './page-sizes.ts'
import {
  TableItemTaken,
  TableMapEmpty,
  TableMapMisaligned,
  TableMapWithoutPermission,
  TableMapWraps,
  TableMemoryExhausted,
  TableOutOfReach,
  TableOutputTooWide,
  TableProtectionNotExpressible,
} from './page-table-reasons.ts'
import { type ReportDirty, readAndClearDirty } from './table-dirty.ts'
import type { TableFormat, TableGeometry } from './table-format.ts'
import type { TableMemory } from './table-memory.ts'
import { TableMemoryExhaustedError, TableTree } from './table-tree.ts'
import { log2Floor, trailingZeros } from './trailing-zeros.ts'

const CPU_PAGE = 4096n

/** Why writing stopped early; the caller turns it into a reason. */
type WriteFailure = 'taken' | 'memory'

export class PageTable extends TableTree {
  /** By alignment in bits: log2 of the largest page, in units, that it allows; -1 for none. */
  readonly #sizeFor: Int8Array
  /** By log2 of a page in units: the next larger one; 99 for none. */
  readonly #nextSize: Int8Array
  #failure: WriteFailure | undefined

  constructor(format: TableFormat, geometry: TableGeometry, memory: TableMemory) {
    super(format, geometry, memory)
    const sizes = sizeTables(geometry.pageSizes, format.granuleShift)
    this.#sizeFor = sizes.sizeFor
    this.#nextSize = sizes.nextSize
  }

  /** A table with an empty root; undefined when not even that finds room. */
  static create(
    format: TableFormat,
    geometry: TableGeometry,
    memory: TableMemory,
  ): PageTable | undefined {
    try {
      return new PageTable(format, geometry, memory)
    } catch (error) {
      if (error instanceof TableMemoryExhaustedError) return undefined
      throw error
    }
  }

  /**
   * Maps one physically contiguous run. `largest` bounds the leaf size in bytes (small-page mode,
   * 07 §1.3: as if there were one call per page of that size). On refusal no leaf of the range is left.
   */
  map(
    iova: Iova,
    phys: PhysAddr,
    length: ByteLength,
    protection: Protection,
    largest?: ByteLength,
  ): Result<void> {
    const call = { iova, phys, length }
    const refusal = this.checkMap(iova, phys, length, protection)
    if (refusal !== undefined) return refusal
    const shift = BigInt(this.format.granuleShift)
    const page = this.pageInTable(iova)
    const units = Number(length >> shift)
    if (page === undefined || !this.#reach(page, units))
      return refuse(TableOutOfReach, { ...call, iovaBits: this.geometry.iovaBits })
    if (!this.growTo(page + units)) return refuse(TableMemoryExhausted, call)
    const sizeLimit = largest === undefined ? 64 : log2Floor(Number(largest >> shift))
    const written = this.#writeRun(page, Number(phys >> shift), units, protection, sizeLimit)
    return written === units ? undefined : this.#undo(call, page, written)
  }

  /** Takes back what a failing call wrote, and says why it failed. */
  #undo(
    call: { iova: Iova; phys: PhysAddr; length: ByteLength },
    page: number,
    written: number,
  ): Refusal {
    const failure = this.#failure
    this.#failure = undefined
    if (written > 0) this.removeUnits(page, written)
    const taken = (call.iova + BigInt(written) * this.granule) as Iova
    if (failure === 'memory') return refuse(TableMemoryExhausted, call)
    if (failure === 'taken') return this.refuseTaken({ ...call, taken })
    return refuse(TableMapMisaligned, { ...call, pageSizes: this.geometry.pageSizes })
  }

  /**
   * Maps `count` CPU pages, page n to `phys + n * spacing`, as that many calls of `map` would (no leaf
   * spans two of them), at the cost of one. `spacing` is a multiple of the CPU page.
   */
  mapSpaced(
    iova: Iova,
    phys: PhysAddr,
    spacing: ByteLength,
    count: number,
    protection: Protection,
  ): Result<void> {
    const length = (BigInt(count) * CPU_PAGE) as ByteLength
    const call = { iova, phys, length }
    const lastPhys = (phys + BigInt(count - 1) * spacing) as PhysAddr
    const refusal =
      this.checkMap(iova, phys, length, protection) ??
      this.checkMap(iova, lastPhys, length, protection)
    if (refusal !== undefined) return refusal
    const shift = BigInt(this.format.granuleShift)
    const page = this.pageInTable(iova)
    const perPage = Number(CPU_PAGE >> shift)
    const units = count * perPage
    if (page === undefined || !this.#reach(page, units))
      return refuse(TableOutOfReach, { ...call, iovaBits: this.geometry.iovaBits })
    if (!this.growTo(page + units)) return refuse(TableMemoryExhausted, call)
    const frame = Number(phys >> shift)
    const step = Number(spacing >> shift)
    const written = this.#writeSpaced(page, frame, step, count, perPage, protection)
    return written === units ? undefined : this.#undo(call, page, written)
  }

  /** Removes mappings upwards from `iova`; returns the bytes removed, by the rules of 07 §1.7. */
  unmap(iova: Iova, length: ByteLength): bigint {
    const shift = BigInt(this.format.granuleShift)
    if (length === 0n || iova + length - 1n > MAX_U64) return 0n
    if ((iova & (this.granule - 1n)) !== 0n) return 0n
    const page = this.pageInTable(iova)
    const units = Number((length + this.granule - 1n) >> shift)
    if (page === undefined || page + units > this.currentReach()) return 0n
    return BigInt(this.removeUnits(page, units)) << shift
  }

  /** Reports dirty leaves and, if asked, cleans them: 07 §1.9 (see `table-dirty.ts`). */
  readAndClearDirty(
    iova: Iova,
    length: ByteLength,
    clear: boolean,
    report: ReportDirty | undefined,
  ): void {
    readAndClearDirty(this, iova, length, clear, report)
  }

  iovaToPhys(iova: Iova): PhysAddr | undefined {
    const shift = BigInt(this.format.granuleShift)
    if (!this.walker.walk(Number(iova >> shift), undefined)) return undefined
    return ((BigInt(this.walker.frame) << shift) | (iova & (this.granule - 1n))) as PhysAddr
  }

  // What remains are the steps of the above, for this class and the ARM variant.

  protected checkMap(
    iova: Iova,
    phys: PhysAddr,
    length: ByteLength,
    protection: Protection,
  ): Refusal | undefined {
    const call = { iova, phys, length }
    if (!protection.read && !protection.write) return refuse(TableMapWithoutPermission, call)
    if (phys >> BigInt(this.format.outputBits) !== 0n)
      return refuse(TableOutputTooWide, { ...call, outputBits: this.format.outputBits })
    if (this.format.refuses?.(protection))
      return refuse(TableProtectionNotExpressible, { ...call, format: this.format.name })
    if (length === 0n) return refuse(TableMapEmpty, call)
    if (iova + length - 1n > MAX_U64) return refuse(TableMapWraps, call)
    if (((iova | phys | length) & (this.granule - 1n)) !== 0n)
      return refuse(TableMapMisaligned, { ...call, pageSizes: this.geometry.pageSizes })
    return undefined
  }

  protected refuseTaken(fields: {
    iova: bigint
    phys: bigint
    length: bigint
    taken: Iova
  }): Refusal {
    return refuse(TableItemTaken, fields)
  }

  /** An empty table may give way to a leaf; the ARM code does not look whether it is empty. */
  protected mayReplaceTable(table: number, level: number): boolean {
    return this.isEmpty(table, level)
  }

  /** log2 in units of the largest page that an alignment of so many bits allows; -1 for none. */
  protected largestSize(alignedBits: number): number {
    return this.#sizeFor[alignedBits] ?? -1
  }

  /** Whether the range lies inside what the table can ever translate, in one canonical half. */
  #reach(page: number, units: number): boolean {
    const end = page + units
    const width = 2 ** (this.geometry.iovaBits - this.format.granuleShift)
    if (this.geometry.signExtended === true && page < width / 2) return end <= width / 2
    return end <= Math.min(width, this.rootItems(this.maxTop) * this.unitsAt(this.maxTop))
  }

  /** Writes leaves by the greedy rule (07 §1.4); returns the units written, all of them unless it failed. */
  #writeRun(
    page: number,
    frame: number,
    units: number,
    protection: Protection,
    sizeLimit: number,
  ): number {
    const apart = trailingZeros(Math.abs(page - frame))
    let done = 0
    while (done < units) {
      const at = page + done
      const rest = units - done
      const aligned = Math.min(trailingZeros(at), trailingZeros(frame + done), log2Floor(rest))
      const size = this.largestSize(Math.min(aligned, sizeLimit))
      if (size < 0) return done
      // The same size serves until the next larger one may begin, or to the end.
      const next = this.#nextSize[size] ?? 99
      let batch = rest
      if (next <= apart && next <= sizeLimit) {
        const larger = 2 ** next
        batch = Math.min(rest, larger - (at % larger))
      }
      const entry = 2 ** size
      const count = Math.floor(batch / entry)
      const written = this.#writeEntries(at, frame + done, size, count, protection)
      done += written
      if (written < count * entry) return done
    }
    return done
  }

  /** One entry for each page where a page is one entry, else page by page. */
  #writeSpaced(
    page: number,
    frame: number,
    step: number,
    count: number,
    perPage: number,
    protection: Protection,
  ): number {
    const size = log2Floor(perPage)
    const aligned = Math.min(trailingZeros(page), trailingZeros(frame), trailingZeros(step))
    if (aligned >= size && this.largestSize(size) === size)
      return this.#writeEntries(page, frame, size, count, protection, step)
    let written = 0
    for (let n = 0; n < count; n++) {
      const here = this.#writeRun(page + n * perPage, frame + n * step, perPage, protection, 64)
      written += here
      if (here < perPage) break
    }
    return written
  }

  /** `step`: units from the frame of one entry to that of the next; an entry's size where they touch. */
  #writeEntries(
    page: number,
    frame: number,
    size: number,
    count: number,
    protection: Protection,
    step = 2 ** size,
  ): number {
    const { format } = this
    const level = Math.floor(size / format.indexBits)
    const entry = 2 ** size
    const items = entry / this.unitsAt(level)
    const contiguous = items > 1
    const { lo: attributesLow, hi: attributesHigh } = format.leaf(level, contiguous, protection)
    let written = 0
    let target = frame
    let left = count
    while (left > 0) {
      const table = this.#tableFor(page + written, level)
      if (table === undefined) return written
      const first = this.indexOf(page + written, level)
      const room = (level === this.topLevel ? this.rootItems(level) : this.tableItems) - first
      const here = Math.min(left, Math.floor(room / items))
      const segment = this.memory.segment(table)
      let at = this.wordAt(table, first)
      for (let n = 0; n < here; n++) {
        for (let i = 0; i < items; i++) {
          const lo = segment[at + 2 * i] ?? 0
          const hi = segment[at + 2 * i + 1] ?? 0
          if (format.present(lo, hi) && !this.#clearForLeaf(table, first + n * items + i, level))
            return written
        }
        const coded = contiguous ? (format.sizeCode?.(target, entry) ?? target) : target
        target += step
        const field = format.field(coded)
        const lo = field | attributesLow
        const hi = Math.floor(field / 2 ** 32) | attributesHigh
        for (let i = 0; i < items; i++, at += 2) {
          // The half without the present bit first, for whoever walks meanwhile.
          segment[at + 1] = hi
          segment[at] = lo
        }
        written += entry
      }
      left -= here
    }
    return written
  }

  /** The table of `level` on the way to a page, made on demand; undefined with the failure noted. */
  #tableFor(page: number, level: number): number | undefined {
    let table = this.root
    for (let above = this.topLevel; above > level; above--) {
      const index = this.indexOf(page, above)
      const segment = this.memory.segment(table)
      const at = this.wordAt(table, index)
      const lo = segment[at] ?? 0
      const hi = segment[at + 1] ?? 0
      if (!this.format.present(lo, hi)) {
        const child = this.addChild(table, index, above)
        if (child === undefined) {
          this.#failure = 'memory'
          return undefined
        }
        table = child
      } else if (this.format.isLeaf(above, lo, hi)) {
        this.#failure = 'taken'
        return undefined
      } else table = this.childOf(lo, hi)
    }
    return table
  }

  /** Makes room for a leaf where an item is present: only a table may go (07 §1.5). */
  #clearForLeaf(table: number, index: number, level: number): boolean {
    const segment = this.memory.segment(table)
    const at = this.wordAt(table, index)
    const lo = segment[at] ?? 0
    const hi = segment[at + 1] ?? 0
    if (
      this.format.isLeaf(level, lo, hi) ||
      !this.mayReplaceTable(this.childOf(lo, hi), level - 1)
    ) {
      this.#failure = 'taken'
      return false
    }
    segment[at] = 0
    segment[at + 1] = 0
    this.freeChild(lo, hi, level - 1)
    return true
  }

  /** Removes whole entries upwards from `page` until the range or the mappings end; units removed. */
  protected removeUnits(page: number, units: number): number {
    const range = { position: page, end: page + units, stopped: false }
    this.#removeIn(this.root, this.topLevel, range)
    return range.position - page
  }

  #removeIn(
    table: number,
    level: number,
    range: { position: number; end: number; stopped: boolean },
  ): void {
    const { format } = this
    const itemUnits = this.unitsAt(level)
    const items = level === this.topLevel ? this.rootItems(level) : this.tableItems
    const segment = this.memory.segment(table)
    const start = this.wordAt(table, 0)
    let index = this.indexOf(range.position, level)
    while (range.position < range.end && index < items) {
      const at = start + 2 * index
      const lo = segment[at] ?? 0
      const hi = segment[at + 1] ?? 0
      if (!format.present(lo, hi)) {
        range.stopped = true
        return
      }
      if (format.isLeaf(level, lo, hi)) {
        const units = format.leafUnits(level, lo, hi, itemUnits)
        if (units > 1 && range.position % units !== 0) {
          range.stopped = true
          return
        }
        const count = units / itemUnits
        for (let i = at; i < at + 2 * count; i++) segment[i] = 0
        range.position += units
        index += count
        continue
      }
      const covered = range.position % itemUnits === 0 && range.position + itemUnits <= range.end
      this.#removeIn(this.childOf(lo, hi), level - 1, range)
      if (range.stopped) return
      if (covered) {
        segment[at] = 0
        segment[at + 1] = 0
        this.freeChild(lo, hi, level - 1)
      }
      index++
    }
  }
}
