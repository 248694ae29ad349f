/**
 * Walks a table as a device does: from the raw words alone (07 §9). Works in the thread of the engine
 * and in a worker that was sent the segments and the register file.
 *
 * Results stand in the fields after a call, so that a walk allocates nothing.
 */
import type { TableFormat } from './table-format.ts'
import { SEGMENT_PAGES } from './table-memory.ts'

/** Indices into the register file of a table, which plays the part of the device-table entry. */
export const Register = {
  /** `page number of the root << 3 | top level`, one word so that a new root takes effect at once. */
  ROOT: 0,
  /** 1 while dirty tracking is on. */
  TRACKING: 1,
} as const
export const REGISTER_COUNT = 2

/** Everything a walker needs; plain data but for the format, which travels by name. */
export interface WalkableTable {
  readonly format: TableFormat
  readonly iovaBits: number
  readonly signExtended: boolean
  /** Items the root may have at most: a level's for a top that grows, any number for concatenated roots. */
  readonly maxRootItems: number
  readonly registers: Uint32Array
  /** Physical page number of page 0 of the table memory. */
  readonly basePage: number
  readonly segments: readonly Uint32Array[]
}

export type WalkFault =
  /** The IOVA is beyond what the table can express now (07 §9.1). */
  | 'out-of-reach'
  | 'not-present'
  | 'no-permission'
  /** An item points outside the table memory known here. */
  | 'bad-table'

export class TableWalker {
  readonly #table: WalkableTable
  readonly #bits: number
  readonly #mask: number
  /** Table memory page number = table frame * scale - base. */
  readonly #frameToPage: number
  readonly #topUnits: number[] = []
  /** Units that the table can express, and all units of 64 bits. */
  readonly #widthUnits: number
  readonly #allUnits: number

  fault: WalkFault | undefined
  /** Frame (in units) that the page translates to. */
  frame = 0
  /** Units from that page to the end of its entry. */
  units = 0
  level = 0
  /** The leaf (or the item that faulted): its table page, index and word. */
  tablePage = 0
  index = 0
  lo = 0
  hi = 0

  constructor(table: WalkableTable) {
    this.#table = table
    this.#bits = table.format.indexBits
    this.#mask = 2 ** this.#bits - 1
    this.#frameToPage = 2 ** (table.format.granuleShift - 12)
    this.#widthUnits = 2 ** (table.iovaBits - table.format.granuleShift)
    this.#allUnits = 2 ** (64 - table.format.granuleShift)
    for (let level = 0; level < 6; level++) this.#topUnits.push(2 ** (this.#bits * level))
  }

  /**
   * Finds the leaf of an IOVA page (in units); true if there is one that permits the access. `write`
   * undefined asks without permissions.
   */
  walk(page: number, write: boolean | undefined): boolean {
    const { format, registers, segments, basePage, signExtended, maxRootItems } = this.#table
    const root = registers[Register.ROOT] ?? 0
    let level = root & 7
    let tablePage = root >>> 3
    let inside = page
    const widthUnits = this.#widthUnits
    if (signExtended) {
      const top = this.#allUnits
      if (page >= top - widthUnits / 2) inside = page - (top - widthUnits)
      else if (page >= widthUnits / 2) return this.#fail('out-of-reach', level)
    } else if (page >= widthUnits) return this.#fail('out-of-reach', level)
    const low = inside >>> 0
    const high = Math.floor(inside / 2 ** 32)
    let index = Math.floor(inside / (this.#topUnits[level] ?? 1))
    if (index >= maxRootItems) return this.#fail('out-of-reach', level)
    for (;;) {
      const segment = segments[tablePage >>> 8]
      if (segment === undefined) return this.#fail('bad-table', level)
      const at = ((tablePage & (SEGMENT_PAGES - 1)) << 10) + (index << 1)
      const lo = segment[at] ?? 0
      const hi = segment[at + 1] ?? 0
      this.tablePage = tablePage
      this.index = index
      this.lo = lo
      this.hi = hi
      if (!format.present(lo, hi)) return this.#fail('not-present', level)
      if (write !== undefined && !format.permits(level, lo, hi, write))
        return this.#fail('no-permission', level)
      const itemUnits = this.#topUnits[level] ?? 1
      if (format.isLeaf(level, lo, hi)) {
        const units = format.leafUnits(level, lo, hi, itemUnits)
        const frame = format.frameOf(lo, hi)
        if (units === 1) {
          this.frame = frame
          this.units = 1
        } else {
          // Entries are naturally aligned, in the frame as in the IOVA; the low bits may be a size code.
          const offset = inside % units
          this.frame = frame - (frame % units) + offset
          this.units = units - offset
        }
        this.level = level
        this.fault = undefined
        return true
      }
      tablePage = format.frameOf(lo, hi) * this.#frameToPage - basePage
      level--
      const shift = level * this.#bits
      index =
        (shift === 0
          ? low
          : shift < 32
            ? (low >>> shift) | (high << (32 - shift))
            : high >>> (shift - 32)) & this.#mask
    }
  }

  /** Marks the leaf just found as written, as hardware does before the data becomes visible (07 §9.5). */
  markDirty(): void {
    const { format, registers, segments } = this.#table
    const dirty = format.dirty
    if (dirty === undefined) return
    if (dirty.onlyWhileTracking && registers[Register.TRACKING] === 0) return
    if ((this.hi & dirty.hiMask) !== dirty.hiMask) return
    const segment = segments[this.tablePage >>> 8]
    if (segment === undefined) return
    const at = ((this.tablePage & (SEGMENT_PAGES - 1)) << 10) + (this.index << 1)
    if (dirty.markSet !== 0) Atomics.or(segment, at, dirty.markSet)
    if (dirty.markClear !== 0) Atomics.and(segment, at, ~dirty.markClear)
  }

  #fail(fault: WalkFault, level: number): false {
    this.fault = fault
    this.level = level
    return false
  }
}
