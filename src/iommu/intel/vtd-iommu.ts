/** Intel VT-d (07 §12.1; 03 §15.2): one unit, in legacy or scalable mode as its registers say. */
import { hex } from '../../abi/brands.ts'
import { iommu_hw_info_vtd } from '../../abi/iommufd/hw-info.ts'
import { iommu_hwpt_vtd_s1 } from '../../abi/iommufd/hwpt.ts'
import { HwptFlag } from '../../engine/hwpt.ts'
import type {
  DriverData,
  IommuCapability,
  IommuDevice,
  IommuDriver,
  IommuInstance,
  NestedDomain,
  PagingDomain,
  ReservedRegion,
} from '../../engine/iommu-driver.ts'
import { Refusal, type Result, reasonKind, refuse } from '../../engine/reason.ts'
import { vtdSecondStage } from '../formats/vtd-second-stage.ts'
import { x8664 } from '../formats/x86-64.ts'
import { PageTable } from '../page-table.ts'
import { TableMemory } from '../table-memory.ts'
import { x86MsiWindow } from '../x86-regions.ts'
import {
  VtdBlockedDomain,
  VtdFirstStageDomain,
  VtdIdentityDomain,
  VtdSecondStageDomain,
} from './vtd-domains.ts'
import { VTD_S1_DATA, VtdNestedDomain } from './vtd-nested.ts'
import { type VtdRegisters, VtdUnit } from './vtd-unit.ts'

const HW_INFO_VTD = 1
/** IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17: Linux sets it on every machine. */
const ERRATA = 1

export const VtdHwInfoTypeUnknown = reasonKind<{ type: number }>({
  code: 'vtd-hw-info-type-unknown',
  errno: 'EOPNOTSUPP',
  cite: '07 §10.4',
  say: ({ type }) =>
    `the device is behind Intel VT-d (type 1), which has no information of type ${hex(type)}`,
  advice: 'Ask without IOMMU_HW_INFO_FLAG_INPUT_TYPE to learn the type that there is.',
})

export const VtdPagingTakesNoData = reasonKind({
  code: 'vtd-paging-takes-no-data',
  errno: 'EOPNOTSUPP',
  cite: '07 §11.2',
  say: () => 'VT-d takes no data for a page table over an IOAS',
  advice: 'Set data_type and data_len to 0 for an HWPT over an IOAS.',
})

export const VtdFlagUnsupported = reasonKind<{ flags: number; lacks: string }>({
  code: 'vtd-flag-unsupported',
  errno: 'EOPNOTSUPP',
  cite: '07 §11.2',
  say: ({ flags, lacks }) =>
    `HWPT_ALLOC flags ${hex(flags)} need ${lacks}, which this unit does not have`,
  advice:
    'Ask IOMMU_GET_HW_INFO what the unit can do (cap_reg, ecap_reg), and leave the flag out where it cannot.',
})

export const VtdNoTableFits = reasonKind<{ mgaw: number }>({
  code: 'vtd-no-table-fits',
  errno: 'EINVAL',
  cite: '07 §4.1',
  say: ({ mgaw }) => `the unit addresses ${mgaw} bits and offers no depth of table for that`,
  advice: 'This is a fault of the platform description: SAGAW must name a depth of table for MGAW.',
})

export const VtdTableMemoryExhausted = reasonKind({
  code: 'vtd-table-memory-exhausted',
  errno: 'ENOMEM',
  cite: '07 §1.6 row 9',
  say: () => 'no memory is left for another page table',
  advice: 'Destroy HWPTs and unmap what is not needed any more.',
})

export const VtdNestedUnsupported = reasonKind<{ why: string }>({
  code: 'vtd-nested-unsupported',
  errno: 'EOPNOTSUPP',
  cite: '07 §12.1',
  say: ({ why }) => `a nested page table cannot be made: ${why}`,
  advice:
    "Ask IOMMU_GET_HW_INFO whether the unit nests (ecap_reg), and shadow the guest's tables where it does not.",
})

export const VtdParentNotNestParent = reasonKind({
  code: 'vtd-parent-not-nest-parent',
  errno: 'EINVAL',
  cite: '07 §12.1',
  say: () => 'the parent was not allocated with IOMMU_HWPT_ALLOC_NEST_PARENT',
  advice: 'Allocate the parent HWPT with IOMMU_HWPT_ALLOC_NEST_PARENT.',
})

export interface VtdOptions extends VtdRegisters {
  readonly name?: string
  readonly tableMemory?: TableMemory
}

export class VtdIommu implements IommuDriver {
  readonly name = 'intel-vtd'
  readonly userPasidTables = true
  readonly blockedDomain: VtdBlockedDomain = new VtdBlockedDomain(this)
  readonly defaultDomain: VtdIdentityDomain = new VtdIdentityDomain(this)
  readonly instance: IommuInstance
  readonly unit: VtdUnit
  readonly tableMemory: TableMemory
  /** Devices whose DMA a refused attach has cut off, until another succeeds (07 §11.3). */
  readonly cutOff = new Set<IommuDevice>()

