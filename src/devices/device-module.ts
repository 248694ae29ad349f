/** What a device of your own is: a module, given as `--device ./my-device.ts`. */
import type { PciModel } from '../vfio/pci/pci-model.ts'

/** What was asked for: `--device ./my-device.ts:ARGUMENT,KEY=VALUE`, or the same in a machine file. */
export interface DeviceRequest {
  readonly argument: string | undefined
  /** Without those that every PCI function takes. Text from the command line, any of these from a file. */
  readonly options: Readonly<Record<string, string | number | boolean>>
}

/**
 * Makes one device; called once for each that is asked for. Throw an Error with the end of a sentence
 * ("... cannot be added: ") where it cannot be.
 */
export type DeviceFactory = (request: DeviceRequest) => PciModel | Promise<PciModel>

/** The exports of such a module. */
export interface DeviceModule {
  readonly default: DeviceFactory
  /** The options that it takes, each with what it means; others are then refused. Absent: any is passed on. */
  readonly options?: Readonly<Record<string, string>>
}
