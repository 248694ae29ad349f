/** What an SMMUv3 can do, read from its identification registers (07 §12.3). */
import type { ArmGranule } from '../formats/arm-lpae.ts'

export interface SmmuRegisters {
  /** IDR0 to IDR5. */
  readonly idr: readonly [number, number, number, number, number, number]
  readonly iidr: number
  readonly aidr: number
  /** Firmware says that the root complex is coherent by construction. */
  readonly canWriteBack?: boolean
  /** log2 of the CPU's page: the table keeps one granule, this one if the SMMU has it (07 §5.1). */
  readonly cpuPageShift?: ArmGranule
}

const OUTPUT_BITS = [32, 36, 40, 42, 44, 48, 52] as const
const GRANULES: readonly ArmGranule[] = [12, 14, 16]

const bits = (value: number, high: number, low: number): number =>
  (value >>> low) & (2 ** (high - low + 1) - 1)

/** Arm's MMU-600 before variant 2, and MMU-700 before 1.1, lose nesting to errata. */
const losesNesting = (iidr: number): boolean => {
  const product = bits(iidr, 31, 20)
  const variant = bits(iidr, 19, 16)
  const revision = bits(iidr, 15, 12)
  if (bits(iidr, 11, 0) !== 0x43b) return false
  if (product === 0x483) return variant < 2
  return product === 0x487 && (variant === 0 || revision === 0)
}

export class SmmuFeatures {
  readonly registers: SmmuRegisters
  readonly stage1: boolean
  readonly stage2: boolean
  readonly nesting: boolean
  readonly coherent: boolean
  readonly dirtyTracking: boolean
  readonly ats: boolean
  readonly canWriteBack: boolean
  readonly forceWriteBack: boolean
  readonly maxPasids: number
  readonly outputBits: number
  readonly inputBits: number
  readonly granuleShift: ArmGranule

  constructor(registers: SmmuRegisters) {
    const [idr0, idr1, , idr3, , idr5] = registers.idr
    this.registers = registers
    this.stage2 = bits(idr0, 0, 0) === 1
    this.stage1 = bits(idr0, 1, 1) === 1
    this.coherent = bits(idr0, 4, 4) === 1
    this.dirtyTracking = bits(idr0, 7, 6) >= 2 && this.coherent
    this.ats = bits(idr0, 10, 10) === 1
    this.canWriteBack = registers.canWriteBack ?? false
    this.forceWriteBack = bits(idr3, 8, 8) === 1
    this.nesting = this.stage1 && this.stage2 && !losesNesting(registers.iidr)
    const ssid = bits(idr1, 10, 6)
    this.maxPasids = ssid === 0 ? 0 : 2 ** ssid
    this.outputBits = OUTPUT_BITS[bits(idr5, 2, 0)] ?? 48
    const offered = GRANULES.filter((_, i) => bits(idr5, 4 + i, 4 + i) === 1)
    const cpu = registers.cpuPageShift ?? 12
    this.granuleShift =
      offered.find((shift) => shift === cpu) ??
      offered.filter((shift) => shift < cpu).at(-1) ??
      offered[0] ??
      12
    this.inputBits = bits(idr5, 11, 10) !== 0 && this.granuleShift === 16 ? 52 : 48
  }
}
