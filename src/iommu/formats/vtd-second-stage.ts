/**
 * Intel VT-d second stage (07 §4): no present bit, an item is empty iff the word is 0.
 *
 * Word: 0 read; 1 write; 7 large page; 8 accessed; 9 dirty; 10 (software) on table items when walks are
 * not coherent; 11 snoop; 51:12 address.
 */
import type { TableFormat, TableGeometry } from '../table-format.ts'
import { frameAbove12, frameField12 } from './address-field.ts'

const READ = 1 << 0
const WRITE = 1 << 1
const LARGE = 1 << 7
const ACCESSED = 1 << 8
const DIRTY = 1 << 9
const NON_COHERENT_WALK = 1 << 10
const SNOOP = 1 << 11

export interface VtdSecondStageOptions {
  /** Coherency is enforced for the domain: every leaf snoops. May be set until the first leaf is written. */
  snoop: boolean
  readonly coherentWalk: boolean
  /** A nest parent holds no read-only mappings, on any machine (07 §4.3). */
  readonly nestParent: boolean
}

export const vtdSecondStage = (options: VtdSecondStageOptions): TableFormat => ({
  name: 'vtd-second-stage',
  granuleShift: 12,
  indexBits: 9,
  outputBits: 52,
  dirty: {
    mask: DIRTY,
    value: DIRTY,
    hiMask: 0,
    markSet: DIRTY | ACCESSED,
    markClear: 0,
    onlyWhileTracking: true,
  },
  present: (lo, hi) => (lo | hi) !== 0,
  isLeaf: (level, lo) => level === 0 || (lo & LARGE) !== 0,
  leafUnits: (_level, _lo, _hi, itemUnits) => itemUnits,
  frameOf: frameAbove12,
  field: frameField12,
  leaf: (level, _contiguous, { read, write }) => ({
    lo:
      (read ? READ : 0) |
      (write ? WRITE : 0) |
      (level > 0 ? LARGE : 0) |
      (options.snoop ? SNOOP : 0),
    hi: 0,
  }),
  table: () => ({ lo: READ | WRITE | (options.coherentWalk ? 0 : NON_COHERENT_WALK), hi: 0 }),
  permits: (_level, lo, _hi, write) => (lo & (write ? WRITE : READ)) !== 0,
  refuses: ({ write }) => options.nestParent && !write,
})

/** Width and depth that a unit's CAP register allows (07 §4.1); undefined where it allows none. */
export const vtdSecondStageGeometry = (
  mgaw: number,
  sagaw: number,
  pageSizes: bigint,
): TableGeometry | undefined => {
  if (mgaw > 48 && sagaw >= 8) return { iovaBits: Math.min(57, mgaw), topLevel: 4, pageSizes }
  if (mgaw > 39 && sagaw >= 4)
    return { iovaBits: Math.min(48, mgaw), topLevel: (sagaw & 8) !== 0 ? 4 : 3, pageSizes }
  if (mgaw > 30 && sagaw >= 2) {
    const topLevel = (sagaw & 0b11100) === 0 ? 2 : (sagaw & 0b100) !== 0 ? 3 : 4
    return { iovaBits: Math.min(39, mgaw), topLevel, pageSizes }
  }
  return undefined
}
