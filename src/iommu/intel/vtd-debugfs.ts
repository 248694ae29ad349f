/**
 * A page table as Linux shows that of an Intel IOMMU in debugfs (its ABI documentation,
 * debugfs-intel-iommu): a line for each leaf, with the entries that lead to it.
 */
import { hex } from '../../abi/brands.ts'
import type { Domain } from '../../engine/iommu-driver.ts'
import { TableDomain } from '../table-domain.ts'
import { SEGMENT_PAGES } from '../table-memory.ts'
import { Register, type WalkableTable } from '../table-walker.ts'

const HEADER = 'IOVA_PFN\t\tPML5E\t\t\tPML4E\t\t\tPDPE\t\t\tPDE\t\t\tPTE\n'
const LEVELS = 5
const PAGE_SHIFT = 12n

/** `domain_translation_struct` of a device on this domain; empty where it has no page table. */
export const domainTranslation = (
  domain: Domain | undefined,
  device: string,
  pasid?: number,
): string => {
  if (!(domain instanceof TableDomain)) return ''
  const table = domain.table.walkable()
  if (table === undefined) return ''
  const root = table.registers[Register.ROOT] ?? 0
  const whose = pasid === undefined ? device : `${device} with pasid ${pasid}`
  const address = BigInt(table.basePage + (root >>> 3)) << PAGE_SHIFT
  const lines = [...leaves(table, root >>> 3, root & 7, 0n, [])]
  return `Device ${whose} @${hex(address, 0)}\n${HEADER}${lines.join('')}`
}

/** The lines of what is below one table; `above` holds the entries that lead to it, outermost first. */
function* leaves(
  table: WalkableTable,
  tablePage: number,
  level: number,
  base: bigint,
  above: readonly string[],
): Generator<string> {
  const { format, segments, basePage } = table
  const segment = segments[tablePage >>> 8]
  if (segment === undefined) return
  const start = (tablePage & (SEGMENT_PAGES - 1)) << 10
  const span = 1n << BigInt(level * format.indexBits)
  for (let index = 0; index < 2 ** format.indexBits; index++) {
    const lo = segment[start + 2 * index] ?? 0
    const hi = segment[start + 2 * index + 1] ?? 0
    if (!format.present(lo, hi)) continue
    const page = base + BigInt(index) * span
    const entries = [...above, hex((BigInt(hi) << 32n) | BigInt(lo), 16)]
    if (format.isLeaf(level, lo, hi)) yield line(page, entries, level)
    else yield* leaves(table, format.frameOf(lo, hi) - basePage, level - 1, page, entries)
  }
}

const NOTHING = hex(0, 16)

/** Levels that the table does not have, and those below the leaf, are zero. */
const line = (page: bigint, entries: readonly string[], level: number): string => {
  const missing = new Array<string>(LEVELS - level - entries.length).fill(NOTHING)
  const below = new Array<string>(level).fill(NOTHING)
  return `${hex(page, 13)} |\t${[...missing, ...entries, ...below].join('\t')}\n`
}
