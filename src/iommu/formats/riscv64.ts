/**
 * RISC-V Sv39, Sv48 and Sv57 with 64 KiB Svnapot pages (07 §6).
 *
 * Word: 0 valid; 1 read; 2 write; 3 execute; 4 user; 6 accessed; 7 dirty; 53:10 page number; 63 N.
 */
import type { TableFormat, TableGeometry } from '../table-format.ts'

const VALID = 1 << 0
const READ = 1 << 1
const WRITE = 1 << 2
const EXECUTE = 1 << 3
const USER = 1 << 4
const ACCESSED = 1 << 6
const DIRTY = 1 << 7
const NAPOT = 1 << 31
const NAPOT_UNITS = 16
/** PPN[3:0] of a 64 KiB entry. */
const NAPOT_CODE = 8

export const riscv64: TableFormat = {
  name: 'riscv64',
  granuleShift: 12,
  indexBits: 9,
  outputBits: 56,
  present: (lo) => (lo & VALID) !== 0,
  isLeaf: (level, lo) => level === 0 || (lo & (READ | WRITE | EXECUTE)) !== 0,
  leafUnits: (_level, _lo, hi, itemUnits) => ((hi & NAPOT) !== 0 ? NAPOT_UNITS : itemUnits),
  frameOf: (lo, hi) => (lo >>> 10) + (hi & 0x3f_ffff) * 2 ** 22,
  field: (frame) => frame * 1024,
  sizeCode: (frame) => frame + NAPOT_CODE,
  leaf: (_level, contiguous, { write }) => ({
    lo: VALID | READ | EXECUTE | USER | ACCESSED | (write ? WRITE | DIRTY : 0),
    hi: contiguous ? NAPOT : 0,
  }),
  table: () => ({ lo: VALID, hi: 0 }),
  permits: (level, lo, _hi, write) => {
    if (level > 0 && (lo & (READ | WRITE | EXECUTE)) === 0) return true
    const needed = VALID | USER | ACCESSED | READ | (write ? WRITE | DIRTY : 0)
    return (lo & needed) === needed
  },
}

const SIZES = {
  39: 0x0000_0000_4021_1000n,
  48: 0x0000_0080_4021_1000n,
  57: 0x0001_0080_4021_1000n,
} as const

export const riscv64Geometry = (iovaBits: 39 | 48 | 57): TableGeometry => ({
  iovaBits,
  topLevel: (iovaBits - 12) / 9 - 1,
  signExtended: true,
  pageSizes: SIZES[iovaBits],
})
