/** An open /dev/vfio/G (02 §4): links the group to a container and hands out its devices. */
import { type Fd, fd, type UserVa } from '../abi/brands.ts'
import {
  VFIO_GROUP_FLAGS,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_GET_STATUS,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_GROUP_UNSET_CONTAINER,
} from '../abi/vfio/group.ts'
import { Context } from '../engine/context.ts'
import type { OpenFile, OpenMode } from '../engine/file.ts'
import type { Machine } from '../engine/machine.ts'
import type { Call } from '../engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../engine/reason.ts'
import { readExactly, readVfioStruct, writeVfioStruct } from '../engine/vfio-struct.ts'
import { type ContainerLink, linkToIommufd } from './container-link.ts'
import type { VfioDevice } from './device.ts'
import { DeviceFile } from './device-file.ts'
import { readDeviceName } from './device-name.ts'
import type { VfioGroup } from './group.ts'
import { Type1Container } from './type1-container.ts'

const { VFIO_GROUP_FLAGS_VIABLE: VIABLE, VFIO_GROUP_FLAGS_CONTAINER_SET: CONTAINER_SET } =
  VFIO_GROUP_FLAGS

export const UnknownGroupIoctl = reasonKind<{ request: number }>({
  code: 'unknown-group-ioctl',
  errno: 'ENOTTY',
  cite: '02 §4.10',
  say: ({ request }) => `0x${request.toString(16)} is no request of a VFIO group`,
  advice:
    'Use the VFIO_GROUP_* requests here; requests of devices go to the descriptor that VFIO_GROUP_GET_DEVICE_FD returns.',
})

export const ContainerNotOpen = reasonKind<{ fd: Fd }>({
  code: 'container-not-open',
  errno: 'EBADF',
  cite: '02 §4.4 step 2',
  say: ({ fd }) => `descriptor ${fd} is not open`,
  advice: 'SET_CONTAINER takes the address of an int that holds the container’s descriptor.',
})

export const ContainerAlreadySet = reasonKind<{ group: string }>({
  code: 'container-already-set',
  errno: 'EINVAL',
  cite: '02 §4.4 step 3',
  say: ({ group }) => `${group} has a container already`,
  advice: 'VFIO_GROUP_UNSET_CONTAINER first.',
})

export const NotAContainer = reasonKind<{ fd: Fd; what: string }>({
  code: 'not-a-container',
  errno: 'EBADFD',
  cite: '02 §4.4 step 7',
  say: ({ fd, what }) => `descriptor ${fd} (${what}) is neither a VFIO container nor an iommufd`,
  advice: 'Pass a descriptor of /dev/vfio/vfio or /dev/iommu.',
})

export const NoContainerToUnset = reasonKind<{ group: string }>({
  code: 'no-container-to-unset',
  errno: 'EINVAL',
  cite: '02 §4.5',
  say: ({ group }) => `${group} has no container`,
  advice: 'VFIO_GROUP_SET_CONTAINER first.',
})

export const NoSuchDeviceInGroup = reasonKind<{
  group: string
  name: string
  devices: readonly string[]
}>({
  code: 'no-such-device-in-group',
  errno: 'ENODEV',
  cite: '02 §4.6 step 2',
  say: ({ group, name, devices }) =>
    `${group} has no device "${name}"; it has ${devices.length > 0 ? devices.join(', ') : 'none'}`,
  advice: 'Name a device of the group, as /sys/kernel/iommu_groups/N/devices lists them.',
})

export const DeviceNeedsContainer = reasonKind<{ group: string }>({
  code: 'device-needs-container',
  errno: 'EINVAL',
  cite: '02 §4.6 step 4',
  say: ({ group }) => `${group} has no container, so its devices cannot be opened`,
  advice: 'VFIO_GROUP_SET_CONTAINER first.',
})

export class GroupFile implements OpenFile {
  readonly kind = 'vfio group'
  readonly isDevice = true
  readonly mode: OpenMode
  readonly group: VfioGroup
  #link: ContainerLink | undefined
  /** Device files obtained under the current link. */
  #filesOfLink = 0
  /** The descriptor, and the device files that keep the group open under a native container. */
  #references = 1

  constructor(group: VfioGroup, mode: OpenMode) {
    this.group = group
    this.mode = mode
  }

  get linkText(): string {
    return this.group.path
  }

