/**
 * RISC-V IOMMU (07 §12.5). Linux 7.2's driver answers no to every capability, coherent DMA included, so
 * that VFIO and iommufd refuse all its devices; `asIfCoherent` shows what would be without that.
 */
import type {
  IommuCapability,
  IommuDevice,
  IommuDriver,
  IommuInstance,
  PagingDomain,
  ReservedRegion,
} from '../../engine/iommu-driver.ts'
import { type Result, reasonKind, refuse } from '../../engine/reason.ts'
import { riscv64, riscv64Geometry } from '../formats/riscv64.ts'
import { PageTable } from '../page-table.ts'
import { BlockedDomain, IdentityDomain } from '../static-domains.ts'
import { TableDomain } from '../table-domain.ts'
import { TableMemory } from '../table-memory.ts'

export const RiscvModeMissing = reasonKind<{ device: string; mode: number }>({
  code: 'riscv-mode-missing',
  errno: 'ENODEV',
  cite: '07 §11.3',
  say: ({ device, mode }) => `the IOMMU of ${device} does not walk Sv${mode} tables`,
  advice: 'Use an HWPT that was allocated for this device.',
})

export const RiscvTableMemoryExhausted = reasonKind({
  code: 'riscv-table-memory-exhausted',
  errno: 'ENOMEM',
  cite: '07 §1.6 row 9',
  say: () => 'no memory is left for another page table',
  advice: 'Destroy HWPTs and unmap what is not needed any more.',
})

export interface RiscvOptions {
  readonly name?: string
  /** The widest mode that the unit walks: Sv39, Sv48, Sv57. */
  readonly mode: 39 | 48 | 57
  readonly asIfCoherent: boolean
  readonly tableMemory?: TableMemory
}

class RiscvDomain extends TableDomain {
  attach(device: IommuDevice): Result<void> {
    const { driver } = device.instance
    const mode = this.table.geometry.iovaBits
    if (driver instanceof RiscvIommu && driver.options.mode < mode)
      return refuse(RiscvModeMissing, { device: device.name, mode })
  }
}

export class RiscvIommu implements IommuDriver {
  readonly name = 'riscv-iommu'
  readonly userPasidTables = false
  readonly blockedDomain: BlockedDomain = new BlockedDomain(this)
  readonly defaultDomain: IdentityDomain = new IdentityDomain(this)
  readonly instance: IommuInstance
  readonly options: RiscvOptions
  readonly tableMemory: TableMemory

  constructor(options: RiscvOptions) {
    this.options = options
    this.tableMemory = options.tableMemory ?? new TableMemory()
    this.instance = { name: options.name ?? 'riscv-iommu0', driver: this, maxPasids: 0 }
  }

  capable(_device: IommuDevice, capability: IommuCapability): boolean {
    return capability === 'coherent' && this.options.asIfCoherent
  }

  allocPagingPlain(): Result<PagingDomain> {
    const { mode } = this.options
    const table = PageTable.create(riscv64, riscv64Geometry(mode), this.tableMemory)
    if (table === undefined) return refuse(RiscvTableMemoryExhausted, {})
    return new RiscvDomain(this, table, {
      apertureStart: 0n,
      apertureEnd: (1n << BigInt(mode - 1)) - 1n,
      dirtyTracking: false,
      nestParent: false,
    })
  }

  reservedRegions(device: IommuDevice): readonly ReservedRegion[] {
    return device.firmwareRegions ?? []
  }
}
