/**
 * What a simulated PCI device is to vfio-pci, and what it may ask of vfio-pci. `devices/` implements
 * `PciModel`; writing a device of your own means implementing it, and nothing else.
 *
 * A BAR either traps (each access calls the model) or is memory that clients map: then the model reads
 * and writes the same memory and has to poll it (06 §12).
 */
import type { Iova, Pasid, PhysAddr } from '../../abi/brands.ts'
import type { DmaFollower } from '../../engine/dma-changes.ts'
import type { SharedRegion } from '../../engine/file.ts'
import type { FrameExtent } from '../../engine/frames.ts'
import type { Domain, IommuDevice } from '../../engine/iommu-driver.ts'

export type AccessWidth = 1 | 2 | 4 | 8

export interface Bar {
  /** 0 to 5; a 64-bit BAR takes this index and the next. */
  readonly index: number
  readonly kind: 'memory32' | 'memory64' | 'io'
  readonly prefetchable?: boolean
  /** Bytes, a power of two, at least 16. */
  readonly length: number
  /** The registers, when clients can map them (memory BARs of at least a page). Missing: accesses trap. */
  readonly memory?: SharedRegion
}

/** One capability of the standard list, 06 §5.5. */
export interface PciCapability {
  readonly id: number
  /** Where in config space, a multiple of 4 from 0x40 on. */
  readonly offset: number
  /** The bytes after the two of id and next pointer, as the function holds them after reset. */
  readonly body: readonly number[]
}

export interface MsixTable {
  readonly vectors: number
  readonly tableBar: number
  readonly tableOffset: number
  readonly pbaBar: number
  readonly pbaOffset: number
}

export interface PciIdentity {
  readonly vendor: number
  readonly device: number
  readonly revision: number
  /** 24 bits: base class, subclass, programming interface. */
  readonly classCode: number
  readonly subsystemVendor: number
  readonly subsystemDevice: number
  /** 1 is INTA; 0: the function has no INTx. */
  readonly interruptPin: 0 | 1
  readonly configSize: 256 | 4096
  /** In list order. */
  readonly capabilities: readonly PciCapability[]
}

/** DMA of a device, or of one PASID of it. False: an address does not translate, or the memory is gone. */
export interface PciDma {
  /** Up to the first byte that cannot be read. */
  read(iova: Iova, into: Uint8Array): boolean
  write(iova: Iova, bytes: Uint8Array): boolean
}

/** For a model whose work is done in a thread of its own, which reaches memory and eventfds itself. */
export interface PciDirectAccess {
  readonly device: IommuDevice
  /** What DMA without PASID goes through now. */
  readonly translation: Domain
  /** The memory around a physical address. */
  extentAt(phys: PhysAddr): FrameExtent | undefined
  /** Says what of the above has changed; returns how to stop that. */
  follow(follower: DmaFollower): () => void
  /**
   * A descriptor of the eventfd that message `vector` signals now, good until `interruptsChanging`;
   * undefined where only `message` knows what becomes of it.
   */
  descriptorOf(vector: number): number | undefined
  /** Somebody watches: then `moved` is to be called for a sample of what the thread does. */
  readonly observed: boolean
  moved(iova: Iova, length: number, write: boolean): void
  /** The thread made a mistake of its own: `where`, and what came of it, for people. */
  failed(where: string, message: string): void
}

/** What vfio-pci offers the model while the device is open. */
export interface PciServices {
  /** Without PASID. */
  readonly dma: PciDma
  /** With a PASID, which the user has attached to an address space of its own. */
  dmaWithPasid(pasid: Pasid): PciDma
  readonly direct: PciDirectAccess
  /** COMMAND bit 2: without it a device neither does DMA nor sends MSI. */
  readonly busMaster: boolean
  /** COMMAND bit 1, as the user sees it. */
  readonly memoryEnabled: boolean
  /** Which kind of interrupt the user has enabled. */
  readonly interruptKind: 'none' | 'intx' | 'msi' | 'msix'
  /** Sends message `vector`; lost where 06 §6.4 says so. */
  message(vector: number): void
  /** Level of the INTx line. */
  line(asserted: boolean): void
  /** Calls back once after `milliseconds`; returns how to cancel. */
  after(milliseconds: number, run: () => void): () => void
}

export interface PciModel {
  /** `edu`, `nvme`: for people. */
  readonly name: string
  readonly identity: PciIdentity
  readonly bars: readonly Bar[]
  /** Present if the function has MSI-X; it agrees with its capability. */
  readonly msix?: MsixTable
  /** Has a function-level (or equivalent) reset. */
  readonly resettable: boolean
  /** The device is opened; it has been reset. */
  opened?(services: PciServices): void
  /** The last close; afterwards the services must not be used. */
  closed?(): void
  /** Registers to their reset values; what was going on is abandoned. */
  reset(): void
  /**
   * Trapped accesses, naturally aligned. Values are little-endian numbers of `width` bytes. Where they are
   * missing, a BAR with `memory` is read and written there, and any other reads as all ones.
   */
  readRegister?(bar: number, offset: number, width: AccessWidth): bigint
  writeRegister?(bar: number, offset: number, width: AccessWidth, value: bigint): void
  /** COMMAND has changed: bus master or memory enable may differ. */
  commandChanged?(): void
  /** Eventfds may be let go of: none of them may be signalled until `interruptsChanged`. */
  interruptsChanging?(): void
  /** Interrupts have been enabled, disabled or given other eventfds. */
  interruptsChanged?(): void
  /** A trapped call on the device is done; a polled model may have been waiting for one. */
  trapped?(): void
}

/** Where simulated time comes from. */
export interface PciTimers {
  after(milliseconds: number, run: () => void): () => void
}
