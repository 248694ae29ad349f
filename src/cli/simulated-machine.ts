/** Puts a machine together: the engine, the mock hardware of Linux's tests, VFIO devices. */
import { Machine } from '../engine/machine.ts'
import type { Observer } from '../engine/observer.ts'
import { TestBench } from '../iommu/test/test-bench.ts'
import { testCommand } from '../iommu/test/test-command.ts'
import { Vfio } from '../vfio/vfio.ts'
import { addDevice } from './device-models.ts'
import { parseDeviceSpec } from './device-spec.ts'

export interface MachineConfig {
  readonly devices: readonly string[]
  /** What /dev/vfio/vfio is (02 §1.2). */
  readonly container: 'iommufd' | 'type1'
  readonly compatIoas: 'linux' | 'strict'
  readonly testInterface: boolean
}

/** Throws UsageError where a device cannot be added. */
export const simulatedMachine = (config: MachineConfig, observer?: Observer): Machine => {
  const machine = new Machine({
    testInterface: config.testInterface,
    compatIoas: config.compatIoas,
    ...(observer === undefined ? {} : { observer }),
    ...(config.testInterface ? { commands: [testCommand(new TestBench())] } : {}),
  })
  const vfio = new Vfio(machine, { container: config.container })
  for (const text of config.devices) addDevice(vfio, parseDeviceSpec(text))
  return machine
}