  ioctl(call: Call, request: number, argument: UserVa): Result<number> {
    const served = { call, file: this, context: undefined }
    return this.#machine.serveIoctl(served, request, argument, () =>
      this.#dispatch(call, request, argument),
    )
  }

  get #machine(): Machine {
    return this.group.machine
  }

  #dispatch(call: Call, request: number, argument: UserVa): Result<number> {
    switch (request) {
      case VFIO_GROUP_GET_STATUS.request:
        return this.#getStatus(call, argument)
      case VFIO_GROUP_SET_CONTAINER.request:
        return this.#setContainer(call, argument)
      case VFIO_GROUP_UNSET_CONTAINER.request:
        return this.#unsetContainer()
      case VFIO_GROUP_GET_DEVICE_FD.request:
        return this.#getDeviceFd(call, argument)
      default:
        return refuse(UnknownGroupIoctl, { request })
    }
  }

  release(): void {
    this.#drop()
  }

  /** 02 §4.3. */
  #getStatus(call: Call, argument: UserVa): Result<number> {
    const status = readVfioStruct(this.#machine, call, argument, VFIO_GROUP_GET_STATUS)
    if (status instanceof Refusal) return status
    const viable = this.#link !== undefined || !this.group.dma?.isOwned()
    const flags = (viable ? VIABLE : 0) | (this.#link !== undefined ? CONTAINER_SET : 0)
    const answer = { argsz: status.argsz, flags }
    return writeVfioStruct(this.#machine, call, argument, VFIO_GROUP_GET_STATUS, answer, 8) ?? 0
  }

  /** 02 §4.4. */
  #setContainer(call: Call, argument: UserVa): Result<number> {
    const bytes = readExactly(call, argument, 4, 'the descriptor for VFIO_GROUP_SET_CONTAINER')
    if (bytes instanceof Refusal) return bytes
    const number = fd(new DataView(bytes.buffer, bytes.byteOffset, 4).getInt32(0, true))
    const file = call.file(number)
    if (file === undefined) return refuse(ContainerNotOpen, { fd: number })
    if (this.#link !== undefined) return refuse(ContainerAlreadySet, { group: this.group.path })
    if (!(file instanceof Context || file instanceof Type1Container)) {
      const what = 'foreign' in file ? file.name : file.kind
      return refuse(NotAContainer, { fd: number, what })
    }
    const link: Result<ContainerLink> =
      file instanceof Context ? linkToIommufd(file, this.group, call) : file.link(this.group, call)
    if (link instanceof Refusal) return link
    this.#link = link
    return 0
  }

  /** 02 §4.5. */
  #unsetContainer(): Result<number> {
    if (this.#link === undefined) return refuse(NoContainerToUnset, { group: this.group.path })
    const refused = this.#link.unset(this.#filesOfLink)
    if (refused instanceof Refusal) return refused
    this.#link = undefined
    this.#filesOfLink = 0
    return 0
  }

  /** 02 §4.6. */
  #getDeviceFd(call: Call, argument: UserVa): Result<number> {
    const name = readDeviceName(call, argument)
    if (name instanceof Refusal) return name
    const device = this.#findDevice(name)
    if (device instanceof Refusal) return device
    const link = this.#link
    if (link === undefined) return refuse(DeviceNeedsContainer, { group: this.group.path })
    const opened = link.openDevice(device, call)
    if (opened instanceof Refusal) return opened
    const file = new DeviceFile(this.#machine, device, {
      origin: 'group',
      onRelease: this.#countFile(link),
    })
    const installed = call.install(file, { closeOnExec: true })
    if (installed instanceof Refusal) file.release()
    return installed
  }

  #findDevice(name: string): Result<VfioDevice> {
    const { devices, path } = this.group
    for (const device of devices.toReversed()) {
      const matches = device.driver.matches?.(name) ?? device.name === name
      if (matches instanceof Refusal) return matches
      if (matches) return device
    }
    const names = devices.map((device) => device.name)
    return refuse(NoSuchDeviceInGroup, { group: path, name, devices: names })
  }

  /** One more device file under the link; returns what its release has to do here. */
  #countFile(link: ContainerLink): () => void {
    this.#filesOfLink += 1
    if (link.holdsGroup) this.#references += 1
    return () => {
      if (this.#link === link) this.#filesOfLink -= 1
      if (link.holdsGroup) this.#drop()
    }
  }

  #drop(): void {
    this.#references -= 1
    if (this.#references > 0) return
    this.#link?.drop()
    this.#link = undefined
    this.group.opener = undefined
  }
}
