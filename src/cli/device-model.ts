/** How a model that `--device` knows is declared; device-models.ts lists them. */
import type { PciMachine } from '../vfio/pci/pci-machine.ts'
import type { PciModel } from '../vfio/pci/pci-model.ts'
import type { Vfio } from '../vfio/vfio.ts'
import { checkArgument, type DeviceSpec, type ModelArgument, readOptions } from './device-spec.ts'
import {
  type OptionDeclarations,
  type OptionValues,
  oneOf,
  pciAddress,
  wholeNumber,
  yesOrNo,
} from './option-kind.ts'

/** Where devices can be put. */
export interface DevicePlaces {
  readonly vfio: Vfio
  readonly pci: PciMachine
  /** A recording is replayed: what the world did then is not to be done again. */
  readonly replays?: boolean
}

export interface DeviceModel {
  readonly name: string
  /** One line: what it is. */
  readonly summary: string
  readonly argument?: ModelArgument
  readonly options: OptionDeclarations
  /** In a replay another stands in for it: what programs read of its memory is not the same. */
  readonly hasStandIn?: boolean
  /** Adds one to the machine. Throws UsageError where the specification does not fit. */
  add(places: DevicePlaces, spec: DeviceSpec): void | Promise<void>
}

export const groupOption = wholeNumber(
  'the IOMMU group; functions can share one. Default: one of its own',
  { to: 999_999 },
)

/** Options that every PCI function takes. */
export const pciOptions = {
  addr: pciAddress('its PCI address. Default: the next that is free'),
  group: groupOption,
  'pasid-bits': wholeNumber(
    'how wide PASIDs may be, where the platform has them. Default: it has none',
    { to: 20 },
  ),
  driver: oneOf('which driver has it from the start. Default: vfio-pci', ['vfio-pci', 'none']),
  'dynamic-msix': yesOrNo(
    'whether vectors can be added while MSI-X is enabled, which depends on the host. Default: on',
  ),
} as const satisfies OptionDeclarations

export interface PciModelDeclaration<D extends OptionDeclarations> {
  readonly name: string
  readonly summary: string
  readonly argument?: ModelArgument
  /** Beside those of every PCI function. */
  readonly options: D
  /** Throws an Error with the end of a sentence ("... cannot be added: ") where it cannot be made. */
  create(
    options: OptionValues<D>,
    argument: string | undefined,
    place: OptionValues<typeof pciOptions>,
  ): PciModel | Promise<PciModel>
  /**
   * What stands in for it where a recording is replayed: for a model that does more than compute, which
   * writes to a file or works in a thread of its own. The same function, which does nothing.
   */
  standIn?(): PciModel
  /** What is not ours may throw at any time. */
  readonly guarded?: boolean
}

export const pciModel = <D extends OptionDeclarations>(
  declared: PciModelDeclaration<D>,
): DeviceModel => ({
  name: declared.name,
  summary: declared.summary,
  ...(declared.argument === undefined ? {} : { argument: declared.argument }),
  options: { ...pciOptions, ...declared.options },
  hasStandIn: declared.standIn !== undefined,
  add: async ({ pci, replays = false }, spec) => {
    checkArgument(spec, declared.argument)
    const [place, values] = readOptions(spec, pciOptions, declared.options)
    const { addr, group, driver, 'pasid-bits': pasidBits, 'dynamic-msix': dynamicMsix } = place
    pci.add({
      model:
        (replays ? declared.standIn?.() : undefined) ??
        (await declared.create(values, spec.argument, place)),
      guarded: declared.guarded ?? false,
      bound: driver !== 'none',
      ...(addr === undefined ? {} : { address: addr }),
      ...(group === undefined ? {} : { group }),
      ...(pasidBits === undefined ? {} : { pasids: pasidBits === 0 ? 0 : 2 ** pasidBits }),
      ...(dynamicMsix === undefined ? {} : { dynamicMsix }),
    })
  },
})
