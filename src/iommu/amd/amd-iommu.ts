/** AMD IOMMU (07 §12.2; 03 §15.3): host tables in AMDv1, tables for PASIDs in the x86-64 format. */
import { hex } from '../../abi/brands.ts'
import { iommu_hw_info_amd } from '../../abi/iommufd/hw-info.ts'
import { HwptFlag } from '../../engine/hwpt.ts'
import type {
  DriverData,
  IommuCapability,
  IommuDevice,
  IommuDriver,
  IommuInstance,
  PagingDomain,
  ReservedRegion,
  ViommuOps,
} from '../../engine/iommu-driver.ts'
import { type Result, reasonKind, refuse } from '../../engine/reason.ts'
import { amdv1, amdv1Geometry } from '../formats/amdv1.ts'
import { x8664 } from '../formats/x86-64.ts'
import { PageTable } from '../page-table.ts'
import { BlockedDomain, IdentityDomain } from '../static-domains.ts'
import { TableDomain } from '../table-domain.ts'
import type { TableFormat, TableGeometry } from '../table-format.ts'
import { TableMemory } from '../table-memory.ts'
import { hyperTransport, x86MsiWindow } from '../x86-regions.ts'

const HW_INFO_AMD = 4

export const AmdHwInfoTypeUnknown = reasonKind<{ type: number }>({
  code: 'amd-hw-info-type-unknown',
  errno: 'EOPNOTSUPP',
  cite: '07 §10.4',
  say: ({ type }) =>
    `the device is behind an AMD IOMMU (type 4), which has no information of type ${hex(type)}`,
  advice: 'Pass IOMMU_HW_INFO_TYPE_DEFAULT and read out_data_type, or IOMMU_HW_INFO_TYPE_AMD.',
})

export const AmdPagingTakesNoData = reasonKind({
  code: 'amd-paging-takes-no-data',
  errno: 'EOPNOTSUPP',
  cite: '07 §11.2',
  say: () => 'the AMD IOMMU takes no data for a page table over an IOAS',
  advice: 'Set data_type and data_len to 0 for an HWPT over an IOAS.',
})

export const AmdFlagUnsupported = reasonKind<{ flags: number; lacks: string }>({
  code: 'amd-flag-unsupported',
  errno: 'EOPNOTSUPP',
  cite: '07 §11.2',
  say: ({ flags, lacks }) => `HWPT_ALLOC flags ${hex(flags)}: the AMD IOMMU lacks ${lacks}`,
  advice:
    'Ask IOMMU_GET_HW_INFO what the IOMMU can do (out_capabilities), and leave the flag out where it cannot.',
})

export const AmdDomainTracksDirty = reasonKind<{ device: string }>({
  code: 'amd-domain-tracks-dirty',
  errno: 'EINVAL',
  cite: '07 §11.3',
  say: ({ device }) =>
    `the page table tracks dirty pages and the IOMMU unit of ${device} cannot (no HDSup)`,
  advice: 'Allocate an HWPT without dirty tracking for this device.',
})

export const AmdTableMemoryExhausted = reasonKind({
  code: 'amd-table-memory-exhausted',
  errno: 'ENOMEM',
  cite: '07 §1.6 row 9',
  say: () => 'no memory is left for another page table',
  advice: 'Destroy HWPTs and unmap what is not needed any more.',
})

export interface AmdOptions {
  readonly name?: string
  readonly efr: bigint
  readonly efr2: bigint
  /** Virtual address size that firmware states; 64 where it states none. */
  readonly vaSize?: number
  /** The CPU has five-level paging, which the guest format then needs too. */
  readonly la57?: boolean
  /** Built with CONFIG_AMD_IOMMU_IOMMUFD (experimental): hardware information and vIOMMUs exist. */
  readonly iommufd?: boolean
  readonly tableMemory?: TableMemory
}

/** What an AMD unit can do, read from its extended feature registers. */
class AmdFeatures {
  readonly width: number
  readonly dirtyTracking: boolean
  readonly nesting: boolean
  readonly guestTables: boolean
  readonly fiveLevelGuest: boolean
  readonly maxPasids: number
  readonly ignoresHyperTransport: boolean

  constructor({ efr, efr2, vaSize = 64, la57 = false }: AmdOptions) {
    const bit = (register: bigint, n: number): boolean => ((register >> BigInt(n)) & 1n) === 1n
    const hats = Number((efr >> 10n) & 3n)
    const gats = Number((efr >> 12n) & 3n)
    const guest = bit(efr, 4) && bit(efr, 48)
    this.width = Math.min(vaSize, 48 + 9 * hats, 64)
    this.dirtyTracking = bit(efr, 52)
    this.nesting = guest && bit(efr2, 3)
    this.fiveLevelGuest = la57 && gats === 1
    this.guestTables =
      guest && bit(efr, 1) && bit(efr, 50) && !bit(efr, 63) && !(la57 && gats === 0)
    this.maxPasids = 2 ** (Number((efr >> 32n) & 0x1fn) + 1) - 1
    this.ignoresHyperTransport = bit(efr2, 11)
  }
}