  constructor(options: VtdOptions) {
    this.unit = new VtdUnit(options)
    this.tableMemory = options.tableMemory ?? new TableMemory()
    this.instance = {
      name: options.name ?? 'dmar0',
      driver: this,
      maxPasids: this.unit.maxPasids,
      attributes: {
        'intel-iommu/address': 'fed90000',
        'intel-iommu/cap': options.cap.toString(16),
        'intel-iommu/ecap': options.ecap.toString(16),
        'intel-iommu/version': '1:0',
      },
    }
  }

  unitOf(_device: IommuDevice): VtdUnit {
    return this.unit
  }

  capable(device: IommuDevice, capability: IommuCapability): boolean {
    switch (capability) {
      case 'coherent':
        return true
      case 'enforce-coherency':
        return this.unit.snoopControl
      case 'dirty-tracking':
        return this.unit.dirtyTracking
      case 'ats':
        return this.unit.deviceTlb && (device.pci?.ats ?? false)
    }
  }

  hwInfo(_device: IommuDevice, requested: number): Result<{ type: number; data: Uint8Array }> {
    if (requested !== 0 && requested !== HW_INFO_VTD)
      return refuse(VtdHwInfoTypeUnknown, { type: requested })
    const { cap: cap_reg, ecap: ecap_reg } = this.unit.registers
    const data = iommu_hw_info_vtd.encode({ flags: ERRATA, cap_reg, ecap_reg })
    return { type: HW_INFO_VTD, data }
  }

  /** 07 §11.2: the first stage where it will do, the second where flags or the unit demand it. */
  allocPaging(
    _device: IommuDevice,
    flags: number,
    data: DriverData | undefined,
  ): Result<PagingDomain> {
    const { unit } = this
    if (data !== undefined) return refuse(VtdPagingTakesNoData, {})
    const dirtyTracking = (flags & HwptFlag.DIRTY_TRACKING) !== 0
    const nestParent = (flags & HwptFlag.NEST_PARENT) !== 0
    if (nestParent && !unit.nesting) return refuse(VtdFlagUnsupported, { flags, lacks: 'nesting' })
    if (dirtyTracking && !unit.dirtyTracking)
      return refuse(VtdFlagUnsupported, { flags, lacks: 'dirty tracking' })
    if (unit.firstStage && !dirtyTracking && !nestParent) return this.#firstStage()
    if (!unit.secondStage) return refuse(VtdFlagUnsupported, { flags, lacks: 'a second stage' })
    return this.#secondStage(dirtyTracking, nestParent)
  }

  #firstStage(): Result<PagingDomain> {
    const { unit, tableMemory } = this
    const { coherentWalk } = unit
    const table = PageTable.create(x8664({ coherentWalk }), unit.firstStageGeometry(), tableMemory)
    if (table === undefined) return refuse(VtdTableMemoryExhausted, {})
    return new VtdFirstStageDomain(this, unit, table, {
      apertureStart: 0n,
      // Sign-extended: only the lower half is offered.
      apertureEnd: (1n << BigInt(table.geometry.iovaBits - 1)) - 1n,
      dirtyTracking: false,
      nestParent: false,
    })
  }

  #secondStage(dirtyTracking: boolean, nestParent: boolean): Result<PagingDomain> {
    const { unit, tableMemory } = this
    const geometry = unit.secondStageGeometry()
    if (geometry === undefined) return refuse(VtdNoTableFits, { mgaw: unit.mgaw })
    const encoding = { snoop: false, coherentWalk: unit.coherentWalk, nestParent }
    const table = PageTable.create(vtdSecondStage(encoding), geometry, tableMemory)
    if (table === undefined) return refuse(VtdTableMemoryExhausted, {})
    return new VtdSecondStageDomain(this, unit, table, {
      apertureStart: 0n,
      apertureEnd: (1n << BigInt(geometry.iovaBits)) - 1n,
      dirtyTracking,
      nestParent,
      encoding,
    })
  }

  allocNested(
    _device: IommuDevice,
    parent: PagingDomain,
    flags: number,
    data: DriverData,
  ): Result<NestedDomain> {
    if ((flags & ~HwptFlag.PASID) !== 0)
      return refuse(VtdNestedUnsupported, { why: `flags ${hex(flags)} other than PASID` })
    if (!(parent instanceof VtdSecondStageDomain) || !parent.nestParent)
      return refuse(VtdParentNotNestParent, {})
    if (!this.unit.nesting) return refuse(VtdNestedUnsupported, { why: 'the unit cannot nest' })
    if (data.type !== VTD_S1_DATA)
      return refuse(VtdNestedUnsupported, {
        why: `data type ${hex(data.type)} instead of VTD_S1 (1)`,
      })
    const { size } = iommu_hwpt_vtd_s1
    const bytes = data.copyIn(VTD_S1_DATA, size, size)
    return bytes instanceof Refusal ? bytes : new VtdNestedDomain(this, parent, bytes)
  }

  /** Firmware's regions of the device first, then the interrupt window (07 §12.1). */
  reservedRegions(device: IommuDevice): readonly ReservedRegion[] {
    return [...(device.firmwareRegions ?? []), x86MsiWindow]
  }
}
