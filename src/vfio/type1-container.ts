/**
 * The native VFIO container (02 §6): what /dev/vfio/vfio is on a kernel with CONFIG_VFIO_CONTAINER. It
 * has groups, and once SET_IOMMU has chosen one, a backend: type1 or no-IOMMU.
 */
import type { UserVa } from '../abi/brands.ts'
import {
  VFIO_API_VERSION,
  VFIO_CHECK_EXTENSION,
  VFIO_EXTENSIONS,
  VFIO_GET_API_VERSION,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_SET_IOMMU,
} from '../abi/vfio/container.ts'
import { UnknownRequest } from '../engine/command.ts'
import type { OpenFile, OpenMode } from '../engine/file.ts'
import type { Machine } from '../engine/machine.ts'
import type { Call } from '../engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../engine/reason.ts'
import type { VfioDevice } from './device.ts'
import type { VfioGroup } from './group.ts'
import { Type1Backend } from './type1-backend.ts'
import { type1DirtyPages } from './type1-dirty.ts'
import { type1GetInfo } from './type1-info.ts'
import { type1MapDma } from './type1-map.ts'
import { type1UnmapDma } from './type1-unmap.ts'

export const ContainerNeedsRawIo = reasonKind<{ group: string; pid: number }>({
  code: 'container-needs-raw-io',
  errno: 'EPERM',
  cite: '02 §6.2 step 1, §6.3',
  say: ({ group, pid }) => `${group} has no IOMMU, and process ${pid} lacks CAP_SYS_RAWIO`,
  advice: 'Run it with CAP_SYS_RAWIO, or use groups that have an IOMMU.',
})

export const ContainerOfOtherSort = reasonKind<{ group: string; noIommu: boolean }>({
  code: 'container-of-other-sort',
  errno: 'EPERM',
  cite: '02 §6.2 step 2',
  say: ({ group, noIommu }) =>
    `the container has groups ${noIommu ? 'without' : 'with'} an IOMMU, and ${group} is of the other sort`,
  advice: 'Use a container of its own for it.',
})

export const SetIommuNotNow = reasonKind<{ groups: number }>({
  code: 'set-iommu-not-now',
  errno: 'EINVAL',
  cite: '02 §6.3',
  say: ({ groups }) =>
    groups === 0
      ? 'the container has no group yet'
      : 'the container has an IOMMU type already, until its last group leaves',
  advice: 'VFIO_GROUP_SET_CONTAINER first, then VFIO_SET_IOMMU once.',
})

export const SetIommuNoBackend = reasonKind<{ type: bigint }>({
  code: 'set-iommu-no-backend',
  errno: 'ENODEV',
  cite: '02 §6.3',
  say: ({ type }) => `no IOMMU backend for these groups offers type ${type}`,
  advice: 'Ask VFIO_CHECK_EXTENSION which types there are.',
})

export const ContainerHasNoBackend = reasonKind<{ request: number }>({
  code: 'container-has-no-backend',
  errno: 'EINVAL',
  cite: '02 §6.3',
  say: ({ request }) => `request 0x${request.toString(16)} before VFIO_SET_IOMMU`,
  advice: 'VFIO_SET_IOMMU first.',
})

export const DeviceNeedsSetIommu = reasonKind<{ device: string }>({
  code: 'device-needs-set-iommu',
  errno: 'EINVAL',
  cite: '02 §4.6 step 6b, §6.8',
  say: ({ device }) => `${device} cannot be opened before VFIO_SET_IOMMU on the container`,
  advice: 'VFIO_SET_IOMMU first; only an iommufd as container does without.',
})

export const GroupHasOpenDevices = reasonKind<{ group: string; files: number }>({
  code: 'group-has-open-devices',
  errno: 'EBUSY',
  cite: '02 §4.5',
  say: ({ group, files }) => `${files} device files of ${group} are open`,
  advice: 'Close the device files before VFIO_GROUP_UNSET_CONTAINER.',
})

