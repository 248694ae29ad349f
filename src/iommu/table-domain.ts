/**
 * A paging domain on a real page table: what every table-based IOMMU driver shares. Drivers add who may
 * attach.
 */
import type { ByteLength, Iova, Pasid, PhysAddr } from '../abi/brands.ts'
import type {
  DirtyOps,
  DmaAccess,
  DmaFault,
  DmaTarget,
  Domain,
  IommuDevice,
  IommuDriver,
  PagingDomain,
  Protection,
  ReportDirty,
} from '../engine/iommu-driver.ts'
import type { Result } from '../engine/reason.ts'
import type { PageTable } from './page-table.ts'
import type { WalkableTable } from './table-walker.ts'

export interface TableDomainOptions {
  readonly apertureStart: bigint
  readonly apertureEnd: bigint
  readonly dirtyTracking: boolean
  readonly nestParent: boolean
}

export abstract class TableDomain implements PagingDomain {
  readonly type = 'paging'
  readonly driver: IommuDriver
  readonly table: PageTable
  readonly pageSizes: bigint
  readonly apertureStart: Iova
  readonly apertureEnd: Iova
  readonly nestParent: boolean
  readonly dirty?: DirtyOps
  faultCapable = false
  coherencyEnforced = false

  constructor(driver: IommuDriver, table: PageTable, options: TableDomainOptions) {
    this.driver = driver
    this.table = table
    this.pageSizes = table.geometry.pageSizes
    this.apertureStart = options.apertureStart as Iova
    this.apertureEnd = options.apertureEnd as Iova
    this.nestParent = options.nestParent
    if (options.dirtyTracking) this.dirty = new TableDirtyOps(table)
  }

  abstract attach(device: IommuDevice, old: Domain): Result<void>
  attachPasid?(device: IommuDevice, pasid: Pasid, old: Domain | undefined): Result<void>

  map(
    iova: Iova,
    phys: PhysAddr,
    length: ByteLength,
    prot: Protection,
    largestPage?: ByteLength,
  ): Result<void> {
    return this.table.map(iova, phys, length, prot, largestPage)
  }

  mapSpaced(
    iova: Iova,
    phys: PhysAddr,
    spacing: ByteLength,
    count: number,
    prot: Protection,
  ): Result<void> {
    return this.table.mapSpaced(iova, phys, spacing, count, prot)
  }

  unmap(iova: Iova, length: ByteLength): void {
    const removed = this.table.unmap(iova, length)
    // Nothing at all is there where a dma-buf was revoked. Else the engine unmaps whole runs that it
    // mapped, and anything else is a bug that must not go unseen.
    if (removed !== length && (removed > 0n || this.iovaToPhys(iova) !== undefined))
      throw new Error(`unmap of ${length} bytes at ${iova} removed ${removed} bytes`)
  }

  iovaToPhys(iova: Iova): PhysAddr | undefined {
    return this.table.iovaToPhys(iova)
  }

  translate(iova: Iova, access: DmaAccess): DmaTarget | DmaFault {
    return translateBy(this.table, iova, access.write)
  }

  /** For a device that walks the table in a thread of its own; undefined where a walk does not say it all. */
  walkableBy(_device: IommuDevice): WalkableTable | undefined {
    return this.table.walkable()
  }

  free(): void {
    this.table.free()
  }
}

const FAULTS = {
  'out-of-reach': 'out-of-reach',
  'not-present': 'not-mapped',
  'no-permission': 'no-permission',
  'bad-table': 'not-mapped',
} as const

/** One translation by a table: walks it, and marks the leaf of a permitted write. */
export const translateBy = (table: PageTable, iova: Iova, write: boolean): DmaTarget | DmaFault => {
  const { walker, granule } = table
  const shift = BigInt(table.format.granuleShift)
  if (!walker.walk(Number(iova >> shift), write)) return FAULTS[walker.fault ?? 'not-present']
  if (write) walker.markDirty()
  const offset = iova & (granule - 1n)
  return {
    phys: ((BigInt(walker.frame) << shift) | offset) as PhysAddr,
    length: walker.units * Number(granule) - Number(offset),
  }
}

class TableDirtyOps implements DirtyOps {
  readonly #table: PageTable

  constructor(table: PageTable) {
    this.#table = table
  }

  setTracking(enable: boolean): Result<void> {
    this.#table.tracking = enable
  }

  /** Reports are cut to the range, which Linux does not do; programs that ask for whole areas see no difference (05 §A.3.4). */
  readAndClear(
    iova: Iova,
    length: ByteLength,
    clear: boolean,
    report: ReportDirty | undefined,
  ): Result<void> {
    const end = iova + length
    this.#table.readAndClearDirty(
      iova,
      length,
      clear,
      report === undefined
        ? undefined
        : (start, size, leaf) => {
            const beyond = start + size - end
            report(start, beyond > 0n ? ((size - beyond) as ByteLength) : size, leaf)
          },
    )
  }
}
