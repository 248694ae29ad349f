/** An open file of a VFIO device (02 §5): from a group, or of its cdev /dev/vfio/devices/vfioX. */
import { type FileOffset, fileOffset, type UserVa } from '../abi/brands.ts'
import {
  VFIO_DEVICE_ATTACH_IOMMUFD_PT,
  VFIO_DEVICE_BIND_IOMMUFD,
  VFIO_DEVICE_DETACH_IOMMUFD_PT,
} from '../abi/vfio/device.ts'
import { VFIO_DEVICE_FEATURE } from '../abi/vfio/features.ts'
import { VFIO_DEVICE_GET_REGION_INFO } from '../abi/vfio/region.ts'
import type { MmapRegion, MmapRequest, OpenFile, OpenMode } from '../engine/file.ts'
import type { Machine } from '../engine/machine.ts'
import type { Call } from '../engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../engine/reason.ts'
import { attachPageTable, detachPageTable } from './attach.ts'
import { bindIommufd } from './bind.ts'
import type { VfioDevice } from './device.ts'
import { deviceFeature } from './feature.ts'
import { getRegionInfo } from './region-info.ts'

export const DeviceFileNotBound = reasonKind<{ device: string; operation: string }>({
  code: 'device-file-not-bound',
  errno: 'EINVAL',
  cite: '02 §5.2',
  say: ({ device, operation }) =>
    `${operation} on ${device} before VFIO_DEVICE_BIND_IOMMUFD: until then the file serves nothing else`,
  advice: 'Bind the device file to an iommufd first.',
})

export const DriverLacksOperation = reasonKind<{ driver: string; operation: string }>({
  code: 'driver-lacks-operation',
  errno: 'EINVAL',
  cite: '02 §1.3, §5.3 step 6',
  say: ({ driver, operation }) => `the driver ${driver} does not offer ${operation}`,
  advice: 'Ask VFIO_DEVICE_GET_INFO what kind of device it is, and use what its driver offers.',
})

export class DeviceFile implements OpenFile {
  readonly kind = 'vfio device'
  readonly mode: OpenMode
  readonly device: VfioDevice
  readonly origin: 'group' | 'cdev'
  /** Access is granted: by GET_DEVICE_FD from the start, by BIND_IOMMUFD on a cdev. */
  granted: boolean
  readonly #machine: Machine
  readonly #onRelease: (() => void) | undefined
  /** Where read() and write() go on; pread and pwrite leave it alone. */
  #position = 0n

  constructor(
    machine: Machine,
    device: VfioDevice,
    opened: { origin: 'group'; onRelease: () => void } | { origin: 'cdev'; mode: OpenMode },
  ) {
    this.#machine = machine
    this.device = device
    this.origin = opened.origin
    this.granted = opened.origin === 'group'
    this.mode = opened.origin === 'group' ? 'read-write' : opened.mode
    this.#onRelease = opened.origin === 'group' ? opened.onRelease : undefined
    device.fileOpened()
  }

  get isDevice(): boolean {
    return this.origin === 'cdev'
  }

  get linkText(): string {
    return this.origin === 'group' ? 'anon_inode:[vfio-device]' : this.device.cdevPath
  }

  ioctl(call: Call, request: number, argument: UserVa): Result<number> {
    return this.#machine.serveIoctl(
      { call, file: this, context: undefined },
      request,
      argument,
      () => this.#dispatch(call, request, argument),
    )
  }

  /** 02 §5.3. */
  #dispatch(call: Call, request: number, argument: UserVa): Result<number> {
    if (request === VFIO_DEVICE_BIND_IOMMUFD.request)
      return bindIommufd(this.#machine, this, call, argument)
    const refused = this.#checkGranted('an ioctl')
    if (refused !== undefined) return refused
    if (this.origin === 'cdev') {
      if (request === VFIO_DEVICE_ATTACH_IOMMUFD_PT.request)
        return attachPageTable(this.#machine, this.device, call, argument)
      if (request === VFIO_DEVICE_DETACH_IOMMUFD_PT.request)
        return detachPageTable(this.#machine, this.device, call, argument)
    }
    const { driver } = this.device
    if (request === VFIO_DEVICE_FEATURE.request)
      return deviceFeature(this.#machine, driver, call, argument)
    if (request === VFIO_DEVICE_GET_REGION_INFO.request)
      return getRegionInfo(this.#machine, driver, call, argument)
    return driver.ioctl?.(call, request, argument) ?? this.#lacks('any ioctl of its own')
  }

  pread(call: Call, buffer: UserVa, count: number, offset: FileOffset): Result<number> {
    const refused = this.#checkGranted('read')
    if (refused !== undefined) return refused
    return this.device.driver.read?.(call, buffer, count, offset) ?? this.#lacks('read')
  }

  pwrite(call: Call, buffer: UserVa, count: number, offset: FileOffset): Result<number> {
    const refused = this.#checkGranted('write')
    if (refused !== undefined) return refused
    return this.device.driver.write?.(call, buffer, count, offset) ?? this.#lacks('write')
  }

  read(call: Call, buffer: UserVa, count: number): Result<number> {
    return this.#advance(this.pread(call, buffer, count, fileOffset(this.#position)))
  }

  write(call: Call, buffer: UserVa, count: number): Result<number> {
    return this.#advance(this.pwrite(call, buffer, count, fileOffset(this.#position)))
  }

  #advance(transferred: Result<number>): Result<number> {
    if (!(transferred instanceof Refusal)) this.#position += BigInt(transferred)
    return transferred
  }

  mmap(call: Call, request: MmapRequest): Result<MmapRegion> {
    const refused = this.#checkGranted('mmap')
    if (refused !== undefined) return refused
    return this.device.driver.mmap?.(call, request) ?? this.#lacks('mmap')
  }

  mappingsOf(offset: FileOffset, vmas: number): void {
    this.device.driver.mappingsOf?.(offset, vmas)
  }

  /** 02 §5.8. An unbound cdev file leaves no trace. */
  release(): void {
    if (this.granted) this.device.closeFile()
    if (this.granted && this.origin === 'cdev') this.device.group.boundCdevs.delete(this.device)
    this.#onRelease?.()
    this.device.fileReleased()
  }

  #checkGranted(operation: string) {
    return this.granted
      ? undefined
      : refuse(DeviceFileNotBound, { device: this.device.name, operation })
  }

  #lacks(operation: string) {
    return refuse(DriverLacksOperation, { driver: this.device.driver.name, operation })
  }
}
