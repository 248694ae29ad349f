/** Devices of users' own: modules that `--device ./my-device.ts` names. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import type * as Esbuild from 'esbuild'
import type { DeviceModule } from '../devices/device-module.ts'
import { builtFile } from '../host/built-file.ts'
import { type DeviceModel, type DevicePlaces, pciModel, pciOptions } from './device-model.ts'
import { type DeviceSpec, placeOf } from './device-spec.ts'
import { type OptionKind, type OptionValue, text } from './option-kind.ts'
import { UsageError } from './usage-error.ts'

/** The model that a module exports; it is loaded when a device is added. */
export const moduleModel = (path: string): DeviceModel => ({
  name: path,
  summary: 'a device of your own',
  argument: { form: 'ARGUMENT', meaning: 'what the module makes of it', required: false },
  options: pciOptions,
  add: async (places, spec) => {
    const module = await load(path, spec)
    watchLooseEnds(places, path)
    const own = Object.keys(spec.options).filter((key) => !Object.hasOwn(pciOptions, key))
    const declared = module.options ?? Object.fromEntries(own.map((key) => [key, '']))
    await pciModel({
      name: basename(path),
      summary: '',
      argument: { form: 'ARGUMENT', meaning: '', required: false },
      options: optionsOf(declared),
      guarded: true,
      create: (values, argument) => module.default({ argument, options: present(values) }),
    }).add(places, spec)
  },
})

const anything = (meaning: string): OptionKind<OptionValue> => ({
  ...text(meaning, 'VALUE'),
  read: (given) => given,
})

const optionsOf = (
  declared: Readonly<Record<string, string>>,
): Record<string, OptionKind<OptionValue>> =>
  Object.fromEntries(
    Object.entries(declared).map(([name, meaning]) => [name, anything(String(meaning))]),
  )

const present = (
  values: Readonly<Record<string, OptionValue | undefined>>,
): Record<string, OptionValue> =>
  Object.fromEntries(
    Object.entries(values).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  )

const load = async (path: string, spec: DeviceSpec): Promise<DeviceModule> => {
  if (!existsSync(path)) throw new UsageError(`${placeOf(spec)}: there is no file ${path}.`)
  if (!/\.[cm]?[jt]s$/.test(path))
    throw new UsageError(`${placeOf(spec)}: ${path} is no module of JavaScript or TypeScript.`)
  let module: Readonly<Record<string, unknown>>
  try {
    module = /\.[cm]?ts$/.test(path) ? await importTypeScript(path) : await importFile(path)
  } catch (error) {
    if (error instanceof UsageError) throw error
    throw new UsageError(`${placeOf(spec)}: ${path} cannot be loaded: ${told(error)}`)
  }
  if (typeof module['default'] !== 'function')
    throw new UsageError(
      `${placeOf(spec)}: ${path} has no function as its default export; it must export one that returns a PciModel.`,
    )
  // A function is what a default export can be checked for; what it returns is checked when it is added.
  return module as unknown as DeviceModule
}

const told = (error: unknown): string =>
  error instanceof Error ? `${error.name}: ${error.message}` : String(error)

const importFile = (path: string): Promise<Readonly<Record<string, unknown>>> => {
  const program = builtFile('cli/import-main.cjs')
  const loaded: typeof import('./import-main.ts') = createRequire(program)(program)
  return loaded.importFile(path)
}

/**
 * Node removes types by itself from 22.18 on. Before that, esbuild does it where there is one: a
 * dependency of our own for Nodes that are about to go would be with everybody for ever.
 */
const importTypeScript = async (path: string): Promise<Readonly<Record<string, unknown>>> => {
  const builtIn: unknown = Reflect.get(process.features, 'typescript')
  if (typeof builtIn === 'string') return importFile(path)
  const esbuild = await findEsbuild(path)
  if (esbuild === undefined)
    throw new UsageError(
      `${path} is TypeScript, which Node ${process.versions.node} cannot run by itself. Use Node 22.18 or newer, ` +
        `or install esbuild beside it (npm install esbuild), or give the JavaScript made from it.`,
    )
  const { outputFiles } = await esbuild.build({
    entryPoints: [path],
    bundle: true,
    write: false,
    platform: 'node',
    format: 'esm',
    target: `node${process.versions.node}`,
    sourcemap: 'inline',
    logLevel: 'silent',
    alias: { 'iommufd-user': builtFile('index.js') },
  })
  // What the model throws names the lines of the source.
  process.setSourceMapsEnabled(true)
  const directory = mkdtempSync(join(tmpdir(), 'iommufd-user-device-'))
  try {
    const file = join(directory, `${basename(path)}.mjs`)
    writeFileSync(file, outputFiles[0]?.contents ?? '')
    return await importFile(file)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

const findEsbuild = async (path: string): Promise<typeof Esbuild | undefined> => {
  for (const from of [path, builtFile('index.js')])
    try {
      const module = await importFile(createRequire(from).resolve('esbuild'))
      // esbuild is CommonJS: its exports are those of the module, or of its default.
      return (module['default'] ?? module) as typeof Esbuild
    } catch {
      // Not there.
    }
  return undefined
}

let watched = false

/** Promises of a model that nobody waits for must not end the run. */
const watchLooseEnds = ({ vfio }: DevicePlaces, path: string): void => {
  if (watched) return
  watched = true
  const report = (error: unknown): void => {
    const { machine } = vfio
    machine.observer?.event({
      type: 'device-failed',
      call: machine.currentCall,
      device: 'a device of your own',
      model: path,
      where: 'something that it had begun',
      message: error instanceof Error ? (error.stack ?? error.message) : String(error),
    })
  }
  process.on('unhandledRejection', report)
  process.on('uncaughtException', report)
}
