/**
 * What the engine asks of an IOMMU driver (03 §14). `iommu/` implements it; writing another simulated
 * IOMMU means implementing `IommuDriver` and one `PagingDomain`: everything marked optional is a feature
 * that user space is told is not there (EOPNOTSUPP). test/engine/support/test-iommu.ts is a whole one.
 *
 * Every operation returns its value or a Refusal, which reaches the client verbatim. Where 03 §14.3 gives
 * an errno a meaning to the engine (EINVAL from attach: "does not fit this device, another domain might")
 * the engine looks at `refusal.errno`.
 *
 * What a driver may rely on:
 * - `attach` comes once for each member of a group, bound or not, in group order; on a refusal the engine
 *   puts the earlier members back to `old`, and the refusing device must still be on it. Attaching the
 *   static domains must succeed.
 * - A domain of another driver is never attached first, but may come with a replace: refuse it (EINVAL).
 * - A paging domain is switched to enforcing coherency, if at all, right after it was made.
 * - `map` and `unmap` stay inside the aperture, are aligned to the smallest page, and name what is not,
 *   or is, mapped. When `free` comes everything is unmapped and nothing attached.
 * - Page requests of a device go to the engine through `reportFault` (fault-report.ts) and come back as
 *   `pageResponse`, one for each group.
 */
import type { ByteLength, Iova, ObjectId, Pasid, PhysAddr } from '../abi/brands.ts'
import type { Result } from './reason.ts'

/** One IOMMU unit. vIOMMUs are tied to an instance; several instances may share a driver. */
export interface IommuInstance {
  readonly name: string
  readonly driver: IommuDriver
  /** Number of PASIDs it handles, 0 for none. */
  readonly maxPasids: number
  /** What sysfs shows of it, by file below its directory: `intel-iommu/cap`. */
  readonly attributes?: Readonly<Record<string, string>>
}

export type ReservedKind = 'direct' | 'direct-relaxable' | 'reserved' | 'msi' | 'sw-msi'

export interface ReservedRegion {
  readonly start: Iova
  readonly length: ByteLength
  readonly kind: ReservedKind
}

/** A physical (simulated) device behind an IOMMU, as the IOMMU sees it. */
export interface IommuDevice {
  readonly name: string
  readonly instance: IommuInstance
  readonly group: IommuGroup
  /** min(device's, instance's) number of PASIDs; 0 for a device without. */
  readonly maxPasids: number
  /** Present for PCI devices. */
  readonly pci?: {
    readonly isVf: boolean
    readonly pfHasPri: boolean
    readonly pasidExec: boolean
    readonly pasidPriv: boolean
    /** The device and its way to the IOMMU can do address translation services. */
    readonly ats?: boolean
    /** Page requests are enabled on the device. */
    readonly pri?: boolean
  }
  /** What firmware says of the device: RMRR, IVMD, RMR (07 §10.3). The driver adds its own regions. */
  readonly firmwareRegions?: readonly ReservedRegion[]
  /** Platform isolates this device's MSIs (03 §4.1 check 3), or need not (mock). */
  readonly msiIsolated: boolean
  /** A PCI reset with ATS is under way: attach and replace answer EBUSY (03 §5.3 step 4.6). */
  readonly inReset?: boolean
}

/** Devices that the hardware cannot isolate from each other. */
export interface IommuGroup {
  readonly number: number
  /** Members in group order. */
  readonly devices: readonly IommuDevice[]
}

export type IommuCapability = 'coherent' | 'enforce-coherency' | 'dirty-tracking' | 'ats'

/** Driver-specific data of the caller (`data_type`, `data_len`, `data_uptr`); absent when data_len is 0. */
export interface DriverData {
  readonly type: number
  readonly length: number
  /**
   * Copies the driver's struct in: type differs EINVAL; length outside minimum..full EINVAL; unreadable
   * EFAULT; a shorter struct is extended with zeroes to `full`.
   */
  copyIn(expectedType: number, minimum: number, full: number): Result<Uint8Array>
  /** Copies min(length, bytes.length) bytes out, under the same rules. */
  copyOut(expectedType: number, minimum: number, bytes: Uint8Array): Result<void>
}