const TYPE1 = BigInt(VFIO_EXTENSIONS.VFIO_TYPE1_IOMMU)
const TYPE1V2 = BigInt(VFIO_EXTENSIONS.VFIO_TYPE1v2_IOMMU)
const DMA_CC = BigInt(VFIO_EXTENSIONS.VFIO_DMA_CC_IOMMU)
const NOIOMMU = BigInt(VFIO_EXTENSIONS.VFIO_NOIOMMU_IOMMU)
const UNMAP_ALL = BigInt(VFIO_EXTENSIONS.VFIO_UNMAP_ALL)
const UPDATE_VADDR = BigInt(VFIO_EXTENSIONS.VFIO_UPDATE_VADDR)

const NO_IOMMU = 'no-iommu'

export class Type1Container implements OpenFile {
  readonly kind = 'vfio container'
  readonly linkText = '/dev/vfio/vfio'
  readonly isDevice = true
  readonly mode: OpenMode
  readonly #machine: Machine
  /** The module parameter enable_unsafe_noiommu_mode. */
  readonly #noIommuEnabled: () => boolean
  /** In order of joining. */
  readonly #groups = new Set<VfioGroup>()
  #backend: Type1Backend | typeof NO_IOMMU | undefined

  constructor(machine: Machine, mode: OpenMode, noIommuEnabled: () => boolean) {
    this.#machine = machine
    this.mode = mode
    this.#noIommuEnabled = noIommuEnabled
  }

  /** Names the owner of a group's DMA in refusals. */
  toString(): string {
    return 'a native VFIO container'
  }