/** Its paging domains have no PASID operation in Linux 7.2. */
class AmdDomain extends TableDomain {
  attach(device: IommuDevice): Result<void> {
    const { driver } = device.instance
    if (this.dirty !== undefined && !driver.capable(device, 'dirty-tracking'))
      return refuse(AmdDomainTracksDirty, { device: device.name })
  }

  /** Host leaves force coherency anyway; the guest format cannot, and the claim is made all the same. */
  enforceCoherency(): boolean {
    this.coherencyEnforced = true
    return true
  }
}

export class AmdIommu implements IommuDriver {
  readonly name = 'amd'
  readonly userPasidTables = false
  readonly blockedDomain: BlockedDomain = new BlockedDomain(this)
  readonly defaultDomain: IdentityDomain = new IdentityDomain(this)
  readonly instance: IommuInstance
  readonly features: AmdFeatures
  readonly tableMemory: TableMemory
  readonly hwInfo?: NonNullable<IommuDriver['hwInfo']>
  readonly offersViommu?: NonNullable<IommuDriver['offersViommu']>
  readonly initViommu?: NonNullable<IommuDriver['initViommu']>

  constructor(options: AmdOptions) {
    this.features = new AmdFeatures(options)
    this.tableMemory = options.tableMemory ?? new TableMemory()
    this.instance = {
      name: options.name ?? 'ivhd0',
      driver: this,
      maxPasids: this.features.maxPasids,
      attributes: { 'amd-iommu/features': options.efr.toString(16) },
    }
    if (options.iommufd !== true) return
    const { efr, efr2 } = options
    this.hwInfo = (_device, requested) =>
      requested !== 0 && requested !== HW_INFO_AMD
        ? refuse(AmdHwInfoTypeUnknown, { type: requested })
        : { type: HW_INFO_AMD, data: iommu_hw_info_amd.encode({ efr, efr2 }) }
    // Any type is taken, and nothing can be built on what comes of it.
    this.offersViommu = () => true
    this.initViommu = (): Result<ViommuOps> => ({})
  }

  capable(device: IommuDevice, capability: IommuCapability): boolean {
    if (capability === 'dirty-tracking') return this.features.dirtyTracking
    return capability === 'ats' ? (device.pci?.ats ?? false) : true
  }

  allocPaging(
    _device: IommuDevice,
    flags: number,
    data: DriverData | undefined,
  ): Result<PagingDomain> {
    const { features } = this
    if (data !== undefined) return refuse(AmdPagingTakesNoData, {})
    const lacks = (what: string) => refuse(AmdFlagUnsupported, { flags, lacks: what })
    const dirtyTracking = (flags & HwptFlag.DIRTY_TRACKING) !== 0
    const nestParent = (flags & HwptFlag.NEST_PARENT) !== 0
    if ((flags & HwptFlag.PASID) !== 0) {
      if (dirtyTracking || nestParent) return lacks('tables for PASIDs that do anything else')
      if (!features.guestTables) return lacks('tables for PASIDs')
      return this.#guestTable()
    }
    if (nestParent && !features.nesting) return lacks('nesting')
    if (dirtyTracking && !features.dirtyTracking) return lacks('dirty tracking (HDSup)')
    const geometry = amdv1Geometry(features.width)
    return this.#domain(amdv1, geometry, geometry.iovaBits, { dirtyTracking, nestParent })
  }

  #guestTable(): Result<PagingDomain> {
    const wide = this.features.fiveLevelGuest
    const iovaBits = wide ? 56 : 47
    const geometry = { iovaBits, topLevel: wide ? 4 : 3, pageSizes: 0x4020_1000n }
    const plain = { dirtyTracking: false, nestParent: false }
    return this.#domain(x8664({ coherentWalk: true }), geometry, iovaBits, plain)
  }

  #domain(
    format: TableFormat,
    geometry: TableGeometry,
    bits: number,
    options: { dirtyTracking: boolean; nestParent: boolean },
  ): Result<PagingDomain> {
    const table = PageTable.create(format, geometry, this.tableMemory)
    if (table === undefined) return refuse(AmdTableMemoryExhausted, {})
    const apertureEnd = (1n << BigInt(bits)) - 1n
    return new AmdDomain(this, table, { apertureStart: 0n, apertureEnd, ...options })
  }

  reservedRegions(device: IommuDevice): readonly ReservedRegion[] {
    return [
      ...(device.firmwareRegions ?? []),
      x86MsiWindow,
      ...(this.features.ignoresHyperTransport ? [] : [hyperTransport]),
    ]
  }
}