/** The request array of IOMMU_HWPT_INVALIDATE. */
export interface DriverArray {
  readonly type: number
  readonly entryLength: number
  readonly entryCount: number
  /** Entries handled so far; the driver counts it up, the caller sees it in entry_num. */
  handled: number
  /** One entry: type differs EINVAL; entry_len outside minimum..full EINVAL; EFAULT. */
  copyEntry(type: number, index: number, minimum: number, full: number): Result<Uint8Array>
  /** All entries at once, each `full` bytes: type differs or none EINVAL; E2BIG for a non-zero tail; EFAULT. */
  copyAll(type: number, full: number): Result<Uint8Array>
}

/** Protection of a translation. `cache` is dropped and `mmio` set for dma-buf pages. */
export interface Protection {
  readonly read: boolean
  readonly write: boolean
  readonly mmio: boolean
}

export interface PageFault {
  readonly pasid?: Pasid
  readonly grpid: number
  /** IOMMU_PGFAULT_PERM_* bits. */
  readonly perm: number
  readonly address: bigint
  readonly last: boolean
  /** Flag bits beside 1 and 2 that this IOMMU lets through to user space (04 §4.5, bit 2). */
  readonly internalFlags?: number
}

export interface PageResponse {
  readonly pasid?: Pasid
  readonly grpid: number
  /** 0 success, 1 invalid, 2 failure. */
  readonly code: number
}

/** Why DMA goes nowhere (07 §9). */
export type DmaFault =
  /** The device is on a blocking translation. */
  | 'blocked'
  | 'not-mapped'
  | 'no-permission'
  /** No table of this shape translates the address. */
  | 'out-of-reach'

/** Where DMA goes: physical bytes from `phys` on, `length` of them consecutive. */
export interface DmaTarget {
  readonly phys: PhysAddr
  readonly length: number
}

/** One access of a device, on its way through a translation. */
export interface DmaAccess {
  readonly device: IommuDevice
  readonly pasid: Pasid | undefined
  readonly write: boolean
  /** Where tables of the user (stage 1) are read from. */
  readonly memory: { read(phys: PhysAddr, into: Uint8Array): boolean }
}

/** Any translation that a device or PASID can be attached to. */
export interface Domain {
  readonly driver: IommuDriver
  /** Attach the device itself (its RID). `old` is what it is on now. Atomic per device. */
  attach(device: IommuDevice, old: Domain): Result<void>
  /** Attach one PASID of the device; `old` is undefined for a first attach. */
  attachPasid?(device: IommuDevice, pasid: Pasid, old: Domain | undefined): Result<void>
  /**
   * Translates as the hardware does, from the tables; a permitted write marks the leaf dirty while that is
   * tracked. Without it all DMA is blocked.
   */
  translate?(iova: Iova, access: DmaAccess): DmaTarget | DmaFault
  /** No device is attached and everything is unmapped. */
  free(): void
  /**
   * Made false by the driver; the engine sets it when the HWPT has a fault queue, before anything is
   * attached. An attach that needs page requests which the device cannot raise may then be refused.
   */
  faultCapable: boolean
}

export interface DirtyOps {
  setTracking(enable: boolean): Result<void>
  /** Report each dirty leaf of the range (as 03 §12.3 describes) and, if `clear`, make it clean. */
  readAndClear(
    iova: Iova,
    length: ByteLength,
    clear: boolean,
    report: ReportDirty | undefined,
  ): Result<void>
}

/** In ascending order: one leaf, or with `leaf` several neighbouring ones of that many bytes each. */
export type ReportDirty = (iova: Iova, length: ByteLength, leaf?: ByteLength) => void

