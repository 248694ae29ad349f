/**
 * virtio-iommu (07 §8, §12.4): its configuration is the profile. Linux keeps no table for it but sends
 * MAP and UNMAP requests; what the device then translates by stands here in a table of AMD's format,
 * which can express every page size.
 */
import type { ByteLength, Iova, PhysAddr } from '../../abi/brands.ts'
import type {
  IommuCapability,
  IommuDevice,
  IommuDriver,
  IommuInstance,
  PagingDomain,
  Protection,
  ReservedRegion,
} from '../../engine/iommu-driver.ts'
import { type Result, reasonKind, refuse } from '../../engine/reason.ts'
import { armMsiWindow } from '../arm/smmu-iommu.ts'
import { amdv1, amdv1Geometry } from '../formats/amdv1.ts'
import { PageTable } from '../page-table.ts'
import { BlockedDomain, IdentityDomain } from '../static-domains.ts'
import { TableDomain } from '../table-domain.ts'
import { TableMemory } from '../table-memory.ts'

export const VirtioOtherInstance = reasonKind<{ device: string }>({
  code: 'virtio-other-instance',
  errno: 'EINVAL',
  cite: '07 §11.3',
  say: ({ device }) => `the page table was made for another virtio IOMMU than that of ${device}`,
  advice: 'Make an HWPT for each IOMMU, or attach to the IOAS and let the kernel choose one.',
})

export const VirtioNoMmio = reasonKind<{ iova: Iova }>({
  code: 'virtio-no-mmio',
  errno: 'EINVAL',
  cite: '07 §11.4',
  say: ({ iova: at }) =>
    `the device does not offer the MMIO feature, so that device memory cannot be mapped at 0x${at.toString(16)}`,
  advice: 'Do not map device memory into this IOAS: the IOMMU cannot translate to it.',
})

export const VirtioTableMemoryExhausted = reasonKind({
  code: 'virtio-table-memory-exhausted',
  errno: 'ENOMEM',
  cite: '07 §11.3',
  say: () => 'no memory is left for another translation',
  advice: 'Destroy HWPTs and unmap what is not needed any more.',
})

export interface VirtioOptions {
  readonly name?: string
  /** Bit n set: pages of 2^n bytes. */
  readonly pageSizeMask: bigint
  /** Inclusive. */
  readonly inputStart?: bigint
  readonly inputEnd?: bigint
  /** Regions that the device reports by PROBE; without an MSI one, software's window is added. */
  readonly probed?: readonly ReservedRegion[]
  readonly mmio?: boolean
  readonly tableMemory?: TableMemory
}

class VirtioDomain extends TableDomain {
  override readonly pageSizes: bigint
  readonly #mmio: boolean

  constructor(driver: VirtioIommu, table: PageTable, options: VirtioOptions) {
    super(driver, table, {
      apertureStart: options.inputStart ?? 0n,
      apertureEnd: options.inputEnd ?? 0xffff_ffff_ffff_ffffn,
      dirtyTracking: false,
      nestParent: false,
    })
    this.pageSizes = options.pageSizeMask
    this.#mmio = options.mmio ?? false
  }

  attach(device: IommuDevice): Result<void> {
    if (device.instance.driver !== this.driver)
      return refuse(VirtioOtherInstance, { device: device.name })
  }

  /** A MAP request without permissions is legal, and lets nothing through. */
  override map(
    at: Iova,
    phys: PhysAddr,
    length: ByteLength,
    prot: Protection,
    largestPage?: ByteLength,
  ): Result<void> {
    if (prot.mmio && !this.#mmio) return refuse(VirtioNoMmio, { iova: at })
    return prot.read || prot.write ? super.map(at, phys, length, prot, largestPage) : undefined
  }

  override mapSpaced(
    at: Iova,
    phys: PhysAddr,
    spacing: ByteLength,
    count: number,
    prot: Protection,
  ): Result<void> {
    return prot.read || prot.write ? super.mapSpaced(at, phys, spacing, count, prot) : undefined
  }
}

export class VirtioIommu implements IommuDriver {
  readonly name = 'virtio-iommu'
  readonly userPasidTables = false
  readonly blockedDomain: BlockedDomain = new BlockedDomain(this)
  readonly defaultDomain: IdentityDomain = new IdentityDomain(this)
  readonly instance: IommuInstance
  readonly options: VirtioOptions
  readonly tableMemory: TableMemory

  constructor(options: VirtioOptions) {
    this.options = options
    this.tableMemory = options.tableMemory ?? new TableMemory()
    this.instance = { name: options.name ?? 'virtio0', driver: this, maxPasids: 0 }
  }

  capable(_device: IommuDevice, capability: IommuCapability): boolean {
    return capability === 'coherent'
  }

  allocPagingPlain(): Result<PagingDomain> {
    const table = PageTable.create(amdv1, amdv1Geometry(64), this.tableMemory)
    if (table === undefined) return refuse(VirtioTableMemoryExhausted, {})
    return new VirtioDomain(this, table, this.options)
  }

  reservedRegions(device: IommuDevice): readonly ReservedRegion[] {
    const probed = [...(this.options.probed ?? []), ...(device.firmwareRegions ?? [])]
    return probed.some(({ kind }) => kind === 'msi') ? probed : [...probed, armMsiWindow]
  }
}

/** Any power of two from 4 KiB on, as QEMU offers. */
export const EVERY_PAGE_SIZE = 0xffff_ffff_ffff_f000n
