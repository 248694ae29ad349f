/**
 * What a device of the machine is asked to be: from `--device MODEL[:ARGUMENT][,KEY=VALUE...]`, such as
 * `scratch`, `edu,addr=0000:00:05.0,group=7` or `nvme:disk.img`, or from a machine file. It travels to
 * the supervisor as JSON.
 */
import { resolve } from 'node:path'
import { list } from '../watch/english.ts'
import { nearestName } from './nearest-name.ts'
import type { OptionDeclarations, OptionValue, OptionValues } from './option-kind.ts'
import { UsageError } from './usage-error.ts'

export interface DeviceSpec {
  /** Where it was asked for, for messages: `--device edu,group=7`, or `machine.json`. */
  readonly source: string
  /** Where in that file: `devices[0]`. */
  readonly path?: string
  readonly model: string
  /** What stood behind the colon: an image file, for one. */
  readonly argument?: string
  readonly options: Readonly<Record<string, OptionValue>>
}

/** The same with the path of a module, if it names one, from a directory on. */
export const withPaths = (spec: DeviceSpec, directory: string): DeviceSpec =>
  isModulePath(spec.model) ? { ...spec, model: resolve(directory, spec.model) } : spec

/** A path, not the name of a model: it has a slash, or a suffix of JavaScript or TypeScript. */
export const isModulePath = (model: string): boolean => /\/|\.[cm]?[jt]s$/.test(model)

/** What a model takes behind its colon. */
export interface ModelArgument {
  /** For the listing: `IMAGE`. */
  readonly form: string
  readonly meaning: string
  readonly required: boolean
  /** It names a file; in a machine file from there on. */
  readonly isPath?: boolean
}

/** How messages begin: where a specification was given, or one of its options. */
export const placeOf = ({ source, path }: DeviceSpec, key?: string): string => {
  const within = [path, key].filter((part) => part !== undefined).join('.')
  return within === '' ? source : `${source}: ${within}`
}

/** Throws UsageError for what has another form. */
export const parseDeviceSpec = (text: string): DeviceSpec => {
  const source = `--device ${text}`
  const [head = '', ...rest] = text.split(',')
  const colon = head.indexOf(':')
  const model = colon < 0 ? head : head.slice(0, colon)
  if (model === '')
    throw new UsageError(
      `${source}: it names no model. The form is MODEL[:ARGUMENT][,KEY=VALUE...].`,
    )
  const options = new Map<string, string>()
  for (const part of rest) {
    const [, key, value] = /^([a-z][a-z0-9-]*)=(.+)$/s.exec(part) ?? []
    if (key === undefined || value === undefined)
      throw new UsageError(
        `${source}: '${part}' is not of the form KEY=VALUE. (A value that has a comma in it can be given in a machine file.)`,
      )
    if (options.has(key)) throw new UsageError(`${source}: ${key} is given twice.`)
    options.set(key, value)
  }
  const argument = colon < 0 ? {} : { argument: head.slice(colon + 1) }
  return { source, model, ...argument, options: Object.fromEntries(options) }
}

/**
 * The options of a specification by the declarations that know them, which have no name in common: the
 * values of each. Throws UsageError for what does not fit.
 */
export const readOptions = <D extends readonly OptionDeclarations[]>(
  spec: DeviceSpec,
  ...declarations: D
): { readonly [I in keyof D]: OptionValues<D[I]> } => {
  const names = declarations.flatMap((declared) => Object.keys(declared))
  const unknown = Object.keys(spec.options).find((key) => !names.includes(key))
  if (unknown !== undefined) throw new UsageError(unknownOption(spec, unknown, names))
  const values = declarations.map((declared) => valuesOf(spec, declared))
  // Each value has been read by the kind that its key declares.
  return values as { readonly [I in keyof D]: OptionValues<D[I]> }
}

const valuesOf = (spec: DeviceSpec, declared: OptionDeclarations): Record<string, unknown> => {
  const values: Record<string, unknown> = {}
  for (const [key, kind] of Object.entries(declared)) {
    const given = Object.hasOwn(spec.options, key) ? spec.options[key] : undefined
    if (given === undefined) continue
    const value = kind.read(given)
    if (value === undefined)
      throw new UsageError(`${placeOf(spec, key)} is '${given}', but must be ${kind.expected}.`)
    values[key] = value
  }
  return values
}

const unknownOption = (spec: DeviceSpec, key: string, names: readonly string[]): string => {
  const near = nearestName(key, names)
  const meant = near === undefined ? '' : ` Is it ${near} that you mean?`
  return names.length === 0
    ? `${placeOf(spec)}: the model ${spec.model} takes no options, so ${key} means nothing to it.`
    : `${placeOf(spec)}: the model ${spec.model} has no option ${key}; it has ${list(names)}.${meant}`
}

/** Refuses an argument where the model takes none, and the lack of one that it needs. */
export const checkArgument = (spec: DeviceSpec, declared: ModelArgument | undefined): void => {
  if (declared === undefined && spec.argument !== undefined)
    throw new UsageError(
      `${placeOf(spec)}: the model ${spec.model} takes no argument, so '${spec.argument}' means nothing to it.`,
    )
  if (declared?.required === true && (spec.argument ?? '') === '')
    throw new UsageError(
      `${placeOf(spec)}: the model ${spec.model} needs ${declared.meaning}: ${spec.model}:${declared.form}.`,
    )
}
