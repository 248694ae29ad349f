/** Puts a machine together: the engine, the mock hardware of Linux's tests, VFIO devices. */
import { Machine } from '../engine/machine.ts'
import type { Observer } from '../engine/observer.ts'
import { devicesBehind } from '../iommu/platform-device.ts'
import { DEFAULT_PLATFORM, platformNamed, platforms } from '../iommu/platforms.ts'
import { TestBench } from '../iommu/test/test-bench.ts'
import { testCommand } from '../iommu/test/test-command.ts'
import { type BehindIommu, PciMachine } from '../vfio/pci/pci-machine.ts'
import type { PciTimers } from '../vfio/pci/pci-model.ts'
import { Vfio } from '../vfio/vfio.ts'
import { list } from '../watch/english.ts'
import { addDevice } from './device-models.ts'
import type { DeviceSpec } from './device-spec.ts'
import { UsageError } from './usage-error.ts'

export interface MachineConfig {
  readonly devices: readonly DeviceSpec[]
  /** What /dev/vfio/vfio is (02 §1.2). */
  readonly container: 'iommufd' | 'type1'
  readonly compatIoas: 'linux' | 'strict'
  readonly testInterface: boolean
  /** Whose IOMMU PCI devices stand behind. */
  readonly platform: string | null
}

/** A machine and its PCI side, for /sys. */
export interface SimulatedMachine {
  readonly machine: Machine
  readonly pci: PciMachine
}

/** Throws UsageError where a device cannot be added. */
export const simulatedMachine = async (
  config: MachineConfig,
  timers: PciTimers,
  observer?: Observer,
  options: { readonly replays?: boolean } = {},
): Promise<SimulatedMachine> => {
  const machine = new Machine({
    testInterface: config.testInterface,
    compatIoas: config.compatIoas,
    ...(observer === undefined ? {} : { observer }),
    ...(config.testInterface ? { commands: [testCommand(new TestBench())] } : {}),
  })
  const vfio = new Vfio(machine, { container: config.container })
  const pci = new PciMachine(vfio, behindPlatform(config.platform ?? DEFAULT_PLATFORM), timers)
  for (const spec of config.devices) await addDevice({ vfio, pci, ...options }, spec)
  return { machine, pci }
}

const behindPlatform = (name: string): BehindIommu => {
  const platform = platformNamed(name)
  if (platform === undefined)
    throw new UsageError(
      `There is no platform '${name}'; there are ${list(platforms.map((known) => known.name))}.`,
    )
  return devicesBehind(() => platform.create())
}
