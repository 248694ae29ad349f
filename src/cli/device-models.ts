/** The models that `--device` knows. */
import type { Vfio } from '../vfio/vfio.ts'
import { list } from '../watch/english.ts'
import { type DeviceSpec, expectOnly, numberOption } from './device-spec.ts'
import { UsageError } from './usage-error.ts'

export interface DeviceModel {
  readonly name: string
  /** One line: what it is and what it takes. */
  readonly summary: string
  /** Adds one to the machine. Throws UsageError where the specification does not fit. */
  add(vfio: Vfio, spec: DeviceSpec): void
}

/** `name=` and `group=`, which every model takes. */
const place = (vfio: Vfio, spec: DeviceSpec): { name: string; group?: number } => {
  const group = numberOption(spec, 'group')
  return {
    name: spec.options.get('name') ?? freeName(vfio, spec.model),
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
    add: (vfio, spec) => {
      expectOnly(spec, ['name', 'group'])
      vfio.addEmulated(place(vfio, spec))
    },
  },
  {
    name: 'mock',
    summary: "the mock hardware of Linux's own tests; it is there unless --no-test-interface",
    add: (_vfio, spec) => expectOnly(spec, []),
  },
]

/** Adds what a specification asks for. Throws UsageError. */
export const addDevice = (vfio: Vfio, spec: DeviceSpec): void => {
  const model = deviceModels.find(({ name }) => name === spec.model)
  if (model === undefined)
    throw new UsageError(
      `There is no device model '${spec.model}'; there are ${list(deviceModels.map(({ name }) => name))}.`,
    )
  try {
    model.add(vfio, spec)
  } catch (error) {
    if (error instanceof UsageError || !(error instanceof Error)) throw error
    throw new UsageError(`--device ${spec.text} cannot be added: ${error.message}.`)
  }
}
