/**
 * x86-64 page tables as Intel VT-d's first stage and AMD's guest format ("v2") use them (07 §3).
 *
 * Word: 0 present; 1 write; 2 user; 5 accessed; 6 dirty; 7 large page; 9 (software) on table items when
 * walks are not coherent; 51:12 address. Accessed and dirty are preset and tell nothing.
 */
import type { TableFormat } from '../table-format.ts'
import { frameAbove12, frameField12 } from './address-field.ts'

const PRESENT = 1 << 0
const WRITE = 1 << 1
const USER = 1 << 2
const ACCESSED = 1 << 5
const DIRTY = 1 << 6
const LARGE = 1 << 7
const NON_COHERENT_WALK = 1 << 9

export const x8664 = ({ coherentWalk }: { readonly coherentWalk: boolean }): TableFormat => ({
  name: 'x86-64',
  granuleShift: 12,
  indexBits: 9,
  outputBits: 52,
  present: (lo) => (lo & PRESENT) !== 0,
  isLeaf: (level, lo) => level === 0 || (lo & LARGE) !== 0,
  leafUnits: (_level, _lo, _hi, itemUnits) => itemUnits,
  frameOf: frameAbove12,
  field: frameField12,
  // There is no write-only: what can be written can be read.
  leaf: (level, _contiguous, { write }) => ({
    lo: PRESENT | USER | ACCESSED | (write ? WRITE | DIRTY : 0) | (level > 0 ? LARGE : 0),
    hi: 0,
  }),
  table: () => ({
    lo: PRESENT | WRITE | USER | ACCESSED | (coherentWalk ? 0 : NON_COHERENT_WALK),
    hi: 0,
  }),
  permits: (_level, lo, _hi, write) => {
    const needed = PRESENT | USER | (write ? WRITE : 0)
    return (lo & needed) === needed
  },
})
