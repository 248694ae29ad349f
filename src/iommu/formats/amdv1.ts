/**
 * AMDv1, the host page table of AMD IOMMUs (07 §2), and the mock's variant of it (07 §7).
 *
 * Word: 0 present; 5 accessed; 6 dirty; 11:9 next level (0 leaf of this level's size, 7 leaf with the
 * size coded in the address, else the level of this table); 51:12 address; 60 force coherent; 61 read;
 * 62 write.
 */
import type { TableFormat, TableGeometry } from '../table-format.ts'
import { frameAbove12, frameField12 } from './address-field.ts'

const PRESENT = 1
const DIRTY = 1 << 6
const NEXT_LEVEL_SHIFT = 9
const SIZE_IN_ADDRESS = 7
const FORCE_COHERENT = 1 << 28
const READ = 1 << 29
const WRITE = 1 << 30

const nextLevel = (lo: number): number => (lo >>> NEXT_LEVEL_SHIFT) & 7

/** Position of the lowest zero bit; the size of a contiguous entry is 2^(that + 1) units (07 §2.3). */
const lowestZero = (frame: number): number => {
  const low = ~frame >>> 0
  if (low !== 0) return 31 - Math.clz32(low & -low)
  const high = ~Math.floor(frame / 2 ** 32) >>> 0
  return 63 - Math.clz32(high & -high)
}

const format = (
  name: string,
  granuleShift: number,
  outputBits: number,
  leafHigh: number,
): TableFormat => ({
  name,
  granuleShift,
  indexBits: 9,
  outputBits,
  dirty: {
    mask: DIRTY,
    value: DIRTY,
    hiMask: 0,
    markSet: DIRTY,
    markClear: 0,
    onlyWhileTracking: true,
  },
  present: (lo) => (lo & PRESENT) !== 0,
  isLeaf: (level, lo) => {
    const next = nextLevel(lo)
    return level === 0 || next === 0 || next === SIZE_IN_ADDRESS
  },
  leafUnits: (_level, lo, hi, itemUnits) =>
    nextLevel(lo) === SIZE_IN_ADDRESS ? 2 ** (lowestZero(frameAbove12(lo, hi)) + 1) : itemUnits,
  frameOf: frameAbove12,
  field: frameField12,
  sizeCode: (frame, units) => frame + units / 2 - 1,
  leaf: (_level, contiguous, { read, write }) => ({
    lo: PRESENT | (contiguous ? SIZE_IN_ADDRESS << NEXT_LEVEL_SHIFT : 0),
    hi: leafHigh | (read ? READ : 0) | (write ? WRITE : 0),
  }),
  table: (level) => ({ lo: PRESENT | (level << NEXT_LEVEL_SHIFT), hi: READ | WRITE }),
  permits: (_level, _lo, hi, write) => (hi & (write ? WRITE : READ)) !== 0,
})

/** AMD hardware: 4 KiB pages, 52-bit output, every leaf forced coherent. */
export const amdv1 = format('amdv1', 12, 52, FORCE_COHERENT)

/** The selftest mock: 2 KiB pages, 51-bit output, not forced coherent. */
export const amdv1Mock = format('amdv1-mock', 11, 51, 0)

/** Every power of two from 4 KiB to 2^51 but 512 GiB, below the width's top bit (07 §2.1). */
const amdv1PageSizes = (iovaBits: number): bigint => {
  const all = 0x000f_ff7f_ffff_f000n
  return iovaBits >= 52 ? all : all & ((1n << BigInt(iovaBits - 1)) - 1n)
}

/** A new AMD domain: 39 bits of reach, growing on demand up to its width (07 §2.4). */
export const amdv1Geometry = (
  iovaBits: number,
  pageSizes = amdv1PageSizes(iovaBits),
): TableGeometry => ({
  iovaBits,
  topLevel: 2,
  // The item size of a new top level must be below the width, and there are no more than six levels.
  maxTopLevel: Math.min(5, Math.ceil((iovaBits - 12) / 9) - 1),
  pageSizes,
})

/** Three levels of 2 KiB pages: 38 bits (05 §A.3.2). */
export const amdv1MockGeometry = (pageSizes: bigint): TableGeometry => ({
  iovaBits: 38,
  topLevel: 2,
  pageSizes,
})
