/**
 * What distinguishes one I/O page-table format from another, as data and small functions over one
 * 64-bit word (07 §2 to §7). The engines (`page-table.ts`, `lpae-table.ts`) and the walker
 * (`table-walker.ts`) know no format.
 *
 * A word is two unsigned 32-bit halves, `lo` and `hi`: no bigint in hot loops. Addresses are counted
 * in base pages ("units") of the format, which a double holds exactly: an IOVA is a page number, a
 * physical address a frame number.
 */
import type { Protection } from '../engine/iommu-driver.ts'

/** A bit pattern of 64 bits; both halves unsigned. */
export interface Word {
  readonly lo: number
  readonly hi: number
}

/** How a format records that a page was written (07 §1.9). */
export interface DirtyEncoding {
  /** Dirty iff `(lo & mask) === value` and all bits of `hiMask` are set in `hi`. */
  readonly mask: number
  readonly value: number
  readonly hiMask: number
  /** What a device's write does to the low half: set these bits, clear those. */
  readonly markSet: number
  readonly markClear: number
  /** Marks only while tracking is on (AMD, VT-d), or always (ARM). */
  readonly onlyWhileTracking: boolean
}

export interface TableFormat {
  /** Stable name: a worker picks the same format by it. */
  readonly name: string
  /** log2 of the base page in bytes. */
  readonly granuleShift: number
  /** Index bits of every level below the root. */
  readonly indexBits: number
  /** Width of a physical address in bits. */
  readonly outputBits: number
  readonly dirty?: DirtyEncoding

  /** The item holds something. */
  present(lo: number, hi: number): boolean
  /** Of a present item: it yields an address, rather than the next table. */
  isLeaf(level: number, lo: number, hi: number): boolean
  /** Of a leaf: units its whole entry spans; `itemUnits` is the span of one item at this level. */
  leafUnits(level: number, lo: number, hi: number, itemUnits: number): number
  /** Frame number in the address field; of a contiguous leaf possibly mixed with the size code. */
  frameOf(lo: number, hi: number): number
  /** The address field for a frame, as a number below 2^56 with the other bits zero. */
  field(frame: number): number
  /** Frame with size code of a contiguous entry. */
  sizeCode?(frame: number, units: number): number
  /** All but the address field of a leaf; `contiguous` when the entry has several items. */
  leaf(level: number, contiguous: boolean, protection: Protection): Word
  /** All but the address field of the item at `level` that points to a table of `level - 1`. */
  table(level: number): Word
  /** Whether this item, on the way or at the end, lets the access through (07 §9.3). */
  permits(level: number, lo: number, hi: number, write: boolean): boolean
  /** The format cannot express the protection (07 §1.6 row 3). */
  refuses?(protection: Protection): boolean
}

/** The shape of one table: what a driver decides per domain. */
export interface TableGeometry {
  /** Width of the IOVA; reach of the table, or the limit of its growth. */
  readonly iovaBits: number
  /** Level of the root at creation. */
  readonly topLevel: number
  /** Levels up to which the root may rise (AMDv1, 07 §2.4); `topLevel` for fixed tables. */
  readonly maxTopLevel?: number
  /** Both canonical halves are addressable (07 §3.1, §6.1). */
  readonly signExtended?: boolean
  /** Bit n set: leaves of 2^n bytes. */
  readonly pageSizes: bigint
}

/** Value of a half-open run of bits. */
export const bits = (value: number, high: number, low: number): number =>
  (value >>> low) & (2 ** (high - low + 1) - 1)
