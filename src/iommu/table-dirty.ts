/**
 * Reading and clearing dirty bits in the tables (07 §1.9).
 */
import type { ByteLength, Iova } from '../abi/brands.ts'
import type { ReportDirty } from '../engine/iommu-driver.ts'
import type { PageTable } from './page-table.ts'

export type { ReportDirty } from '../engine/iommu-driver.ts'

interface Scan {
  readonly table: PageTable
  readonly clear: boolean
  /** Walk position and end, in units; the end is rounded up. */
  position: number
  readonly end: number
  readonly report: (page: number, units: number) => void
}

/**
 * Reports the dirty leaves that intersect `[iova, iova + length)` and, if `clear`, makes them clean.
 * A report starts at the walk position and has the length of the leaf, so that it may reach beyond the
 * range; of an entry with several items the last item is left out (07 §1.9, the contiguous quirk).
 * Neighbouring reports of equal length are joined. What lies outside the present reach is not found.
 */
export const readAndClearDirty = (
  table: PageTable,
  iova: Iova,
  length: ByteLength,
  clear: boolean,
  report: ReportDirty | undefined,
): void => {
  const page = table.pageInTable(iova)
  if (page === undefined || length === 0n || table.format.dirty === undefined) return
  const { granule } = table
  const offset = iova & (granule - 1n)
  const end = page + Number((offset + length + granule - 1n) / granule)
  const spans = new JoinedSpans(table, page, iova, report)
  const scan: Scan = {
    table,
    clear,
    position: page,
    end: Math.min(end, table.currentReach()),
    report: (at, units) => spans.add(at, units),
  }
  if (page < scan.end) scanTable(scan, table.root, table.topLevel)
  spans.flush()
}

const scanTable = (scan: Scan, page: number, level: number): void => {
  const { table } = scan
  const { format } = table
  const dirty = format.dirty
  if (dirty === undefined) return
  const segment = table.memory.segment(page)
  const itemUnits = table.unitsAt(level)
  const items = level === table.topLevel ? table.rootItems(level) : table.tableItems
  const start = table.wordAt(page, 0)
  const first = table.indexOf(scan.position, level)
  /** IOVA page of this table's item 0. */
  const base = scan.position - (scan.position % itemUnits) - first * itemUnits
  const end = Math.min(items, Math.ceil((scan.end - base) / itemUnits))
  for (let index = first; index < end; ) {
    const at = start + 2 * index
    const lo = segment[at] ?? 0
    const hi = segment[at + 1] ?? 0
    if (!format.present(lo, hi)) {
      index++
      scan.position = base + index * itemUnits
      continue
    }
    if (!format.isLeaf(level, lo, hi)) {
      scanTable(scan, table.childOf(lo, hi), level - 1)
      index++
      scan.position = base + index * itemUnits
      continue
    }
    const units = format.leafUnits(level, lo, hi, itemUnits)
    const count = units / itemUnits
    const entry = index - (index % count)
    let isDirty = false
    for (let i = entry; i < entry + count; i++) {
      const low = segment[start + 2 * i] ?? 0
      const high = segment[start + 2 * i + 1] ?? 0
      if ((low & dirty.mask) !== dirty.value || (high & dirty.hiMask) !== dirty.hiMask) continue
      isDirty = true
      // The bit was dirty: turning it over cleans it, whatever else the device does to the word.
      if (scan.clear) Atomics.xor(segment, start + 2 * i, dirty.mask)
      else break
    }
    if (isDirty) {
      const reported = count === 1 ? 1 : Math.min(entry + count - 1, end) - index
      if (reported > 0) scan.report(scan.position, reported * itemUnits)
    }
    index = entry + count
    scan.position = base + index * itemUnits
  }
}

/** Joins neighbouring spans of equal length, and turns pages into IOVAs; the first may begin inside its page. */
class JoinedSpans {
  readonly #table: PageTable
  readonly #firstPage: number
  readonly #firstIova: Iova
  readonly #report: ReportDirty | undefined
  #start = -1
  #end = -1
  /** Units of each of the joined. */
  #each = 0

  constructor(
    table: PageTable,
    firstPage: number,
    firstIova: Iova,
    report: ReportDirty | undefined,
  ) {
    this.#table = table
    this.#firstPage = firstPage
    this.#firstIova = firstIova
    this.#report = report
  }

  /** Bytes by which the current span begins inside its first page. */
  get #inside(): bigint {
    return this.#start === this.#firstPage ? this.#firstIova & (this.#table.granule - 1n) : 0n
  }

  add(page: number, units: number): void {
    if (page === this.#end && units === this.#each && this.#inside === 0n) {
      this.#end += units
      return
    }
    this.flush()
    this.#start = page
    this.#end = page + units
    this.#each = units
  }

  flush(): void {
    if (this.#start < 0 || this.#report === undefined) return
    const { granule } = this.#table
    const pages = BigInt(this.#start - this.#firstPage)
    const iova = (this.#firstIova -
      (this.#firstIova & (granule - 1n)) +
      this.#inside +
      pages * granule) as Iova
    this.#report(
      iova,
      (BigInt(this.#end - this.#start) * granule) as ByteLength,
      (BigInt(this.#each) * granule) as ByteLength,
    )
    this.#start = -1
    this.#end = -1
  }
}

/** Marks the leaf item under `iova` as written, whether tracking is on or not; false without a leaf. */
export const markDirty = (table: PageTable, iova: Iova): boolean => {
  const dirty = table.format.dirty
  const { walker } = table
  if (dirty === undefined) return false
  if (!walker.walk(Number(iova >> BigInt(table.format.granuleShift)), undefined)) return false
  const segment = table.memory.segment(walker.tablePage)
  const at = table.wordAt(walker.tablePage, walker.index)
  Atomics.or(segment, at, dirty.markSet)
  Atomics.and(segment, at, ~dirty.markClear)
  return true
}
