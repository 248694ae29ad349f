/** The models that `--device` knows. */
import { Edu } from '../devices/edu.ts'
import { Ioat } from '../devices/ioat.ts'
import type { Vfio } from '../vfio/vfio.ts'
import { list } from '../watch/english.ts'
import { type DeviceModel, type DevicePlaces, groupOption, pciModel } from './device-model.ts'
import { moduleModel } from './device-module.ts'
import {
  checkArgument,
  type DeviceSpec,
  isModulePath,
  placeOf,
  readOptions,
} from './device-spec.ts'
import { nearestName } from './nearest-name.ts'
import { nvme } from './nvme-model.ts'
import { type OptionDeclarations, text, wholeNumber, yesOrNo } from './option-kind.ts'
import { UsageError } from './usage-error.ts'

const freeName = (vfio: Vfio, model: string): string => {
  for (let i = 0; ; i++) if (vfio.device(`${model}${i}`) === undefined) return `${model}${i}`
}

const scratchOptions = {
  name: text('what VFIO_GROUP_GET_DEVICE_FD calls it. Default: scratch0, scratch1, ...', 'NAME'),
  group: groupOption,
} as const satisfies OptionDeclarations

const scratch: DeviceModel = {
  name: 'scratch',
  summary: 'an emulated device (no PCI function) with a buffer that DMA fills and empties',
  options: scratchOptions,
  add: ({ vfio }, spec) => {
    checkArgument(spec, undefined)
    const [{ name = freeName(vfio, spec.model), group }] = readOptions(spec, scratchOptions)
    vfio.addEmulated({ name, ...(group === undefined ? {} : { group }) })
  },
}

const edu = pciModel({
  name: 'edu',
  summary: "QEMU's teaching device: registers, a factorial, DMA of its 4 KiB buffer, INTx and MSI",
  options: {
    'dma-bits': wholeNumber('how many bits of a DMA address it keeps. Default: 28', {
      from: 12,
      to: 64,
    }),
    mmap: yesOrNo(
      'whether its registers can be mapped; what is stored there takes effect a moment later. Default: on',
    ),
  },
  create: ({ 'dma-bits': dmaBits, mmap: mappable }, _argument, { 'pasid-bits': pasidBits = 0 }) =>
    new Edu({
      ...(dmaBits === undefined ? {} : { dmaBits }),
      ...(mappable === undefined ? {} : { mappable }),
      pasid: pasidBits > 0,
    }),
})

const ioat = pciModel({
  name: 'ioat',
  summary:
    "a copy engine as Intel's I/OAT has, which Linux's tests of VFIO drivers can drive; MSI-X",
  options: {},
  create: () => new Ioat(),
})

const mock: DeviceModel = {
  name: 'mock',
  summary: "the mock hardware of Linux's own tests; it is there unless --no-test-interface",
  options: {},
  add: (_places, spec) => {
    checkArgument(spec, undefined)
    readOptions(spec, {})
  },
}

export const deviceModels: readonly DeviceModel[] = [edu, nvme, ioat, scratch, mock]

/** Throws UsageError for a name that no model has. */
export const modelOf = (spec: DeviceSpec): DeviceModel => {
  if (isModulePath(spec.model)) return moduleModel(spec.model)
  const names = deviceModels.map(({ name }) => name)
  const model = deviceModels.find(({ name }) => name === spec.model)
  if (model !== undefined) return model
  const near = nearestName(spec.model, names)
  const meant = near === undefined ? '' : ` Is it ${near} that you mean?`
  throw new UsageError(
    `${placeOf(spec)}: there is no device model '${spec.model}'; there are ${list(names)}.${meant}`,
  )
}

/** Adds what a specification asks for. Throws UsageError. */
export const addDevice = async (places: DevicePlaces, spec: DeviceSpec): Promise<void> => {
  const model = modelOf(spec)
  try {
    await model.add(places, spec)
  } catch (error) {
    if (error instanceof UsageError) throw error
    const why = error instanceof Error ? error.message : String(error)
    throw new UsageError(`${placeOf(spec)}: it cannot be added: ${why}.`)
  }
}
