/** SMMUv3 translations and who may attach to them (07 §11.3, §12.3). */
import type { Iova, Pasid } from '../../abi/brands.ts'
import type {
  DmaAccess,
  DmaFault,
  DmaTarget,
  IommuDevice,
  NestedDomain,
  ViommuServices,
} from '../../engine/iommu-driver.ts'
import { type Refusal, type Result, reasonKind, refuse } from '../../engine/reason.ts'
import type { PageTable } from '../page-table.ts'
import { BlockedDomain } from '../static-domains.ts'
import { TableDomain, type TableDomainOptions } from '../table-domain.ts'
import type { SmmuIommu } from './smmu-iommu.ts'

export const SmmuOtherInstance = reasonKind<{ device: string }>({
  code: 'smmu-other-instance',
  errno: 'EINVAL',
  cite: '07 §11.3',
  say: ({ device }) => `the page table was made for another SMMU than that of ${device}`,
  advice: 'Make an HWPT for each SMMU, or attach to the IOAS and let the kernel choose one.',
})

export const SmmuPasidsInUse = reasonKind<{ device: string; pasids: number }>({
  code: 'smmu-pasids-in-use',
  errno: 'EBUSY',
  cite: '07 §11.3',
  say: ({ device, pasids }) =>
    `${pasids} PASIDs of ${device} are attached, and only stage 1 can be beside them`,
  advice: 'Detach the PASIDs first.',
})

export const SmmuCoherencyNotEnforced = reasonKind<{ device: string }>({
  code: 'smmu-coherency-not-enforced',
  errno: 'EINVAL',
  cite: '07 §11.3',
  say: ({ device }) =>
    `the page table enforces coherency, which the SMMU cannot do for ${device} (no CANWBS)`,
  advice:
    "Make another HWPT for this device, or let IOMMU_HWPT_ALLOC with this device's dev_id choose.",
})

export const SmmuPasidNeedsStage1 = reasonKind<{ device: string }>({
  code: 'smmu-pasid-needs-stage1',
  errno: 'EINVAL',
  cite: '07 §11.3',
  say: ({ device }) =>
    `a PASID of ${device} can be on a stage-1 page table only, and beside a device that is on stage 1`,
  advice:
    'Use an HWPT without NEST_PARENT for PASIDs, and attach the device itself to stage 1 first.',
})

export const SmmuNeedsVdevice = reasonKind<{ device: string }>({
  code: 'smmu-needs-vdevice',
  errno: 'ENOENT',
  cite: '07 §11.3',
  say: ({ device }) =>
    `the stream table entry translates by stage 1 and ${device} has no vDEVICE on this vIOMMU`,
  advice: 'Call IOMMU_VDEVICE_ALLOC for the device before attaching it.',
})

/** What a device's RID is on, which decides about its PASIDs. */
type RidKind = 'stage1' | 'other'

export class SmmuPagingDomain extends TableDomain {
  override readonly driver: SmmuIommu
  readonly stage: 1 | 2

  constructor(
    driver: SmmuIommu,
    stage: 1 | 2,
    table: PageTable,
    options: Omit<TableDomainOptions, 'apertureStart' | 'apertureEnd'>,
  ) {
    const apertureEnd = (1n << BigInt(table.geometry.iovaBits)) - 1n
    super(driver, table, { apertureStart: 0n, apertureEnd, ...options })
    this.driver = driver
    this.stage = stage
  }

  enforceCoherency(): boolean {
    this.coherencyEnforced = this.driver.features.canWriteBack
    return this.coherencyEnforced
  }

  attach(device: IommuDevice): Result<void> {
    const refusal = this.#unfit(device)
    if (refusal !== undefined) return refusal
    if (this.stage === 2) {
      const busy = this.driver.pasidsInUse(device)
      if (busy !== undefined) return busy
    }
    this.driver.setRid(device, this.stage === 1 ? 'stage1' : 'other')
  }

  override attachPasid(device: IommuDevice, pasid: Pasid): Result<void> {
    const refusal = this.#unfit(device)
    if (refusal !== undefined) return refusal
    if (this.stage !== 1 || this.driver.ridOf(device) !== 'stage1')
      return refuse(SmmuPasidNeedsStage1, { device: device.name })
    this.driver.usePasid(device, pasid)
  }

  #unfit(device: IommuDevice): Refusal | undefined {
    if (device.instance !== this.driver.instance)
      return refuse(SmmuOtherInstance, { device: device.name })
    if (this.coherencyEnforced && !this.driver.features.canWriteBack)
      return refuse(SmmuCoherencyNotEnforced, { device: device.name })
    return undefined
  }
}

/** Stream-table configuration of the guest: what DMA of the device does (07 §12.3). */
export type SteConfig = 'abort' | 'bypass' | 'stage1'

export class SmmuNestedDomain implements NestedDomain {
  readonly type = 'nested'
  readonly driver: SmmuIommu
  readonly parent: SmmuPagingDomain
  readonly viommu: ViommuServices
  readonly config: SteConfig
  faultCapable = false

  constructor(
    driver: SmmuIommu,
    parent: SmmuPagingDomain,
    viommu: ViommuServices,
    config: SteConfig,
  ) {
    this.driver = driver
    this.parent = parent
    this.viommu = viommu
    this.config = config
  }

  attach(device: IommuDevice): Result<void> {
    if (device.instance !== this.driver.instance)
      return refuse(SmmuOtherInstance, { device: device.name })
    const busy = this.driver.pasidsInUse(device)
    if (busy !== undefined) return busy
    if (this.config === 'stage1' && this.viommu.virtIdOf(device) === undefined)
      return refuse(SmmuNeedsVdevice, { device: device.name })
    this.driver.setRid(device, 'other')
  }

  /** Bypass goes to stage 2; the guest's own context descriptors are not walked. */
  translate(iova: Iova, access: DmaAccess): DmaTarget | DmaFault {
    return this.config === 'bypass' ? this.parent.translate(iova, access) : 'blocked'
  }

  free(): void {}
}

/** Blocking ends what a device had. */
export class SmmuBlockedDomain extends BlockedDomain {
  override attach(device?: IommuDevice): Result<void> {
    if (device !== undefined) (this.driver as SmmuIommu).setRid(device, 'stage1')
  }

  override attachPasid(device?: IommuDevice, pasid?: Pasid): Result<void> {
    if (device !== undefined && pasid !== undefined)
      (this.driver as SmmuIommu).dropPasid(device, pasid)
  }
}

export type { RidKind }
