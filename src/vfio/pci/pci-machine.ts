/**
 * The PCI side of a machine: gives functions their addresses, buses, BAR addresses and groups, and
 * registers them with VFIO. What programs find in sysfs is derived from here.
 */
import type { IommuDevice } from '../../engine/iommu-driver.ts'
import type { Vfio } from '../vfio.ts'
import { checkModel } from './check-model.ts'
import { GuardedModel } from './guarded-model.ts'
import { PciDriver } from './pci-driver.ts'
import { PciFunction } from './pci-function.ts'
import type { PciModel, PciTimers } from './pci-model.ts'
import { formatAddress, type PciAddress, PciBus } from './pci-slot.ts'
import { VfioPci } from './vfio-pci.ts'

/** Puts a function behind the platform's IOMMU, in the group with this number. */
export type BehindIommu = (
  name: string,
  group: number,
  model: PciModel,
  pasids: number,
) => IommuDevice

export interface PciFunctionOptions {
  readonly model: PciModel
  /** Default: the next free device number, bus 0 for functions on the root bus, else a bus of its own. */
  readonly address?: PciAddress
  /** Functions of one group share it; default: the lowest free number. */
  readonly group?: number
  /** Default: true on the 4096-byte (PCI Express) functions, which sit behind a root port of their own. */
  readonly behindRootPort?: boolean
  /** How many PASIDs it handles; default: none. */
  readonly pasids?: number
  readonly dynamicMsix?: boolean
  /** The model may throw, and does no harm by it (guarded-model.ts). */
  readonly guarded?: boolean
  /** vfio-pci has it from the start; default: true. */
  readonly bound?: boolean
}

/** Where firmware starts to give out memory for BARs. */
const FIRST_BAR = 0xfe00_0000
const FIRST_ROOT_DEVICE = 3
const FIRST_ROOT_PORT = 0x1c

export class PciMachine {
  readonly functions: PciFunction[] = []
  readonly driver: PciDriver
  readonly #vfio: Vfio
  readonly #behindIommu: BehindIommu
  readonly #timers: PciTimers
  readonly #buses = new Map<string, { bus: PciBus; rootPort: PciAddress | undefined }>()
  #nextBar = FIRST_BAR

  constructor(vfio: Vfio, behindIommu: BehindIommu, timers: PciTimers) {
    this.#vfio = vfio
    this.#behindIommu = behindIommu
    this.#timers = timers
    this.driver = new PciDriver(vfio, timers, this.functions)
  }

  get vfio(): Vfio {
    return this.#vfio
  }

  /** Throws on an address or group that is taken by something that it cannot share with. */
  add(options: PciFunctionOptions): PciFunction {
    checkModel(options.model)
    const behind = options.behindRootPort ?? options.model.identity.configSize === 4096
    const address = options.address ?? this.#freeAddress(behind)
    const bdf = formatAddress(address)
    this.#checkFree(bdf)
    const model = options.guarded === true ? this.#guarded(options.model, bdf) : options.model
    const { bus, rootPort } = this.#busOf(address)
    const group = options.group ?? this.#freeGroup()
    const device = this.#behindIommu(bdf, group, model, options.pasids ?? 0)
    const pci = new VfioPci(this.#vfio.machine, {
      address,
      bus,
      model,
      device,
      barAddresses: this.#placeBars(model),
      timers: this.#timers,
      ...(options.dynamicMsix === undefined ? {} : { dynamicMsix: options.dynamicMsix }),
    })
    const added = new PciFunction(pci, device, rootPort)
    if (options.bound ?? true) {
      added.driverOverride = 'vfio-pci'
      this.driver.take(added)
    }
    this.functions.push(added)
    return added
  }

  #guarded(model: PciModel, device: string): PciModel {
    const { machine } = this.#vfio
    return new GuardedModel(model, (where, error) => {
      const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
      const { name } = model
      const call = machine.currentCall
      machine.observer?.event({ type: 'device-failed', call, device, model: name, where, message })
    })
  }

  #checkFree(bdf: string): void {
    const other = this.functions.find(({ pci }) => pci.bdf === bdf)
    if (other !== undefined) throw new Error(`${bdf} is taken by ${other.pci.model.name} already`)
    for (const { rootPort } of this.#buses.values())
      if (rootPort !== undefined && formatAddress(rootPort) === bdf)
        throw new Error(`${bdf} is the root port of a device before it`)
  }

  #freeAddress(behindRootPort: boolean): PciAddress {
    for (let n = 0; ; n++) {
      const address = behindRootPort
        ? { domain: 0, bus: 1 + n, device: 0, fn: 0 }
        : { domain: 0, bus: 0, device: FIRST_ROOT_DEVICE + n, fn: 0 }
      if (!this.#isTaken(address)) return address
    }
  }

  #isTaken(address: PciAddress): boolean {
    return this.functions.some(({ pci }) => pci.bdf === formatAddress(address))
  }

  #freeGroup(): number {
    let number = 0
    const taken = new Set(this.functions.map(({ device }) => device.group.number))
    while (this.#vfio.group(number) !== undefined || taken.has(number)) number++
    return number
  }

  /** Bus 0 is the root bus; each other bus lies behind a root port of its own. */
  #busOf({ domain, bus }: PciAddress): { bus: PciBus; rootPort: PciAddress | undefined } {
    const key = `${domain}:${bus}`
    let known = this.#buses.get(key)
    if (known === undefined) {
      known = {
        bus: new PciBus(bus === 0),
        rootPort: bus === 0 ? undefined : this.#freeRootPort(domain),
      }
      this.#buses.set(key, known)
    }
    return known
  }

  #freeRootPort(domain: number): PciAddress {
    const ports = [...this.#buses.values()].map(
      ({ rootPort }) => rootPort && formatAddress(rootPort),
    )
    for (let n = FIRST_ROOT_PORT * 8; n < 0x100; n++) {
      const port = { domain, bus: 0, device: n >> 3, fn: n & 7 }
      if (!this.#isTaken(port) && !ports.includes(formatAddress(port))) return port
    }
    throw new Error('there is no room for another root port; let devices share a bus')
  }

  #placeBars(model: PciModel): Map<number, number> {
    const placed = new Map<number, number>()
    for (const bar of model.bars) {
      const size = Math.max(bar.length, 0x1000)
      this.#nextBar = Math.ceil(this.#nextBar / size) * size
      placed.set(bar.index, this.#nextBar)
      this.#nextBar += size
    }
    return placed
  }
}
