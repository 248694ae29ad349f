/**
 * What stands behind `--device`: MODEL[:ARGUMENT][,KEY=VALUE...], such as `scratch`,
 * `scratch,name=dev0,group=7` or `nvme:disk.img,addr=0000:01:00.0`.
 */
import { list } from '../watch/english.ts'
import { UsageError } from './usage-error.ts'

export interface DeviceSpec {
  /** As it was typed, for messages. */
  readonly text: string
  readonly model: string
  /** What stood behind the colon: an image file, for one. */
  readonly argument: string | undefined
  readonly options: ReadonlyMap<string, string>
}

/** Throws UsageError for what has another form. */
export const parseDeviceSpec = (text: string): DeviceSpec => {
  const [head = '', ...rest] = text.split(',')
  const colon = head.indexOf(':')
  const model = colon < 0 ? head : head.slice(0, colon)
  if (model === '')
    throw new UsageError(
      `--device ${text} names no model. Its form is MODEL[:ARGUMENT][,KEY=VALUE...].`,
    )
  const options = new Map<string, string>()
  for (const part of rest) {
    const [, key, value] = /^([a-z-]+)=(.+)$/s.exec(part) ?? []
    if (key === undefined || value === undefined)
      throw new UsageError(
        `'${part}' in --device ${text} is not of the form KEY=VALUE. (A comma in a value cannot be had.)`,
      )
    if (options.has(key)) throw new UsageError(`--device ${text} gives ${key} twice.`)
    options.set(key, value)
  }
  return { text, model, argument: colon < 0 ? undefined : head.slice(colon + 1), options }
}

/** Refuses options that a model does not have, and an argument where it takes none. */
export const expectOnly = (
  spec: DeviceSpec,
  known: readonly string[],
  { takesArgument = false } = {},
): void => {
  if (spec.argument !== undefined && !takesArgument)
    throw new UsageError(
      `The device model ${spec.model} takes no argument, but --device ${spec.text} gives one.`,
    )
  for (const key of spec.options.keys())
    if (!known.includes(key))
      throw new UsageError(
        `The device model ${spec.model} has no option ${key}; it has ${list(known)}.`,
      )
}

/** A whole number from 0, or undefined where the option is absent. */
export const numberOption = (spec: DeviceSpec, key: string): number | undefined => {
  const text = spec.options.get(key)
  if (text === undefined) return undefined
  if (!/^\d{1,9}$/.test(text))
    throw new UsageError(`${key}=${text} in --device ${spec.text} must be a whole number from 0.`)
  return Number(text)
}
