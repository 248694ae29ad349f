/** `--machine FILE`: a machine described in JSON (docs/machine.schema.json). */
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { list } from '../watch/english.ts'
import { modelOf } from './device-models.ts'
import { type DeviceSpec, isModulePath, withPaths } from './device-spec.ts'
import { machineOptions } from './machine-options.ts'
import { nearestName } from './nearest-name.ts'
import type { OptionValue, OptionValues } from './option-kind.ts'
import { UsageError } from './usage-error.ts'

/** What a machine file says; what it leaves open is absent. */
export interface MachineFile {
  readonly options: OptionValues<typeof machineOptions>
  readonly devices: readonly DeviceSpec[]
}

const KEYS = ['$schema', 'devices', ...Object.keys(machineOptions)]

/** Paths in it are relative to its own directory. Throws UsageError that names the place in the file. */
export const readMachineFile = (file: string): MachineFile => {
  const top = objectAt(parse(file), file, 'the whole')
  for (const key of Object.keys(top))
    if (!KEYS.includes(key)) throw new UsageError(`${file}: ${unknownKey(key)}`)
  const options: Record<string, unknown> = {}
  for (const [key, kind] of Object.entries(machineOptions)) {
    const given = Object.hasOwn(top, key) ? top[key] : undefined
    if (given === undefined) continue
    const value = isOptionValue(given) ? kind.read(given) : undefined
    if (value === undefined)
      throw new UsageError(
        `${file}: ${key} is ${JSON.stringify(given)}, but must be ${kind.expected}.`,
      )
    options[key] = value
  }
  const devices = top['devices'] ?? []
  if (!Array.isArray(devices))
    throw new UsageError(`${file}: devices is ${shape(devices)}, but must be a list of devices.`)
  return {
    // Each value has been read by the kind that its key declares.
    options: options as OptionValues<typeof machineOptions>,
    devices: devices.map((device: unknown, i) => deviceAt(device, file, `devices[${i}]`)),
  }
}

const unknownKey = (key: string): string => {
  const near = nearestName(key, KEYS)
  const meant = near === undefined ? '' : ` Is it ${near} that you mean?`
  return `a machine has no '${key}'; it has ${list(KEYS.slice(1))}.${meant}`
}

const parse = (file: string): unknown => {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw new UsageError(`The machine file cannot be read: ${told(error)}.`)
  }
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new UsageError(`${file} is not JSON: ${placed(told(error), text)}.`)
  }
}

const told = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** V8 tells what is wrong, but not always where. */
const placed = (message: string, text: string): string => {
  const what = message.replace(/,? (\.\.\.|").*|(?: in JSON)? at position.*/s, '')
  const before = text.slice(0, firstWrong(text)).split('\n')
  return `${what} in line ${before.length}, column ${(before.at(-1) ?? '').length + 1}`
}

/** Everything before this character can still become JSON. */
const firstWrong = (text: string): number => {
  const canGoOn = (length: number): boolean => {
    try {
      JSON.parse(text.slice(0, length))
      return true
    } catch (error) {
      const position = /at position (\d+)/.exec(told(error))?.[1]
      return /^(Unexpected end|Unterminated)/.test(told(error)) || Number(position) === length
    }
  }
  let [good, bad] = [0, text.length + 1]
  while (bad - good > 1) {
    const middle = (good + bad) >> 1
    if (canGoOn(middle)) good = middle
    else bad = middle
  }
  return good
}

const shape = (value: unknown): string =>
  value === null ? 'null' : Array.isArray(value) ? 'a list' : JSON.stringify(value)

const objectAt = (value: unknown, file: string, path: string): Record<string, unknown> => {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new UsageError(`${file}: ${path} is ${shape(value)}, but must be an object in braces.`)
  return { ...value }
}

const isOptionValue = (value: unknown): value is OptionValue =>
  ['string', 'number', 'boolean'].includes(typeof value)

const deviceAt = (value: unknown, file: string, path: string): DeviceSpec => {
  const { model, argument, ...rest } = objectAt(value, file, path)
  if (typeof model !== 'string' || model === '')
    throw new UsageError(`${file}: ${path} has no model, the name of what it is.`)
  if (argument !== undefined && typeof argument !== 'string')
    throw new UsageError(`${file}: ${path}.argument is ${shape(argument)}, but must be text.`)
  const options = Object.entries(rest).map(([key, given]): [string, OptionValue] => {
    if (isOptionValue(given)) return [key, given]
    throw new UsageError(
      `${file}: ${path}.${key} is ${shape(given)}, but must be text, a number, true or false.`,
    )
  })
  const spec: DeviceSpec = {
    source: file,
    path,
    model,
    ...(argument === undefined ? {} : { argument }),
    options: Object.fromEntries(options),
  }
  return withinDirectory(spec, dirname(resolve(file)))
}

const withinDirectory = (spec: DeviceSpec, directory: string): DeviceSpec => {
  if (isModulePath(spec.model)) return withPaths(spec, directory)
  const isPath = modelOf(spec).argument?.isPath === true
  return isPath && spec.argument !== undefined
    ? { ...spec, argument: resolve(directory, spec.argument) }
    : spec
}
