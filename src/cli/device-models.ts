/** The models that `--device` knows. */
import { Edu } from '../devices/edu.ts'
import type { PciMachine } from '../vfio/pci/pci-machine.ts'
import { type PciAddress, parseAddress } from '../vfio/pci/pci-slot.ts'
import type { Vfio } from '../vfio/vfio.ts'
import { list } from '../watch/english.ts'
import { type DeviceSpec, expectOnly, numberOption } from './device-spec.ts'
import { UsageError } from './usage-error.ts'

/** Where devices can be put. */
export interface DevicePlaces {
  readonly vfio: Vfio
  readonly pci: PciMachine
}

export interface DeviceModel {
  readonly name: string
  /** One line: what it is and what it takes. */
  readonly summary: string
  /** Adds one to the machine. Throws UsageError where the specification does not fit. */
  add(places: DevicePlaces, spec: DeviceSpec): void
}

/** `name=` and `group=`, which every model takes. */
const place = (vfio: Vfio, spec: DeviceSpec): { name: string; group?: number } => {
  const group = numberOption(spec, 'group')
  return {
    name: spec.options.get('name') ?? freeName(vfio, spec.model),
    ...(group === undefined ? {} : { group }),
  }
}

/** `addr=` and `group=`, which every PCI function takes. */
const slot = (spec: DeviceSpec): { address?: PciAddress; group?: number } => {
  const group = numberOption(spec, 'group')
  const text = spec.options.get('addr')
  const address = text === undefined ? undefined : parseAddress(text)
  if (text !== undefined && address === undefined)
    throw new UsageError(
      `addr=${text} in --device ${spec.text} is no PCI address; one looks like 0000:01:00.0.`,
    )
  return {
    ...(address === undefined ? {} : { address }),
    ...(group === undefined ? {} : { group }),
  }
}

const freeName = (vfio: Vfio, model: string): string => {
  for (let i = 0; ; i++) if (vfio.device(`${model}${i}`) === undefined) return `${model}${i}`
}

export const deviceModels: readonly DeviceModel[] = [
  {
    name: 'scratch',
    summary: 'an emulated device with a buffer that DMA fills and empties: name=NAME, group=NUMBER',
    add: ({ vfio }, spec) => {
      expectOnly(spec, ['name', 'group'])
      vfio.addEmulated(place(vfio, spec))
    },
  },
  {
    name: 'edu',
    summary:
      "QEMU's teaching PCI device, behind the platform's IOMMU: addr=0000:00:03.0, group=NUMBER, dma-bits=28",
    add: ({ pci }, spec) => {
      expectOnly(spec, ['addr', 'group', 'dma-bits'])
      const dmaBits = numberOption(spec, 'dma-bits')
      if (dmaBits !== undefined && (dmaBits < 12 || dmaBits > 64))
        throw new UsageError(`dma-bits=${dmaBits} in --device ${spec.text} must be from 12 to 64.`)
      pci.add({ model: new Edu(dmaBits === undefined ? {} : { dmaBits }), ...slot(spec) })
    },
  },
  {
    name: 'mock',
    summary: "the mock hardware of Linux's own tests; it is there unless --no-test-interface",
    add: (_places, spec) => expectOnly(spec, []),
  },
]

/** Adds what a specification asks for. Throws UsageError. */
export const addDevice = (places: DevicePlaces, spec: DeviceSpec): void => {
  const model = deviceModels.find(({ name }) => name === spec.model)
  if (model === undefined)
    throw new UsageError(
      `There is no device model '${spec.model}'; there are ${list(deviceModels.map(({ name }) => name))}.`,
    )
  try {
    model.add(places, spec)
  } catch (error) {
    if (error instanceof UsageError || !(error instanceof Error)) throw error
    throw new UsageError(`--device ${spec.text} cannot be added: ${error.message}.`)
  }
}
