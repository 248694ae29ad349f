/** The machine of the playground: one program, two scratch devices, and a PCI function behind an IOMMU. */
import { Edu } from '../../devices/edu.ts'
import { DmaPort } from '../../engine/dma.ts'
import type { IommuDevice } from '../../engine/iommu-driver.ts'
import { PlatformDevice, PlatformGroup } from '../../iommu/platform-device.ts'
import { DEFAULT_PLATFORM, platformNamed } from '../../iommu/platforms.ts'
import { SimulatedMachine } from '../../library/simulated-machine.ts'
import { PciMachine } from '../../vfio/pci/pci-machine.ts'

export interface PlaygroundConfig {
  /** Whose IOMMU the PCI function stands behind; as `run --platform` names it. */
  readonly platform: string
  readonly compatIoas: 'linux' | 'strict'
}

export const usualConfig: PlaygroundConfig = { platform: DEFAULT_PLATFORM, compatIoas: 'linux' }

export interface PlaygroundMachine {
  readonly machine: SimulatedMachine
  /** The bus-master side of the PCI function. */
  readonly dma: DmaPort
}

/** Nothing here waits: time stands still. */
const noTimers = { after: () => () => {} }

export const playgroundMachine = (config: PlaygroundConfig): PlaygroundMachine => {
  const platform = platformNamed(config.platform)
  if (platform === undefined) throw new Error(`there is no platform ${config.platform}`)
  let device: IommuDevice | undefined
  const machine = new SimulatedMachine({
    compatIoas: config.compatIoas,
    devices: [
      { name: 'scratch0', group: 7 },
      { name: 'scratch1', group: 8 },
    ],
    furnish: (vfio) => {
      const { instance } = platform.create()
      const pci = new PciMachine(
        vfio,
        (name, group, _model, pasids) =>
          new PlatformDevice(instance, new PlatformGroup(group), { name, pasids }),
        noTimers,
      )
      device = pci.add({ model: new Edu() }).device
    },
  })
  if (device === undefined) throw new Error('the PCI function was not added')
  return { machine, dma: new DmaPort(machine.engine, device) }
}
