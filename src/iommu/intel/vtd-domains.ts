/** VT-d translations and who may attach to them (07 §11.3, §12.1). */
import type { Iova, Pasid } from '../../abi/brands.ts'
import type {
  DmaAccess,
  DmaFault,
  DmaTarget,
  Domain,
  IommuDevice,
  StaticDomain,
} from '../../engine/iommu-driver.ts'
import { Refusal, type Result, reasonKind, refuse } from '../../engine/reason.ts'
import type { PageTable } from '../page-table.ts'
import { BlockedDomain, IdentityDomain } from '../static-domains.ts'
import { TableDomain, type TableDomainOptions } from '../table-domain.ts'
import type { WalkableTable } from '../table-walker.ts'
import type { VtdIommu } from './vtd-iommu.ts'
import type { VtdUnit } from './vtd-unit.ts'

/** What a domain assumes that the unit in front of a device does not have. */
export type VtdMismatch =
  | 'dirty tracking'
  | 'nesting'
  | 'second-stage translation'
  | 'first-stage translation'
  | 'coherent table walks'
  | 'so wide an address'
  | 'the depth of table'
  | 'the page sizes'
  | 'snoop control'

export const VtdDomainDoesNotFit = reasonKind<{ device: string; lacks: VtdMismatch }>({
  code: 'vtd-domain-does-not-fit',
  errno: 'EINVAL',
  cite: '07 §11.3',
  say: ({ device, lacks }) =>
    `the IOMMU unit of ${device} has no support for what this page table uses: ${lacks}`,
  advice: 'Allocate the page table for a device behind the same unit.',
})

export const VtdPageRequestsOff = reasonKind<{ device: string }>({
  code: 'vtd-page-requests-off',
  errno: 'ENODEV',
  cite: '07 §11.3',
  say: ({ device }) =>
    `page requests are not enabled on ${device}, and the page table has a fault queue`,
  advice:
    'Attach devices with page requests (PRI) to HWPTs with a fault queue, and others to HWPTs without.',
})

export const VtdNoPasid = reasonKind<{ device: string }>({
  code: 'vtd-no-pasid',
  errno: 'EOPNOTSUPP',
  cite: '07 §11.3',
  say: ({ device }) => `the IOMMU unit of ${device} has no PASIDs`,
  advice: 'Use PASIDs only where the platform is in scalable mode, such as --platform intel-sm-57.',
})

/** What every attachment does: the unit blocks the device first, and a refusal leaves it so (07 §11.3). */
export const attachVtd = (
  driver: VtdIommu,
  domain: Domain,
  device: IommuDevice,
  check: (unit: VtdUnit) => VtdMismatch | Refusal | undefined,
): Result<void> => {
  const problem = vtdProblem(domain, device, check)
  if (problem !== undefined) {
    driver.cutOff.add(device)
    return problem
  }
  driver.cutOff.delete(device)
}

export const attachVtdPasid = (
  domain: Domain,
  device: IommuDevice,
  check: (unit: VtdUnit) => VtdMismatch | Refusal | undefined,
): Result<void> => {
  if (device.instance.maxPasids === 0) return refuse(VtdNoPasid, { device: device.name })
  return vtdProblem(domain, device, check)
}

const vtdProblem = (
  domain: Domain,
  device: IommuDevice,
  check: (unit: VtdUnit) => VtdMismatch | Refusal | undefined,
): Refusal | undefined => {
  const { driver } = device.instance
  const unit = (driver as VtdIommu).unitOf(device)
  const problem = check(unit)
  if (problem instanceof Refusal) return problem
  if (problem !== undefined)
    return refuse(VtdDomainDoesNotFit, { device: device.name, lacks: problem })
  if (domain.faultCapable && !(unit.pageRequests && device.pci?.pri))
    return refuse(VtdPageRequestsOff, { device: device.name })
  return undefined
}

