/**
 * The VFIO side of a machine: its groups and devices, and the nodes that open them (02 §1.1). One per
 * machine; devices are added before or during a run.
 */
import type { IommuDevice } from '../engine/iommu-driver.ts'
import type { Later } from '../engine/later.ts'
import type { Machine } from '../engine/machine.ts'
import type { DeviceNode } from '../engine/node.ts'
import { type DeviceKind, VfioDevice, type VfioDeviceOptions } from './device.ts'
import { DeviceFile } from './device-file.ts'
import type { VfioDriver, VirtualDma } from './driver.ts'
import { EmulatedBinding } from './emulated.ts'
import { VfioGroup } from './group.ts'
import { PhysicalBinding, PhysicalGroup } from './physical.ts'
import { ScratchDevice } from './scratch-device.ts'
import { Type1Container } from './type1-container.ts'

export interface VfioOptions {
  /** What /dev/vfio/vfio is: an iommufd (the default), or the native container with type1 (02 §1.2). */
  readonly container?: 'iommufd' | 'type1'
}

export interface EmulatedDeviceOptions {
  /** What VFIO_GROUP_GET_DEVICE_FD calls it: an mdev's UUID, or any other name. Unique. */
  readonly name: string
  /** The number of its group, which it has for itself; default: the lowest that is free. */
  readonly group?: number
  /** Makes the driver; default: the scratch device. */
  readonly driver?: (machine: Machine, dma: VirtualDma) => VfioDriver
}

export interface PhysicalDeviceOptions {
  /** A PCI address; what GET_DEVICE_FD calls it, unless the driver has rules of its own. */
  readonly name: string
  /** The device as its IOMMU sees it; its group is the VFIO group. */
  readonly device: IommuDevice
  readonly driver: (machine: Machine) => VfioDriver
}

export interface NoIommuDeviceOptions {
  readonly name: string
  /** Number of the group that it has for itself: /dev/vfio/noiommu-NUMBER. */
  readonly group?: number
  readonly driver: (machine: Machine) => VfioDriver
}

export class Vfio {
  readonly machine: Machine
  readonly #groups = new Map<number, { group: VfioGroup; minor: number }>()
  readonly #container: 'iommufd' | 'type1'
  readonly #cdevs = new Map<number, VfioDevice>()

  constructor(machine: Machine, options: VfioOptions = {}) {
    this.machine = machine
    this.#container = options.container ?? 'iommufd'
    machine.addNodes(() => this.nodes())
  }

  /**
   * Adds an emulated device, alone in a group of its own (02 §1.1). Throws on a name or a group number
   * that is taken.
   */
  addEmulated(options: EmulatedDeviceOptions): VfioDevice {
    const { name } = options
    this.#checkName(name)
    const group = this.#newGroup('emulated', options.group)
    const binding: EmulatedBinding = new EmulatedBinding(name, () => driver)
    const makeDriver = options.driver ?? ((machine, dma) => new ScratchDevice(machine, dma))
    const driver: VfioDriver = makeDriver(this.machine, binding)
    return this.#add({ name, kind: 'emulated', group, driver, binding })
  }

  /**
   * Adds a device behind a simulated IOMMU to the group that its IOMMU puts it in. Throws on a name that
   * is taken, and where the driver's probe fails in Linux: without cache-coherent DMA (02 §5.1).
   */
  addPhysical(options: PhysicalDeviceOptions): VfioDevice {
    const { name, device } = options
    this.#checkName(name)
    if (!device.instance.driver.capable(device, 'coherent'))
      throw new Error(`${name} cannot be offered by VFIO: its DMA is not cache-coherent`)
    const { number } = device.group
    const known = this.#groups.get(number)?.group
    if (known !== undefined && known.kind !== 'physical')
      throw new Error(`the group ${number} of ${name} is a group of another kind already`)
    const dma = new PhysicalGroup(this.machine, device)
    const group = known ?? this.#addGroup(new VfioGroup(this.machine, number, 'physical', dma))
    const driver = options.driver(this.machine)
    const binding = new PhysicalBinding(device)
    return this.#add({ name, kind: 'physical', group, driver, binding })
  }

