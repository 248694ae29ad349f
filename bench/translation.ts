/**
 * I/O page tables (AMDv1): how fast DMA finds its way, how fast mapping writes them, how fast dirty
 * pages are found.
 */
import { type ByteLength, byteLength, type Iova, iova, physAddr } from '../src/abi/brands.ts'
import { Refusal } from '../src/engine/reason.ts'
import { amdv1, amdv1Geometry } from '../src/iommu/formats/amdv1.ts'
import { PageTable } from '../src/iommu/page-table.ts'
import { readAndClearDirty } from '../src/iommu/table-dirty.ts'
import { TableMemory } from '../src/iommu/table-memory.ts'
import { TableWalker } from '../src/iommu/table-walker.ts'
import { measure, type Operation } from './measure.ts'
import { type Report, time } from './report.ts'

const KIB = 1024n
const MIB = 1024n * KIB
const GIB = 1024n * MIB
const TIB = 1024n * GIB
const PAGE = 4n * KIB

const WALKS = 10_000
const READ_WRITE = { read: true, write: true, mmio: false }

const newTable = (): { table: PageTable; memory: TableMemory } => {
  const memory = new TableMemory()
  return { table: new PageTable(amdv1, amdv1Geometry(64), memory), memory }
}

const map = (table: PageTable, at: bigint, phys: bigint, length: bigint, leaf: bigint): void => {
  const result = table.map(
    iova(at),
    physAddr(phys),
    byteLength(length),
    READ_WRITE,
    byteLength(leaf),
  )
  if (result instanceof Refusal) throw new Error(`mapping refused: ${result.say()}`)
}

/** A gibibyte, mapped with leaves of one size. */
const tableOf = (leaf: bigint): PageTable => {
  const { table } = newTable()
  map(table, 0n, 4n * GIB, GIB, leaf)
  return table
}

/** Pages (4 KiB) of a gibibyte, in order or mixed up. */
const pages = (random: boolean): Float64Array => {
  const count = Number(GIB / PAGE)
  return Float64Array.from({ length: WALKS }, (_, i) =>
    random ? (i * 104_729) % count : i % count,
  )
}

const walks = (name: string, leaf: bigint, random: boolean): Operation => {
  const walker = new TableWalker(tableOf(leaf).walkable())
  const sequence = pages(random)
  return {
    name,
    batch: WALKS,
    run: () => {
      for (const page of sequence)
        if (!walker.walk(page, true)) throw new Error(`no translation: ${walker.fault}`)
    },
  }
}

const whole = (length: bigint): { start: Iova; length: ByteLength } => ({
  start: iova(0n),
  length: byteLength(length),
})

const mapGibibyte = (): Operation[] => {
  const { table } = newTable()
  const pagesOfGib = Number(GIB / PAGE)
  const { start, length } = whole(GIB)
  const mapAll = (): void => map(table, 0n, 4n * GIB, GIB, PAGE)
  const unmapAll = (): void => {
    table.unmap(start, length)
  }
  return [
    { name: 'map 1 GiB in 4K leaves, a leaf', batch: pagesOfGib, run: mapAll, after: unmapAll },
    { name: 'unmap it, a leaf', batch: pagesOfGib, before: mapAll, run: unmapAll },
  ]
}

const dirtyTebibyte = (name: string, leaf: bigint): Operation => {
  const { table } = newTable()
  map(table, 0n, 4n * TIB, TIB, leaf)
  const { start, length } = whole(TIB)
  return {
    name,
    batch: 1,
    run: () => readAndClearDirty(table, start, length, true, () => undefined),
  }
}

const bytesPerGibibyte = (leaf: bigint): number => {
  const { table, memory } = newTable()
  map(table, 0n, 4n * GIB, GIB, leaf)
  return memory.usedBytes
}

export const benchTranslation = async (): Promise<Report[]> => {
  const walking = await measure([
    walks('4K leaves, sequential', PAGE, false),
    walks('4K leaves, random', PAGE, true),
    walks('2M leaves, sequential', 2n * MIB, false),
    walks('2M leaves, random', 2n * MIB, true),
  ])
  const changing = await measure([
    ...mapGibibyte(),
    dirtyTebibyte('dirty pages of 1 TiB in 2M leaves', 2n * MIB),
    dirtyTebibyte('dirty pages of 1 TiB in 1G leaves', GIB),
  ])
  const speeds = [...walking].map(([name, nanoseconds]) => ({
    name,
    headline: `${(1e3 / nanoseconds).toFixed(1)} M/s`,
    detail: time(nanoseconds),
  }))
  const costs = [...changing].map(([name, nanoseconds]) => ({
    name,
    headline: time(nanoseconds),
    detail: '',
  }))
  const memory = [PAGE, 2n * MIB].map((leaf) => ({
    name: `table memory of 1 GiB in ${leaf === PAGE ? '4K' : '2M'} leaves`,
    headline: `${bytesPerGibibyte(leaf) / 1024} KiB`,
    detail: '',
  }))
  return [
    { title: 'DMA translations, page-table walks from the top', figures: speeds },
    { title: 'Page tables', figures: [...costs, ...memory] },
  ]
}
