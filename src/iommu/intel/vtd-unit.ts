/** What a VT-d unit can do, read from its capability registers (07 §12.1). */

import { vtdSecondStageGeometry } from '../formats/vtd-second-stage.ts'
import type { TableGeometry } from '../table-format.ts'

export interface VtdRegisters {
  readonly cap: bigint
  readonly ecap: bigint
}

const SIZE_4K = 0x1000n
const SIZE_2M = 0x20_0000n
const SIZE_1G = 0x4000_0000n

const field = (value: bigint, high: number, low: number): number =>
  Number((value >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n))

export class VtdUnit {
  readonly registers: VtdRegisters
  /** Scalable mode is on wherever the unit has it. */
  readonly scalable: boolean
  readonly secondStage: boolean
  readonly firstStage: boolean
  readonly nesting: boolean
  readonly snoopControl: boolean
  readonly coherentWalk: boolean
  readonly dirtyTracking: boolean
  readonly fiveLevelFirstStage: boolean
  readonly deviceTlb: boolean
  readonly supervisorRequests: boolean
  readonly extendedAccessed: boolean
  readonly pageRequests: boolean
  readonly maxPasids: number
  readonly mgaw: number

  constructor(registers: VtdRegisters) {
    const { cap, ecap } = registers
    const has = (register: bigint, bit: number): boolean => field(register, bit, bit) === 1
    this.registers = registers
    this.mgaw = field(cap, 21, 16) + 1
    this.scalable = has(ecap, 43)
    this.secondStage = !this.scalable || has(ecap, 46)
    this.firstStage = this.scalable && has(ecap, 47)
    this.nesting = this.scalable && has(ecap, 26)
    this.snoopControl = has(ecap, 7)
    this.coherentWalk = has(ecap, this.scalable ? 48 : 0)
    this.dirtyTracking = this.scalable && has(ecap, 45) && has(ecap, 48)
    this.fiveLevelFirstStage = has(cap, 60)
    this.deviceTlb = has(ecap, 2)
    this.supervisorRequests = has(ecap, 31)
    this.extendedAccessed = has(ecap, 34)
    this.pageRequests = this.scalable && has(ecap, 29) && has(ecap, 42)
    this.maxPasids = this.scalable && has(ecap, 40) ? 2 ** (field(ecap, 39, 35) + 1) : 0
  }

  /** 07 §4.1; undefined where no width of table fits the unit. */
  secondStageGeometry(): TableGeometry | undefined {
    const { cap } = this.registers
    const sizes =
      SIZE_4K |
      (field(cap, 34, 34) === 1 ? SIZE_2M : 0n) |
      (field(cap, 35, 35) === 1 ? SIZE_1G : 0n)
    return vtdSecondStageGeometry(this.mgaw, field(cap, 12, 8), sizes)
  }

  /** 07 §3.1: sign-extended, of which the lower half is offered. */
  firstStageGeometry(): TableGeometry {
    const wide = this.mgaw > 48 && this.fiveLevelFirstStage
    return {
      iovaBits: Math.min(wide ? 57 : 48, this.mgaw),
      topLevel: wide ? 4 : 3,
      signExtended: true,
      pageSizes: SIZE_4K | SIZE_2M | (field(this.registers.cap, 56, 56) === 1 ? SIZE_1G : 0n),
    }
  }
}
