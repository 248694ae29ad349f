/**
 * What a VFIO driver provides: vfio-pci for simulated PCI devices, the scratch device, and whatever
 * a user writes. The generic part (group and device files, binding, attaching, feature framing,
 * exclusivity: 02 §4 and §5) is the same for all and lives beside this file.
 *
 * Writing an emulated device means implementing `VfioDriver`; only `name`, `open` and `close` are
 * required. A missing operation answers as a driver without that hook does in Linux.
 */
import type { ByteLength, FileOffset, Iova, UserVa } from '../abi/brands.ts'
import type { MmapRegion, MmapRequest } from '../engine/file.ts'
import type { Call } from '../engine/ports.ts'
import type { Result } from '../engine/reason.ts'

/** One region of a device, as VFIO_DEVICE_GET_REGION_INFO reports it. */
export interface RegionInfo {
  /** VFIO_REGION_INFO_FLAG_* bits; CAPS is added by the generic part. */
  readonly flags: number
  readonly size: ByteLength
  /** Where the region starts in the device file. */
  readonly offset: FileOffset
  /** Capabilities in order, each with its header's id and version and what follows the 8 bytes of header. */
  readonly capabilities?: readonly RegionCapability[]
}

export interface RegionCapability {
  readonly id: number
  readonly version: number
  readonly payload: Uint8Array
}

/** One VFIO_DEVICE_FEATURE that a driver knows (02 §5.10). */
export interface DeviceFeature {
  readonly get: boolean
  readonly set: boolean
  /** Bytes of data[] that it needs. */
  readonly dataLength: number
  /** `data` is the address of data[]; `length` is argsz - 8, at least `dataLength`. */
  run(call: Call, operation: 'get' | 'set', data: UserVa, length: number): Result<number>
}

export interface VfioDriver {
  /** For people: `vfio-pci`, `scratch`. */
  readonly name: string

  /**
   * Does VFIO_GROUP_GET_DEVICE_FD's string name this device (02 §4.6 step 2)? Missing: it must equal
   * the device's name. A refusal ends the call.
   */
  matches?(requested: string): Result<boolean>
  /**
   * The VF token rules of 02 §5.4 step 9; undefined when the caller gave none. Missing: the driver
   * does not know tokens, and one that is given is refused with EINVAL.
   */
  checkToken?(token: Uint8Array | undefined): Result<void>

  /** The device is opened for the first time: bound already, not yet attached. */
  open(): Result<void>
  /** The last file of the open device went; it is still bound and attached. */
  close(): void
  /**
   * Memory went away under an emulated device: it must release every pin in the range before it
   * returns (04 §2.7). Called with (0, 2^64-1) when the device leaves an IOAS.
   */
  unmapped?(iova: Iova, length: ByteLength): void

  /** Requests that the generic part does not serve. Missing: EINVAL for all of them. */
  ioctl?(call: Call, request: number, argument: UserVa): Result<number>
  /** Missing: VFIO_DEVICE_GET_REGION_INFO is EINVAL. */
  regionInfo?(index: number): Result<RegionInfo>
  /** The feature with this index; undefined when the driver does not know it (ENOTTY). */
  feature?(index: number): DeviceFeature | Result<undefined>
  /** Transfers at a position of the device file; returns the bytes transferred. Missing: EINVAL. */
  read?(call: Call, buffer: UserVa, count: number, offset: FileOffset): Result<number>
  write?(call: Call, buffer: UserVa, count: number, offset: FileOffset): Result<number>
  /** Missing: EINVAL. */
  mmap?(call: Call, request: MmapRequest): Result<MmapRegion>
  /** How many VMAs map the region at `offset` now. */
  mappingsOf?(offset: FileOffset, vmas: number): void
}

/**
 * How an emulated device reaches memory (02 §5.13, under a native container 02 §6.8). `call` is the
 * call that makes the device do so: whose memory is seen depends on the calling process (01 §19.1).
 */
export interface VirtualDma {
  /** Copies memory at `iova` into `into`. */
  read(call: Call, iova: Iova, into: Uint8Array): Result<void>
  write(call: Call, iova: Iova, bytes: Uint8Array): Result<void>
  /** Pins `pages` pages from the page of `iova` on; returns `pages`. */
  pin(call: Call, iova: Iova, pages: number, forWriting: boolean): Result<number>
  /** Must repeat an earlier pin exactly. */
  unpin(iova: Iova, pages: number): void
}
