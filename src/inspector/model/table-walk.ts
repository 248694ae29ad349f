/** Walks the page table of an HWPT in an engine, for people: every entry on the way. */
import { iova as checkedIova, type Iova } from '../../abi/brands.ts'
import type { Context } from '../../engine/context.ts'
import { HwptNested, HwptPaging } from '../../engine/hwpt.ts'
import { TableDomain } from '../../iommu/table-domain.ts'
import type { WalkStep } from '../../iommu/table-tree.ts'
import { byteCount } from './call-text.ts'

export interface WalkedLevel extends WalkStep {
  /** Bits of the IOVA that make the index. */
  readonly indexBits: number
}

export interface TableWalk {
  readonly format: string
  readonly iovaBits: number
  /** For people: `4 KiB, 2 MiB and 1 GiB`. */
  readonly pageSizes: string
  readonly levels: readonly WalkedLevel[]
  /** Low bits of the IOVA that the last level does not look at. */
  readonly offsetBits: number
  /** Undefined where the walk ends without a translation; then `fault` says why. */
  readonly phys: bigint | undefined
  readonly fault: string
}

/** Why it cannot be walked, as a sentence, where it cannot. */
export const walkTable = (
  context: Context,
  hwptId: number,
  address: bigint,
): TableWalk | string => {
  const hwpt = context.objects.peek(hwptId)
  if (hwpt instanceof HwptNested)
    return 'This page table is one that the program keeps in its own memory; what the IOMMU reads there is not looked at here.'
  if (!(hwpt instanceof HwptPaging)) return `There is no page table ${hwptId} at this moment.`
  const { domain } = hwpt
  if (!(domain instanceof TableDomain))
    return 'This IOMMU keeps its translations in another form than a page table.'
  const { table } = domain
  const at: Iova = checkedIova(address)
  const steps = table.walk(at)
  const { format, geometry } = table
  const last = steps.at(-1)
  return {
    format: format.name,
    iovaBits: geometry.iovaBits,
    pageSizes: sizes(geometry.pageSizes),
    levels: steps.map((step) => ({ ...step, indexBits: format.indexBits })),
    offsetBits: format.granuleShift + format.indexBits * (last?.level ?? 0),
    phys: table.iovaToPhys(at),
    fault:
      last === undefined
        ? 'the table does not reach that far'
        : `the entry at level ${last.level} is empty`,
  }
}

const MOST_SIZES = 4

const sizes = (mask: bigint): string => {
  const all: string[] = []
  for (let shift = 0n; shift < 64n; shift += 1n)
    if ((mask & (1n << shift)) !== 0n) all.push(byteCount(1n << shift))
  return all.length <= MOST_SIZES
    ? all.join(', ')
    : `${all.slice(0, 2).join(', ')} … ${all.at(-1)} (${all.length} sizes)`
}