export interface PagingDomain extends Domain {
  readonly type: 'paging'
  /** Bit n set: pages of 2^n bytes. The lowest bit is the alignment it imposes. */
  readonly pageSizes: bigint
  /** Inclusive. */
  readonly apertureStart: Iova
  readonly apertureEnd: Iova
  /**
   * Maps one run of physically contiguous memory. All or nothing: on refusal nothing of the range is
   * left mapped. Aligned to the smallest page, inside the aperture, over nothing mapped. `largestPage`
   * bounds the leaf size in bytes: with 4096 the result is as if each page had been mapped by a call of its
   * own (small-page mode, 07 §1.3), at the cost of one call.
   */
  map(
    iova: Iova,
    phys: PhysAddr,
    length: ByteLength,
    prot: Protection,
    largestPage?: ByteLength,
  ): Result<void>
  /**
   * Maps `count` CPU pages, page n to `phys + n * spacing`, as that many calls of `map` would, all or
   * nothing. Memory that is scattered evenly is mapped so where a driver offers it.
   */
  mapSpaced?(
    iova: Iova,
    phys: PhysAddr,
    spacing: ByteLength,
    count: number,
    prot: Protection,
  ): Result<void>
  /** Removes exactly the range; cannot fail. */
  unmap(iova: Iova, length: ByteLength): void
  iovaToPhys(iova: Iova): PhysAddr | undefined
  /** Switch to enforced cache coherency; false if it cannot. Called before any map. */
  enforceCoherency?(): boolean
  readonly coherencyEnforced: boolean
  readonly dirty?: DirtyOps
}

export interface NestedDomain extends Domain {
  readonly type: 'nested'
  invalidate?(requests: DriverArray): Result<void>
}

/** The static domains of a driver: blocking, or what an unowned group runs on. */
export interface StaticDomain extends Domain {
  readonly type: 'blocked' | 'identity'
}

export interface IommuDriver {
  readonly name: string
  capable(device: IommuDevice, capability: IommuCapability): boolean
  /** GET_HW_INFO. Absent: type 0 and no data, whatever was asked. */
  hwInfo?(device: IommuDevice, requestedType: number): Result<{ type: number; data: Uint8Array }>
  /** With flags and data; a driver without it offers only `allocPagingPlain`. */
  allocPaging?(
    device: IommuDevice,
    flags: number,
    data: DriverData | undefined,
  ): Result<PagingDomain>
  allocPagingPlain?(device: IommuDevice): Result<PagingDomain>
  allocNested?(
    device: IommuDevice,
    parent: PagingDomain,
    flags: number,
    data: DriverData,
  ): Result<NestedDomain>
  readonly blockedDomain: StaticDomain
  readonly defaultDomain: StaticDomain
  reservedRegions(device: IommuDevice): readonly ReservedRegion[]
  /** True if VIOMMU_ALLOC of this type is offered for the device. */
  offersViommu?(device: IommuDevice, viommuType: number): boolean
  initViommu?(
    viommu: ViommuServices,
    parent: PagingDomain,
    data: DriverData | undefined,
  ): Result<ViommuOps>
  pageResponse?(device: IommuDevice, response: PageResponse): void
  /** PASIDs without an attachment of their own fault to the RID's nested HWPT (04 §4.4). */
  readonly userPasidTables: boolean
}

/** What a vIOMMU driver may ask of the engine. */
export interface ViommuServices {
  readonly viommuType: number
  readonly instance: IommuInstance
  /** The device with this virtual ID in this vIOMMU. */
  deviceOf(virtId: bigint): IommuDevice | undefined
  /** The virtual ID of a device; undefined if it has no vDEVICE on this vIOMMU. */
  virtIdOf(device: IommuDevice): bigint | undefined
  /** EOPNOTSUPP if there is no queue of that type; an empty payload is EINVAL. */
  reportEvent(eventType: number, payload: Uint8Array): Result<void>
  /** Publishes pages for mmap; length a positive multiple of 4096, else EINVAL. */
  publishRegion(length: number): Result<PublishedRegion>
}

export interface PublishedRegion {
  /** What user space passes to mmap as offset. */
  readonly mmapOffset: bigint
  readonly length: number
  read(offset: number, into: Uint8Array): void
  write(offset: number, bytes: Uint8Array): void
  withdraw(): void
}

export interface ViommuOps {
  destroy?(): void
  allocNested?(device: IommuDevice, flags: number, data: DriverData): Result<NestedDomain>
  invalidate?(requests: DriverArray): Result<void>
  initVdevice?(vdevice: { device: IommuDevice; virtId: bigint }): Result<{ destroy?(): void }>
  offersHwQueue?(type: number): boolean
  initHwQueue?(queue: HwQueueRequest): Result<{
    destroy?(): void
    /** The queue that must outlive this one. */
    dependsOn?: ObjectId
  }>
}

export interface HwQueueRequest {
  readonly id: ObjectId
  readonly type: number
  readonly index: number
  readonly iova: Iova
  readonly length: ByteLength
  readonly phys: PhysAddr
}
