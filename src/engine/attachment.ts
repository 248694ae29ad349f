/**
 * The bond between a group (or one PASID of it) and an HWPT. Attach makes one, replace makes another in
 * its place, the last detach ends it. Pending page faults belong to an attachment (04 §4.8).
 */
import type { Pasid } from '../abi/brands.ts'
import type { Device } from './device.ts'
import type { Hwpt } from './hwpt.ts'

export class Attachment {
  readonly hwpt: Hwpt
  /** Undefined for DMA without PASID. */
  readonly pasid: Pasid | undefined
  /** The device through which it was made: the `dev_id` of every fault of the group (04 §13.11). */
  readonly maker: Device
  /** Devices of the group that are attached; each counts as a user of the HWPT. */
  readonly devices: Set<Device>

  constructor(hwpt: Hwpt, maker: Device, devices: Iterable<Device>, pasid?: Pasid) {
    this.hwpt = hwpt
    this.maker = maker
    this.devices = new Set(devices)
    this.pasid = pasid
  }
}
