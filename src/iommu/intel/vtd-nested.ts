/** The user's own first stage on a nest parent (07 §10.5, §12.1). */
import { hex, type Iova, type Pasid, type PhysAddr } from '../../abi/brands.ts'
import { iommu_hwpt_vtd_s1, iommu_hwpt_vtd_s1_invalidate } from '../../abi/iommufd/hwpt.ts'
import type {
  DmaAccess,
  DmaFault,
  DmaTarget,
  DriverArray,
  IommuDevice,
  NestedDomain,
} from '../../engine/iommu-driver.ts'
import { Refusal, type Result, reasonKind, refuse } from '../../engine/reason.ts'
import {
  attachVtd,
  attachVtdPasid,
  type VtdMismatch,
  type VtdSecondStageDomain,
} from './vtd-domains.ts'
import type { VtdIommu } from './vtd-iommu.ts'
import type { VtdUnit } from './vtd-unit.ts'

export const VTD_S1_DATA = 1
export const VTD_S1_INVALIDATE = 0

const SRE = 1n
const EAFE = 2n

export const VtdAddressWidth = reasonKind<{ width: number; fiveLevel: boolean }>({
  code: 'vtd-address-width',
  errno: 'EINVAL',
  cite: '07 §12.1',
  say: ({ width, fiveLevel }) =>
    `addr_width is ${width}; this unit walks first-stage tables of 48${fiveLevel ? ' or 57' : ''} bits`,
  advice: 'Set addr_width to 48, or to 57 where ecap_reg reports five levels.',
})

export const VtdStage1Flag = reasonKind<{ flag: string }>({
  code: 'vtd-stage1-flag',
  errno: 'EINVAL',
  cite: '07 §12.1',
  say: ({ flag }) => `the unit has no support for the flag ${flag}`,
  advice:
    'Ask IOMMU_GET_HW_INFO what the unit can do (ecap_reg), and leave the flag out where it cannot.',
})

export const VtdInvalidateType = reasonKind<{ type: number }>({
  code: 'vtd-invalidate-type',
  errno: 'EINVAL',
  cite: '07 §12.1',
  say: ({ type }) => `VT-d knows invalidation requests of type 0, not ${hex(type)}`,
  advice: 'Set data_type to IOMMU_HWPT_INVALIDATE_DATA_VTD_S1.',
})

export const VtdInvalidateReserved = reasonKind<{ flags: number; reserved: number }>({
  code: 'vtd-invalidate-reserved',
  errno: 'EOPNOTSUPP',
  cite: '07 §12.1',
  say: ({ flags, reserved }) =>
    `flags ${hex(flags)} may be LEAF (1) only, and the reserved field (${hex(reserved)}) must be zero`,
  advice:
    'Set every request to zero before filling it in; the only flag is IOMMU_VTD_INV_FLAGS_LEAF.',
})

export const VtdInvalidateRange = reasonKind<{ addr: bigint; npages: bigint }>({
  code: 'vtd-invalidate-range',
  errno: 'EINVAL',
  cite: '07 §12.1',
  say: ({ addr, npages }) =>
    `address ${hex(addr)} with ${npages} pages: it must be a multiple of 4096, and 0 for all pages`,
  advice: 'Align addr to 4096, or set addr to 0 and npages to 2^64-1 for everything.',
})

export interface VtdStage1 {
  readonly flags: bigint
  readonly pgtbl_addr: bigint
  readonly addr_width: number
}

export class VtdNestedDomain implements NestedDomain {
  readonly type = 'nested'
  readonly driver: VtdIommu
  readonly parent: VtdSecondStageDomain
  /** As the user gave it; judged at attach only. */
  readonly stage1: VtdStage1
  faultCapable = false

  constructor(driver: VtdIommu, parent: VtdSecondStageDomain, bytes: Uint8Array) {
    this.driver = driver
    this.parent = parent
    this.stage1 = iommu_hwpt_vtd_s1.decode(bytes)
  }

