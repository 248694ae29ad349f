/** How a model that `--device` knows is declared; device-models.ts lists them. */
import type { PciMachine } from '../vfio/pci/pci-machine.ts'
import type { PciModel } from '../vfio/pci/pci-model.ts'
import type { Vfio } from '../vfio/vfio.ts'
import { checkArgument, type DeviceSpec, type ModelArgument, readOptions } from './device-spec.ts'
import {
  type OptionDeclarations,
  type OptionValues,
  pciAddress,
  wholeNumber,
  yesOrNo,
} from './option-kind.ts'

/** Where devices can be put. */
export interface DevicePlaces {
  readonly vfio: Vfio
  readonly pci: PciMachine
}

export interface DeviceModel {
  readonly name: string
  /** One line: what it is. */
  readonly summary: string
  readonly argument?: ModelArgument
  readonly options: OptionDeclarations
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
  add: async ({ pci }, spec) => {
    checkArgument(spec, declared.argument)
    const [place, values] = readOptions(spec, pciOptions, declared.options)
    const { addr, group, 'pasid-bits': pasidBits, 'dynamic-msix': dynamicMsix } = place
    pci.add({
      model: await declared.create(values, spec.argument, place),
      guarded: declared.guarded ?? false,
      ...(addr === undefined ? {} : { address: addr }),
      ...(group === undefined ? {} : { group }),
      ...(pasidBits === undefined ? {} : { pasids: pasidBits === 0 ? 0 : 2 ** pasidBits }),
      ...(dynamicMsix === undefined ? {} : { dynamicMsix }),
    })
  },
})
