/** ARM SMMUv3 (07 §12.3; 03 §15.4). */
import { byteLength, hex, iova, type Pasid } from '../../abi/brands.ts'
import { iommu_hw_info_arm_smmuv3 } from '../../abi/iommufd/hw-info.ts'
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
  ViommuServices,
} from '../../engine/iommu-driver.ts'
import { type Refusal, type Result, reasonKind, refuse } from '../../engine/reason.ts'
import { armGeometry, armStage1, armStage2 } from '../formats/arm-lpae.ts'
import { LpaeTable } from '../lpae-table.ts'
import { IdentityDomain } from '../static-domains.ts'
import { TableMemory } from '../table-memory.ts'
import { TableMemoryExhaustedError } from '../table-tree.ts'
import {
  type RidKind,
  SmmuBlockedDomain,
  SmmuOtherInstance,
  SmmuPagingDomain,
  SmmuPasidsInUse,
} from './smmu-domains.ts'
import { SmmuFeatures, type SmmuRegisters } from './smmu-features.ts'
import { smmuViommu } from './smmu-viommu.ts'

const HW_INFO_SMMUV3 = 2
const VIOMMU_SMMUV3 = 1

/** Where software puts the doorbells of interrupts. */
export const armMsiWindow: ReservedRegion = {
  start: iova(0x800_0000n),
  length: byteLength(0x10_0000n),
  kind: 'sw-msi',
}

export const SmmuHwInfoTypeUnknown = reasonKind<{ type: number }>({
  code: 'smmu-hw-info-type-unknown',
  errno: 'EOPNOTSUPP',
  cite: '07 §10.4',
  say: ({ type }) =>
    `the device is behind an SMMUv3 (type 2), which has no information of type ${hex(type)}`,
  advice:
    'Pass IOMMU_HW_INFO_TYPE_DEFAULT and read out_data_type, or IOMMU_HW_INFO_TYPE_ARM_SMMUV3.',
})

export const SmmuPagingTakesNoData = reasonKind({
  code: 'smmu-paging-takes-no-data',
  errno: 'EOPNOTSUPP',
  cite: '07 §11.2',
  say: () => 'an SMMUv3 takes no data for a page table over an IOAS',
  advice: 'Set data_type and data_len to 0 for an HWPT over an IOAS.',
})

export const SmmuFlagUnsupported = reasonKind<{ flags: number; lacks: string }>({
  code: 'smmu-flag-unsupported',
  errno: 'EOPNOTSUPP',
  cite: '07 §11.2',
  say: ({ flags, lacks }) => `HWPT_ALLOC flags ${hex(flags)}: this SMMU has no ${lacks}`,
  advice:
    'Ask IOMMU_GET_HW_INFO what the SMMU can do (idr), and leave the flag out where it cannot.',
})

export const SmmuTableMemoryExhausted = reasonKind({
  code: 'smmu-table-memory-exhausted',
  errno: 'ENOMEM',
  cite: '07 §1.6, ARM row 5',
  say: () => 'no memory is left for another page table',
  advice: 'Destroy HWPTs and unmap what is not needed any more.',
})

export interface SmmuOptions extends SmmuRegisters {
  readonly name?: string
  readonly tableMemory?: TableMemory
}

interface DeviceState {
  rid: RidKind
  readonly pasids: Set<Pasid>
}

export class SmmuIommu implements IommuDriver {
  readonly name = 'arm-smmu-v3'
  readonly userPasidTables = true
  readonly blockedDomain: SmmuBlockedDomain = new SmmuBlockedDomain(this)
  readonly defaultDomain: IdentityDomain = new IdentityDomain(this)
  readonly instance: IommuInstance
  readonly features: SmmuFeatures
  readonly tableMemory: TableMemory
  readonly #devices = new Map<IommuDevice, DeviceState>()

  constructor(options: SmmuOptions) {
    this.features = new SmmuFeatures(options)
    this.tableMemory = options.tableMemory ?? new TableMemory()
    this.instance = {
      name: options.name ?? 'smmu3.0x0000000009050000',
      driver: this,
      maxPasids: this.features.maxPasids,
    }
  }

  capable(device: IommuDevice, capability: IommuCapability): boolean {
    const { coherent, canWriteBack, dirtyTracking, ats } = this.features
    switch (capability) {
      case 'coherent':
        return coherent
      case 'enforce-coherency':
        return canWriteBack
      case 'dirty-tracking':
        return dirtyTracking
      case 'ats':
        return ats && (device.pci?.ats ?? false)
    }
  }

