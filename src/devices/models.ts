/** The device models that can be named on the command line and in machine descriptions. */
import type { VfioDevice } from '../vfio/device.ts'
import type { Vfio } from '../vfio/vfio.ts'
import { type DeviceSpec, DeviceSpecError, parseDeviceSpec } from './device-spec.ts'

export interface DeviceModel {
  readonly name: string
  /** One line for `iommufd-user devices`. */
  readonly summary: string
  /** Something may stand behind a colon: `nvme:disk.img`. */
  readonly takesArgument: boolean
  /** Option keys and what they mean. */
  readonly options: Readonly<Record<string, string>>
  /** Throws DeviceSpecError, or Error with a sentence. */
  add(vfio: Vfio, spec: DeviceSpec): VfioDevice
}

const GROUP_OPTION = 'number of its IOMMU group, /dev/vfio/NUMBER; default: the lowest that is free'

/** The scratch device: see vfio/scratch-device.ts for its registers. */
const scratch: DeviceModel = {
  name: 'scratch',
  summary: 'an emulated (mdev) device that copies between a buffer and the memory of its IOAS',
  takesArgument: false,
  options: {
    name: 'what VFIO_GROUP_GET_DEVICE_FD calls it; default: scratchN',
    group: GROUP_OPTION,
  },
  add: (vfio, { options }) => {
    const name = options.get('name') ?? freeName(vfio, 'scratch')
    const group = options.get('group')
    return vfio.addEmulated({ name, ...(group === undefined ? {} : { group: groupNumber(group) }) })
  },
}

export const deviceModels: readonly DeviceModel[] = [scratch]

/** Adds the device that a text like `scratch,name=scratch0,group=7` describes; throws DeviceSpecError. */
export const addDevice = (vfio: Vfio, text: string): VfioDevice => {
  const spec = parseDeviceSpec(text)
  const model = deviceModels.find(({ name }) => name === spec.model)
  if (model === undefined) {
    const known = deviceModels.map(({ name }) => name).join(', ')
    throw new DeviceSpecError(text, `there is no model ${spec.model}; there is ${known}`)
  }
  if (spec.argument !== undefined && !model.takesArgument)
    throw new DeviceSpecError(text, `the model ${model.name} takes nothing behind a colon`)
  for (const key of spec.options.keys())
    if (!(key in model.options)) {
      const known = Object.keys(model.options).join(', ')
      throw new DeviceSpecError(
        text,
        `the model ${model.name} has no option ${key}; it has ${known}`,
      )
    }
  try {
    return model.add(vfio, spec)
  } catch (error) {
    throw new DeviceSpecError(text, error instanceof Error ? error.message : String(error))
  }
}

const groupNumber = (text: string): number => {
  if (!/^\d{1,9}$/.test(text)) throw new Error(`the group "${text}" is not a number`)
  return Number(text)
}

const freeName = (vfio: Vfio, stem: string): string => {
  let index = 0
  while (vfio.device(`${stem}${index}`) !== undefined) index += 1
  return `${stem}${index}`
}