abstract class VtdPagingDomain extends TableDomain {
  override readonly driver: VtdIommu
  /** The unit that it was made for. */
  readonly unit: VtdUnit

  constructor(driver: VtdIommu, unit: VtdUnit, table: PageTable, options: TableDomainOptions) {
    super(driver, table, options)
    this.driver = driver
    this.unit = unit
  }

  abstract mismatch(unit: VtdUnit): VtdMismatch | undefined

  attach(device: IommuDevice): Result<void> {
    return attachVtd(this.driver, this, device, (unit) => this.mismatch(unit))
  }

  override attachPasid(device: IommuDevice, _pasid: Pasid): Result<void> {
    return attachVtdPasid(this, device, (unit) => this.mismatch(unit))
  }

  override translate(iova: Iova, access: DmaAccess): DmaTarget | DmaFault {
    return this.driver.cutOff.has(access.device) && access.pasid === undefined
      ? 'blocked'
      : super.translate(iova, access)
  }

  override walkableBy(device: IommuDevice): WalkableTable | undefined {
    return this.driver.cutOff.has(device) ? undefined : super.walkableBy(device)
  }

  /** Decided once, before anything is mapped. */
  enforceCoherency(): boolean {
    this.coherencyEnforced = this.unit.snoopControl
    return this.coherencyEnforced
  }

  protected commonMismatch(unit: VtdUnit): VtdMismatch | undefined {
    if (!unit.coherentWalk && this.unit.coherentWalk) return 'coherent table walks'
    if (this.coherencyEnforced && !unit.snoopControl) return 'snoop control'
    return undefined
  }
}

export class VtdSecondStageDomain extends VtdPagingDomain {
  readonly #encoding: { snoop: boolean }

  constructor(
    driver: VtdIommu,
    unit: VtdUnit,
    table: PageTable,
    options: TableDomainOptions & { readonly encoding: { snoop: boolean } },
  ) {
    super(driver, unit, table, options)
    this.#encoding = options.encoding
  }

  mismatch(unit: VtdUnit): VtdMismatch | undefined {
    if (this.dirty !== undefined && !unit.dirtyTracking) return 'dirty tracking'
    if (this.nestParent && !unit.nesting) return 'nesting'
    if (!unit.secondStage) return 'second-stage translation'
    const { iovaBits, topLevel, pageSizes } = this.table.geometry
    const offered = unit.secondStageGeometry()
    if (unit.mgaw < iovaBits || offered === undefined) return 'so wide an address'
    if (offered.topLevel !== topLevel) return 'the depth of table'
    if ((pageSizes & ~offered.pageSizes) !== 0n) return 'the page sizes'
    return this.commonMismatch(unit)
  }

  /** The bit stands in every leaf, so that the table must know before the first one is written. */
  override enforceCoherency(): boolean {
    this.#encoding.snoop = super.enforceCoherency()
    return this.#encoding.snoop
  }
}

export class VtdFirstStageDomain extends VtdPagingDomain {
  mismatch(unit: VtdUnit): VtdMismatch | undefined {
    if (!unit.firstStage) return 'first-stage translation'
    const { topLevel, pageSizes } = this.table.geometry
    const offered = unit.firstStageGeometry()
    if (topLevel === 4 && offered.topLevel < 4) return 'so wide an address'
    if ((pageSizes & ~offered.pageSizes) !== 0n) return 'the page sizes'
    return this.commonMismatch(unit)
  }
}

/** Blocking always works, and puts the device back in order. */
export class VtdBlockedDomain extends BlockedDomain implements StaticDomain {
  override attach(device?: IommuDevice): Result<void> {
    if (device !== undefined) (this.driver as VtdIommu).cutOff.delete(device)
  }
}

export class VtdIdentityDomain extends IdentityDomain implements StaticDomain {
  override attach(device?: IommuDevice): Result<void> {
    if (device !== undefined) (this.driver as VtdIommu).cutOff.delete(device)
  }
}
