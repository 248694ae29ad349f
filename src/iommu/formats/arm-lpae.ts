/**
 * ARM LPAE as SMMUv3 uses it, stage 1 and stage 2, granules of 4, 16 and 64 KiB (07 §5). Levels count
 * from the bottom here; ARM's level is 3 minus ours.
 *
 * Word: 1:0 type (3 table or page, 1 block); address in place, with bits 51:48 in 15:12 for 52-bit
 * output; stage 1: 4:2 attributes, 6 unprivileged, 7 read-only, 9:8 shareability, 10 accessed, 11 not
 * global, 51 dirty-bit management; stage 2: 5:2 attributes, 6 read, 7 write.
 */
import type { Protection } from '../../engine/iommu-driver.ts'
import type { TableFormat, TableGeometry } from '../table-format.ts'

const PAGE_OR_TABLE = 3
const BLOCK = 1
const TYPE_MASK = 3
const UNPRIVILEGED = 1 << 6
const READ_ONLY = 1 << 7
const OUTER_SHAREABLE = 2 << 8
const INNER_SHAREABLE = 3 << 8
const ACCESS_FLAG = 1 << 10
const NOT_GLOBAL = 1 << 11
const DIRTY_MANAGEMENT = 1 << 19

const ATTRIBUTES_CACHED = 1 << 2
const ATTRIBUTES_DEVICE = 2 << 2

const STAGE2_DEVICE = 0x1 << 2
const STAGE2_CACHED = 0xf << 2
const STAGE2_CACHED_FWB = 0x6 << 2
const STAGE2_READ = 1 << 6
const STAGE2_WRITE = 1 << 7

export type ArmGranule = 12 | 14 | 16

/** Index bits per level: a table fills one granule. */
const indexBits = (granuleShift: ArmGranule): number => granuleShift - 3

interface ArmOptions {
  readonly granuleShift: ArmGranule
  readonly outputBits: number
}

const common = ({ granuleShift, outputBits }: ArmOptions) => {
  const wide = outputBits > 48
  return {
    granuleShift,
    indexBits: indexBits(granuleShift),
    outputBits,
    present: (lo: number): boolean => (lo & 1) !== 0,
    isLeaf: (level: number, lo: number): boolean => level === 0 || (lo & TYPE_MASK) === BLOCK,
    leafUnits: (_level: number, _lo: number, _hi: number, itemUnits: number): number => itemUnits,
    frameOf: (lo: number, hi: number): number =>
      (lo >>> granuleShift) +
      (hi & 0xffff) * 2 ** (32 - granuleShift) +
      (wide ? ((lo >>> 12) & 0xf) * 2 ** (48 - granuleShift) : 0),
    field: (frame: number): number => {
      const address = frame * 2 ** granuleShift
      if (!wide) return address
      const above = Math.floor(address / 2 ** 48)
      return address - above * 2 ** 48 + above * 4096
    },
    table: () => ({ lo: PAGE_OR_TABLE, hi: 0 }),
  }
}

const type = (level: number): number => (level === 0 ? PAGE_OR_TABLE : BLOCK)

export interface ArmStage1Options extends ArmOptions {
  /** Leaves carry the dirty-bit modifier, and start dirty (07 §1.9). */
  readonly dirty: boolean
}

export const armStage1 = (options: ArmStage1Options): TableFormat => ({
  ...common(options),
  name: `arm-stage1-${2 ** (options.granuleShift - 10)}k`,
  ...(options.dirty
    ? {
        dirty: {
          mask: READ_ONLY,
          value: 0,
          hiMask: DIRTY_MANAGEMENT,
          markSet: 0,
          markClear: READ_ONLY,
          onlyWhileTracking: false,
        },
      }
    : {}),
  leaf: (level, _contiguous, { write, mmio }: Protection) => ({
    lo:
      type(level) |
      (mmio ? ATTRIBUTES_DEVICE : ATTRIBUTES_CACHED) |
      UNPRIVILEGED |
      (write ? 0 : READ_ONLY) |
      (mmio ? OUTER_SHAREABLE : INNER_SHAREABLE) |
      ACCESS_FLAG |
      NOT_GLOBAL,
    hi: options.dirty && write ? DIRTY_MANAGEMENT : 0,
  }),
  permits: (level, lo, hi, write) => {
    if (level > 0 && (lo & TYPE_MASK) === PAGE_OR_TABLE) return true
    const needed = ACCESS_FLAG | UNPRIVILEGED
    if ((lo & needed) !== needed) return false
    return !write || (lo & READ_ONLY) === 0 || (hi & DIRTY_MANAGEMENT) !== 0
  },
})

export interface ArmStage2Options extends ArmOptions {
  /** The domain forces write-back: a nest parent on an SMMU that can. */
  readonly forceWriteBack: boolean
}

export const armStage2 = (options: ArmStage2Options): TableFormat => ({
  ...common(options),
  name: `arm-stage2-${2 ** (options.granuleShift - 10)}k`,
  leaf: (level, _contiguous, { read, write, mmio }: Protection) => ({
    lo:
      type(level) |
      (mmio ? STAGE2_DEVICE : options.forceWriteBack ? STAGE2_CACHED_FWB : STAGE2_CACHED) |
      (read ? STAGE2_READ : 0) |
      (write ? STAGE2_WRITE : 0) |
      (mmio ? OUTER_SHAREABLE : INNER_SHAREABLE) |
      ACCESS_FLAG,
    hi: 0,
  }),
  permits: (level, lo, _hi, write) => {
    if (level > 0 && (lo & TYPE_MASK) === PAGE_OR_TABLE) return true
    return (lo & (write ? STAGE2_WRITE : STAGE2_READ)) !== 0
  },
})

const PAGE_SIZES: Readonly<Record<ArmGranule, bigint>> = {
  12: 0x4020_1000n,
  14: 0x200_4000n,
  16: 0x2001_0000n,
}
const SIZE_4T = 1n << 42n

/** Levels and root of a table (07 §5.2): stage 2 may concatenate root tables. */
export const armGeometry = (
  stage: 1 | 2,
  granuleShift: ArmGranule,
  iovaBits: number,
  outputBits: number,
): TableGeometry => {
  const bits = indexBits(granuleShift)
  const levels = Math.ceil((iovaBits - granuleShift) / bits)
  const start = 4 - levels
  const concatenated =
    stage === 2 &&
    ((granuleShift === 14 && start === 0 && (iovaBits === 48 || outputBits === 48)) ||
      (granuleShift === 12 && start === 0 && (outputBits === 40 || outputBits === 42)) ||
      (granuleShift === 14 && start === 1 && outputBits === 40))
  const wide = granuleShift === 16 && outputBits > 48
  return {
    iovaBits,
    topLevel: levels - 1 - (concatenated ? 1 : 0),
    pageSizes: PAGE_SIZES[granuleShift] | (wide ? SIZE_4T : 0n),
  }
}
