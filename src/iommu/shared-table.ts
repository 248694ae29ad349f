/**
 * A page table as another thread gets it: plain data and shared memory, fit for postMessage. The thread
 * walks it as a device does, with nobody's help (07 §9).
 */
import type { Domain, IommuDevice } from '../engine/iommu-driver.ts'
import { amdv1, amdv1Mock } from './formats/amdv1.ts'
import { type ArmGranule, armStage1, armStage2 } from './formats/arm-lpae.ts'
import { riscv64 } from './formats/riscv64.ts'
import { vtdSecondStage } from './formats/vtd-second-stage.ts'
import { x8664 } from './formats/x86-64.ts'
import { TableDomain } from './table-domain.ts'
import type { TableFormat } from './table-format.ts'
import { TableWalker, type WalkableTable } from './table-walker.ts'

/** Devices reckon in pages of 4 KiB; tables of other pages are left to the engine. */
const PAGE_SHIFT = 12

export type SharedTable = Omit<WalkableTable, 'format'> & {
  readonly format: string
  readonly outputBits: number
  readonly marksDirty: boolean
}

/**
 * What `device` translates through, where one table is all there is to it. Memory that is added to the
 * tables later is not seen through it (the walk ends in `bad-table`): then share it again.
 */
export const sharedTable = (domain: Domain, device: IommuDevice): SharedTable | undefined => {
  if (!(domain instanceof TableDomain)) return undefined
  const walkable = domain.walkableBy(device)
  if (walkable === undefined || walkable.format.granuleShift !== PAGE_SHIFT) return undefined
  const { format, segments, ...rest } = walkable
  return {
    ...rest,
    segments: [...segments],
    format: format.name,
    outputBits: format.outputBits,
    marksDirty: format.dirty !== undefined,
  }
}

export const sharedTableWalker = (shared: SharedTable): TableWalker | undefined => {
  const format = formatFor(shared)
  return format === undefined ? undefined : new TableWalker({ ...shared, format })
}

/** The format as far as walking depends on it: what new items would look like does not matter. */
const formatFor = ({ format, outputBits, marksDirty }: SharedTable): TableFormat | undefined => {
  const [, stage, kilobytes] = /^arm-stage([12])-(4|16|64)k$/.exec(format) ?? []
  if (stage !== undefined) {
    const granuleShift = (Math.log2(Number(kilobytes)) + 10) as ArmGranule
    return stage === '1'
      ? armStage1({ granuleShift, outputBits, dirty: marksDirty })
      : armStage2({ granuleShift, outputBits, forceWriteBack: false })
  }
  switch (format) {
    case amdv1.name:
      return amdv1
    case amdv1Mock.name:
      return amdv1Mock
    case riscv64.name:
      return riscv64
    case 'vtd-second-stage':
      return vtdSecondStage({ snoop: false, coherentWalk: true, nestParent: false })
    case 'x86-64':
      return x8664({ coherentWalk: true })
    default:
      return undefined
  }
}