  ioctl(call: Call, request: number, argument: UserVa): Result<number> {
    const backend = (): Type1Backend | undefined =>
      this.#backend instanceof Type1Backend ? this.#backend : undefined
    const served = {
      call,
      file: this,
      get context() {
        return backend()?.context
      },
    }
    return this.#machine.serveIoctl(served, request, argument, () =>
      this.#dispatch(call, request, argument),
    )
  }

  /** The groups keep the container alive; what they leave is given back by the last of them. */
  release(): void {}

  #dispatch(call: Call, request: number, argument: UserVa): Result<number> {
    switch (request) {
      case VFIO_GET_API_VERSION.request:
        return VFIO_API_VERSION
      case VFIO_CHECK_EXTENSION.request:
        return this.#checkExtension(argument)
      case VFIO_SET_IOMMU.request:
        return this.#setIommu(call, argument)
    }
    const backend = this.#backend
    if (backend === undefined) return refuse(ContainerHasNoBackend, { request })
    if (backend === NO_IOMMU) return refuse(UnknownRequest, { request })
    switch (request) {
      case VFIO_IOMMU_GET_INFO.request:
        return type1GetInfo(backend, call, argument)
      case VFIO_IOMMU_MAP_DMA.request:
        return type1MapDma(backend, call, argument)
      case VFIO_IOMMU_UNMAP_DMA.request:
        return type1UnmapDma(backend, call, argument)
      case VFIO_IOMMU_DIRTY_PAGES.request:
        return type1DirtyPages(backend, call, argument)
      default:
        return refuse(UnknownRequest, { request })
    }
  }

  get #hasNoIommuGroups(): boolean | undefined {
    const [first] = this.#groups
    return first === undefined ? undefined : first.kind === NO_IOMMU
  }

  /** 02 §6.3: before SET_IOMMU every backend that these groups could have answers, then the chosen one. */
  #checkExtension(extension: bigint): number {
    const backend = this.#backend
    const type1 = backend === undefined ? this.#hasNoIommuGroups !== true : backend !== NO_IOMMU
    const noIommu = backend === undefined ? this.#hasNoIommuGroups !== false : backend === NO_IOMMU
    switch (extension) {
      case TYPE1:
      case TYPE1V2:
      case UNMAP_ALL:
        return type1 ? 1 : 0
      case UPDATE_VADDR:
        return backend instanceof Type1Backend && !backend.hasEmulatedGroups ? 1 : 0
      case DMA_CC:
        return backend instanceof Type1Backend && backend.enforcesCoherency ? 1 : 0
      case NOIOMMU:
        return noIommu && this.#noIommuEnabled() ? 1 : 0
      default:
        return 0
    }
  }

  #setIommu(call: Call, type: bigint): Result<number> {
    if (this.#groups.size === 0 || this.#backend !== undefined)
      return refuse(SetIommuNotNow, { groups: this.#groups.size })
    const [first] = this.#groups
    if (first?.kind === NO_IOMMU) {
      if (type !== NOIOMMU) return refuse(SetIommuNoBackend, { type })
      if (!call.process.capable('CAP_SYS_RAWIO'))
        return refuse(ContainerNeedsRawIo, { group: first.path, pid: call.process.pid })
      this.#backend = NO_IOMMU
      return 0
    }
    if (type !== TYPE1 && type !== TYPE1V2) return refuse(SetIommuNoBackend, { type })
    const backend = new Type1Backend(this.#machine, call.process, { splits: type === TYPE1 })
    for (const group of this.#groups) {
      const attached = backend.attach(group, call)
      if (attached instanceof Refusal) {
        backend.dissolve()
        return attached
      }
    }
    this.#backend = backend
    return 0
  }

  /** SET_CONTAINER (02 §6.2). */
  link(group: VfioGroup, call: Call): Result<NativeLink> {
    const noIommu = group.kind === NO_IOMMU
    if (noIommu && !call.process.capable('CAP_SYS_RAWIO'))
      return refuse(ContainerNeedsRawIo, { group: group.path, pid: call.process.pid })
    const present = this.#hasNoIommuGroups
    if (present !== undefined && present !== noIommu)
      return refuse(ContainerOfOtherSort, { group: group.path, noIommu: present })
    const claimed = group.dma?.claim(this)
    if (claimed instanceof Refusal) return claimed
    if (this.#backend instanceof Type1Backend) {
      const attached = this.#backend.attach(group, call)
      if (attached instanceof Refusal) {
        group.dma?.unclaim()
        return attached
      }
    }
    this.#groups.add(group)
    return new NativeLink(this, group)
  }

  /** The group leaves; with the last one the container is as new. */
  unlink(group: VfioGroup): void {
    this.#groups.delete(group)
    const backend = this.#backend
    if (backend instanceof Type1Backend) {
      backend.detach(group)
      if (this.#groups.size === 0) backend.dissolve()
    }
    if (this.#groups.size === 0) this.#backend = undefined
    group.dma?.unclaim()
  }

  /** First file of a device of a group (02 §4.6 step 6). */
  openDevice(device: VfioDevice, call: Call): Result<void> {
    if (!device.isOpen) {
      if (this.#backend === undefined) return refuse(DeviceNeedsSetIommu, { device: device.name })
      if (device.kind === NO_IOMMU && !call.process.capable('CAP_SYS_RAWIO'))
        return refuse(ContainerNeedsRawIo, { group: device.group.path, pid: call.process.pid })
    }
    const backend = this.#backend instanceof Type1Backend ? this.#backend : undefined
    return device.openThroughNativeContainer(backend, call)
  }
}

/** A group's container is a native one. */
export class NativeLink {
  readonly holdsGroup = true
  readonly #container: Type1Container
  readonly #group: VfioGroup

  constructor(container: Type1Container, group: VfioGroup) {
    this.#container = container
    this.#group = group
  }

  openDevice(device: VfioDevice, call: Call): Result<void> {
    return this.#container.openDevice(device, call)
  }

  unset(openFiles: number): Result<void> {
    if (openFiles > 0)
      return refuse(GroupHasOpenDevices, { group: this.#group.path, files: openFiles })
    this.drop()
  }

  drop(): void {
    this.#container.unlink(this.#group)
  }
}