  #problem(unit: VtdUnit): VtdMismatch | Refusal | undefined {
    const unfit = this.parent.mismatch(unit)
    if (unfit !== undefined) return unfit
    const { addr_width: width, flags } = this.stage1
    const fiveLevel = unit.fiveLevelFirstStage
    if (width !== 48 && !(width === 57 && fiveLevel))
      return refuse(VtdAddressWidth, { width, fiveLevel })
    if ((flags & SRE) !== 0n && !unit.supervisorRequests)
      return refuse(VtdStage1Flag, { flag: 'SRE' })
    if ((flags & EAFE) !== 0n && !unit.extendedAccessed)
      return refuse(VtdStage1Flag, { flag: 'EAFE' })
    return undefined
  }

  attach(device: IommuDevice): Result<void> {
    return attachVtd(this.driver, this, device, (unit) => this.#problem(unit))
  }

  attachPasid(device: IommuDevice, _pasid: Pasid): Result<void> {
    return attachVtdPasid(this, device, (unit) => this.#problem(unit))
  }

  /** There is no IOTLB: every DMA reads the tables. Requests are judged as the real driver does. */
  invalidate(requests: DriverArray): Result<void> {
    if (requests.type !== VTD_S1_INVALIDATE)
      return refuse(VtdInvalidateType, { type: requests.type })
    const { size, decode } = iommu_hwpt_vtd_s1_invalidate
    for (let index = 0; index < requests.entryCount; index++) {
      const bytes = requests.copyEntry(VTD_S1_INVALIDATE, index, size, size)
      if (bytes instanceof Refusal) return bytes
      const { addr, npages, flags, __reserved: reserved } = decode(bytes)
      if ((flags & ~1) !== 0 || reserved !== 0)
        return refuse(VtdInvalidateReserved, { flags, reserved })
      if ((addr & 0xfffn) !== 0n || (npages === 0xffff_ffff_ffff_ffffn && addr !== 0n))
        return refuse(VtdInvalidateRange, { addr, npages })
      requests.handled++
    }
  }

  /** Walks the user's table; its addresses, and what it yields, go through the parent (07 §9.6). */
  translate(iova: Iova, access: DmaAccess): DmaTarget | DmaFault {
    if (this.driver.cutOff.has(access.device) && access.pasid === undefined) return 'blocked'
    const { addr_width: width, pgtbl_addr: root } = this.stage1
    const canonical = BigInt.asUintN(64, BigInt.asIntN(width, iova))
    if (canonical !== iova) return 'out-of-reach'
    let table = root & ADDRESS
    for (let level = width === 57 ? 4 : 3; level >= 0; level--) {
      const shift = BigInt(12 + 9 * level)
      const slot = (table + ((iova >> shift) & 0x1ffn) * 8n) as Iova
      const word = this.#read(slot, access)
      if (typeof word === 'string') return word
      if ((word & PRESENT) === 0n) return 'not-mapped'
      if ((word & USER) === 0n || (access.write && (word & WRITE) === 0n)) return 'no-permission'
      if (level > 0 && (word & LARGE) === 0n) {
        table = word & ADDRESS
        continue
      }
      const size = 1n << shift
      const offset = iova & (size - 1n)
      const target = this.parent.translate(((word & ADDRESS & -size) | offset) as Iova, access)
      if (typeof target === 'string') return target
      return { phys: target.phys, length: Math.min(target.length, Number(size - offset)) }
    }
    return 'not-mapped'
  }

  #read(slot: Iova, access: DmaAccess): bigint | DmaFault {
    const target = this.parent.translate(slot, { ...access, write: false })
    if (typeof target === 'string') return target
    const bytes = new Uint8Array(8)
    if (!access.memory.read(target.phys as PhysAddr, bytes)) return 'not-mapped'
    return new DataView(bytes.buffer).getBigUint64(0, true)
  }

  free(): void {}
}

const PRESENT = 1n
const WRITE = 2n
const USER = 4n
const LARGE = 0x80n
const ADDRESS = 0x000f_ffff_ffff_f000n
