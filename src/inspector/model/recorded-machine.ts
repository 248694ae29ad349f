/** The machine of a recording, put together once more: its devices as far as their part here goes. */
import { Edu } from '../../devices/edu.ts'
import { Ioat } from '../../devices/ioat.ts'
import { nvmeIdentity, nvmeMsix } from '../../devices/nvme/pci-function.ts'
import { BAR_LENGTH } from '../../devices/nvme/registers.ts'
import type { Context } from '../../engine/context.ts'
import { Machine } from '../../engine/machine.ts'
import type { Observer } from '../../engine/observer.ts'
import { devicesBehind } from '../../iommu/platform-device.ts'
import { DEFAULT_PLATFORM, platformNamed } from '../../iommu/platforms.ts'
import { TestBench } from '../../iommu/test/test-bench.ts'
import { testCommand } from '../../iommu/test/test-command.ts'
import { type BehindIommu, PciMachine } from '../../vfio/pci/pci-machine.ts'
import type { PciModel, PciTimers } from '../../vfio/pci/pci-model.ts'
import { type PciAddress, parseAddress } from '../../vfio/pci/pci-slot.ts'
import { Vfio } from '../../vfio/vfio.ts'
import type { RecordedDevice, RecordedMachine } from '../../watch/recording.ts'

/** A device that is not known here; the message is a sentence. */
export class UnknownDeviceError extends Error {}

/** A machine that knows its contexts by their numbers. */
export class ContextMachine extends Machine {
  readonly contexts = new Map<number, Context>()

  override open(...args: Parameters<Machine['open']>): Context {
    const context = super.open(...args)
    this.contexts.set(context.number, context)
    return context
  }
}

/** Throws UnknownDeviceError. */
export const recordedMachine = (
  recorded: RecordedMachine,
  { timers, observer }: { readonly timers: PciTimers; readonly observer: Observer },
): ContextMachine => {
  const machine = new ContextMachine({
    testInterface: recorded.testInterface,
    compatIoas: recorded.compatIoas,
    observer,
    ...(recorded.testInterface ? { commands: [testCommand(new TestBench())] } : {}),
  })
  const vfio = new Vfio(machine, { container: recorded.container })
  const pci = new PciMachine(vfio, behindPlatform(recorded.platform ?? DEFAULT_PLATFORM), timers)
  for (const device of recorded.devices) addDevice(vfio, pci, device)
  return machine
}

const behindPlatform = (name: string): BehindIommu => {
  const platform = platformNamed(name)
  if (platform === undefined) throw new UnknownDeviceError(`There is no platform ${name} here.`)
  return devicesBehind(() => platform.create())
}

const addDevice = (vfio: Vfio, pci: PciMachine, { model, options }: RecordedDevice): void => {
  if (model === 'mock') return
  const group = numberOption(options['group'])
  if (model === 'scratch') {
    const name = options['name']
    vfio.addEmulated({ name: typeof name === 'string' ? name : freeName(vfio), ...some({ group }) })
    return
  }
  const address = addressOption(options['addr'])
  const bits = numberOption(options['pasid-bits'])
  const dynamicMsix = yesOrNo(options['dynamic-msix'])
  pci.add({
    model: modelOf(model, options),
    ...some({ group, address, dynamicMsix }),
    ...(bits === undefined ? {} : { pasids: bits === 0 ? 0 : 2 ** bits }),
  })
}

const modelOf = (name: string, options: RecordedDevice['options']): PciModel => {
  switch (name) {
    case 'edu': {
      const dmaBits = numberOption(options['dma-bits'])
      return new Edu(some({ dmaBits, mappable: yesOrNo(options['mmap']) }))
    }
    case 'ioat':
      return new Ioat()
    case 'nvme':
      return silentNvme
    default:
      throw new UnknownDeviceError(
        `The device model ${name} is not part of this page, so the machine cannot be made again.`,
      )
  }
}

/** The function without the controller: what its thread does with memory changes no page table. */
const silentNvme: PciModel = {
  name: 'nvme',
  identity: nvmeIdentity,
  bars: [{ index: 0, kind: 'memory64', length: BAR_LENGTH }],
  msix: nvmeMsix,
  resettable: true,
  reset: () => {},
}

const freeName = (vfio: Vfio): string => {
  for (let i = 0; ; i++) if (vfio.device(`scratch${i}`) === undefined) return `scratch${i}`
}

const addressOption = (value: OptionValue): PciAddress | undefined =>
  typeof value !== 'string'
    ? undefined
    : (parseAddress(value.toLowerCase()) ?? parseAddress(`0000:${value.toLowerCase()}`))

/** As text where they were typed, as values where a file has them. */
type OptionValue = string | number | boolean | undefined

const numberOption = (value: OptionValue): number | undefined =>
  value === undefined || Number.isNaN(Number(value)) ? undefined : Number(value)

const yesOrNo = (value: OptionValue): boolean | undefined =>
  value === undefined ? undefined : value === true || value === 'on'

/** Without what is undefined. */
const some = <T extends object>(options: T): { [Name in keyof T]?: Exclude<T[Name], undefined> } =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as {
    [Name in keyof T]?: Exclude<T[Name], undefined>
  }
