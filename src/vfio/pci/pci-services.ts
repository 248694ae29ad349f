/** What vfio-pci offers the model of a function while the device is open (pci-model.ts). */
import type { Pasid } from '../../abi/brands.ts'
import { DmaPort } from '../../engine/dma.ts'
import type { IommuDevice } from '../../engine/iommu-driver.ts'
import type { Machine } from '../../engine/machine.ts'
import { type HardwareConfig, PciCommand } from './hardware-config.ts'
import type { Interrupts } from './interrupts.ts'
import type { PciDirectAccess, PciDma, PciModel, PciServices, PciTimers } from './pci-model.ts'

export interface ServedFunction {
  readonly machine: Machine
  readonly device: IommuDevice
  readonly model: PciModel
  readonly bdf: string
  readonly hw: HardwareConfig
  readonly interrupts: Interrupts
  readonly timers: PciTimers
  /** Why memory does not answer now, if it does not. */
  memoryDisabled(): string | undefined
}

export const pciServices = (fn: ServedFunction): PciServices => {
  const { machine, device, hw, interrupts, timers } = fn
  const master = (): boolean => (hw.command & PciCommand.MASTER) !== 0
  const dmaOf = (pasid?: Pasid): PciDma => {
    const port = new DmaPort(machine, device, pasid)
    return {
      read: (iova, into) => master() && port.read(iova, into) === undefined,
      write: (iova, bytes) => master() && port.write(iova, bytes) === undefined,
    }
  }
  return {
    dma: dmaOf(),
    dmaWithPasid: dmaOf,
    direct: directAccess(fn),
    get busMaster() {
      return master()
    },
    get memoryEnabled() {
      return fn.memoryDisabled() === undefined
    },
    get interruptKind() {
      return interrupts.active
    },
    message: (vector) => {
      if (master()) interrupts.message(vector)
    },
    line: (asserted) => {
      hw.interruptAsserted = asserted
      interrupts.intx.setLine(asserted)
    },
    after: (milliseconds, run) => timers.after(milliseconds, run),
  }
}

const directAccess = ({
  machine,
  device,
  model,
  bdf,
  interrupts,
}: ServedFunction): PciDirectAccess => {
  const dma = new DmaPort(machine, device)
  return {
    device,
    get translation() {
      return machine.groups.of(device).translation()
    },
    extentAt: (phys) => machine.frames.extentAt(phys),
    follow: (follower) => machine.dma.follow(follower),
    descriptorOf: (vector) => interrupts.msix.descriptorOf(vector),
    get observed() {
      return machine.observer !== undefined
    },
    moved: (iova, length, write) => dma.moved(iova, length, write),
    failed: (where, message) =>
      machine.observer?.event({
        type: 'device-failed',
        call: machine.currentCall,
        device: bdf,
        model: model.name,
        where,
        message,
      }),
  }
}