  hwInfo(_device: IommuDevice, requested: number): Result<{ type: number; data: Uint8Array }> {
    if (requested !== 0 && requested !== HW_INFO_SMMUV3)
      return refuse(SmmuHwInfoTypeUnknown, { type: requested })
    const { idr, iidr, aidr } = this.features.registers
    const data = iommu_hw_info_arm_smmuv3.encode({ flags: 0, idr: [...idr], iidr, aidr })
    return { type: HW_INFO_SMMUV3, data }
  }

  allocPaging(
    _device: IommuDevice,
    flags: number,
    data: DriverData | undefined,
  ): Result<PagingDomain> {
    const { features } = this
    if (data !== undefined) return refuse(SmmuPagingTakesNoData, {})
    const lacks = (what: string): Refusal => refuse(SmmuFlagUnsupported, { flags, lacks: what })
    const dirty = (flags & HwptFlag.DIRTY_TRACKING) !== 0
    if ((flags & HwptFlag.NEST_PARENT) !== 0) {
      if (flags !== HwptFlag.NEST_PARENT) return lacks('nest parent that is anything else too')
      return features.nesting ? this.#stage2(true) : lacks('nesting')
    }
    if (dirty && !features.dirtyTracking) return lacks('dirty tracking')
    if (features.stage1) return this.#stage1(dirty)
    return flags === 0 ? this.#stage2(false) : lacks('stage 1')
  }

  #stage1(dirty: boolean): Result<PagingDomain> {
    const { granuleShift, inputBits, outputBits } = this.features
    const format = armStage1({ granuleShift, outputBits, dirty })
    return this.#domain(
      1,
      () => {
        const geometry = armGeometry(1, granuleShift, inputBits, outputBits)
        return new LpaeTable(format, geometry, this.tableMemory)
      },
      { dirtyTracking: dirty, nestParent: false },
    )
  }

  #stage2(nestParent: boolean): Result<PagingDomain> {
    const { granuleShift, outputBits, forceWriteBack } = this.features
    const force = nestParent && forceWriteBack
    const format = armStage2({ granuleShift, outputBits, forceWriteBack: force })
    const width = granuleShift === 16 ? outputBits : Math.min(outputBits, 48)
    return this.#domain(
      2,
      () => {
        const geometry = armGeometry(2, granuleShift, width, width)
        return new LpaeTable(format, geometry, this.tableMemory)
      },
      { dirtyTracking: false, nestParent },
    )
  }

  #domain(
    stage: 1 | 2,
    make: () => LpaeTable,
    options: { dirtyTracking: boolean; nestParent: boolean },
  ): Result<PagingDomain> {
    try {
      return new SmmuPagingDomain(this, stage, make(), options)
    } catch (error) {
      if (error instanceof TableMemoryExhaustedError) return refuse(SmmuTableMemoryExhausted, {})
      throw error
    }
  }

  offersViommu(_device: IommuDevice, viommuType: number): boolean {
    const { nesting, canWriteBack, forceWriteBack } = this.features
    return viommuType === VIOMMU_SMMUV3 && nesting && (canWriteBack || forceWriteBack)
  }

  initViommu(viommu: ViommuServices, parent: PagingDomain): Result<ViommuOps> {
    if (!(parent instanceof SmmuPagingDomain) || parent.driver !== this)
      return refuse(SmmuOtherInstance, { device: viommu.instance.name })
    return smmuViommu(this, viommu, parent)
  }

  reservedRegions(device: IommuDevice): readonly ReservedRegion[] {
    return [armMsiWindow, ...(device.firmwareRegions ?? [])]
  }

  // What PASIDs and the RID of a device are on; each rules the other out in part.

  ridOf(device: IommuDevice): RidKind {
    return this.#stateOf(device).rid
  }

  setRid(device: IommuDevice, rid: RidKind): void {
    this.#stateOf(device).rid = rid
  }

  usePasid(device: IommuDevice, pasid: Pasid): void {
    this.#stateOf(device).pasids.add(pasid)
  }

  dropPasid(device: IommuDevice, pasid: Pasid): void {
    this.#stateOf(device).pasids.delete(pasid)
  }

  pasidsInUse(device: IommuDevice): Refusal | undefined {
    const pasids = this.#stateOf(device).pasids.size
    return pasids === 0 ? undefined : refuse(SmmuPasidsInUse, { device: device.name, pasids })
  }

  #stateOf(device: IommuDevice): DeviceState {
    const known = this.#devices.get(device)
    if (known !== undefined) return known
    const state: DeviceState = { rid: 'stage1', pasids: new Set() }
    this.#devices.set(device, state)
    return state
  }
}