  /** Adds a device without IOMMU, alone in a group of its own; it has no cdev (02 §5.1). */
  addNoIommu(options: NoIommuDeviceOptions): VfioDevice {
    const { name } = options
    this.#checkName(name)
    const group = this.#newGroup('no-iommu', options.group)
    const device = new VfioDevice({
      name,
      kind: 'no-iommu',
      group,
      driver: options.driver(this.machine),
    })
    group.devices.push(device)
    return device
  }

  /**
   * Takes a device away: its nodes are gone at once, and its group's with the last device of the group.
   * Undefined: nobody has it open; else what becomes of that.
   */
  remove(device: VfioDevice): Later<void> | undefined {
    const { group, cdevIndex } = device
    group.devices.splice(group.devices.indexOf(device), 1)
    if (group.devices.length === 0) this.#groups.delete(group.number)
    if (cdevIndex !== undefined) this.#cdevs.delete(cdevIndex)
    return device.whenUnused
  }

  /** Minor number of a group's node. */
  minorOf(number: number): number | undefined {
    return this.#groups.get(number)?.minor
  }

  group(number: number): VfioGroup | undefined {
    return this.#groups.get(number)?.group
  }

  device(name: string): VfioDevice | undefined {
    return this.devices().find((device) => device.name === name)
  }

  devices(): readonly VfioDevice[] {
    return [...this.#groups.values()].flatMap(({ group }) => group.devices)
  }

  /** All nodes under /dev/vfio, but /dev/vfio/vfio only where it is a native container. */
  nodes(): readonly DeviceNode[] {
    return [
      ...(this.#container === 'type1' ? [this.#containerNode()] : []),
      ...[...this.#groups.values()].map(({ group, minor }) => groupNode(group, minor)),
      ...[...this.#cdevs].map(([index, device]) => this.#cdevNode(device, index)),
    ]
  }

  #checkName(name: string): void {
    if (this.device(name) !== undefined) throw new Error(`there is a device ${name} already`)
  }

  #newGroup(kind: DeviceKind, wanted: number | undefined): VfioGroup {
    const number = wanted ?? lowestFree(this.#groups)
    if (this.#groups.has(number)) throw new Error(`there is a group ${number} already`)
    return this.#addGroup(new VfioGroup(this.machine, number, kind))
  }

  /** A device with a cdev. */
  #add(options: Omit<VfioDeviceOptions, 'cdevIndex'>): VfioDevice {
    const cdevIndex = lowestFree(this.#cdevs)
    const device = new VfioDevice({ ...options, cdevIndex })
    options.group.devices.push(device)
    this.#cdevs.set(cdevIndex, device)
    return device
  }

  #addGroup(group: VfioGroup): VfioGroup {
    const taken = new Map([...this.#groups.values()].map(({ minor }) => [minor, true]))
    this.#groups.set(group.number, { group, minor: lowestFree(taken) })
    return group
  }

  #containerNode(): DeviceNode {
    const noIommuEnabled = (): boolean => this.devices().some(({ kind }) => kind === 'no-iommu')
    return {
      path: '/dev/vfio/vfio',
      major: 'misc',
      minor: 196,
      permissions: 0o666,
      open: (_process, mode) => new Type1Container(this.machine, mode, noIommuEnabled),
    }
  }

  #cdevNode(device: VfioDevice, index: number): DeviceNode {
    return {
      path: device.cdevPath,
      major: 'vfio-dev',
      minor: index,
      permissions: 0o600,
      open: (_process, mode) => new DeviceFile(this.machine, device, { origin: 'cdev', mode }),
    }
  }
}

const groupNode = (group: VfioGroup, minor: number): DeviceNode => ({
  path: group.path,
  major: 'vfio',
  minor,
  permissions: 0o600,
  open: (process, mode) => group.open(process, mode),
})

const lowestFree = (taken: ReadonlyMap<number, unknown>): number => {
  let number = 0
  while (taken.has(number)) number += 1
  return number
}
