import { DEFAULT_PLATFORM, platforms } from '../iommu/platforms.ts'
import type { DeviceModel } from './device-model.ts'
import { deviceModels } from './device-models.ts'
import { ExitStatus } from './exit-status.ts'

/** `devices`: the models that --device knows with what they take, and the platforms. */
export const devicesCommand = async (format: 'text' | 'schema'): Promise<number> => {
  if (format === 'schema') {
    const { machineSchemaText } = await import('./machine-schema.ts')
    process.stdout.write(machineSchemaText())
    return ExitStatus.OK
  }
  process.stdout.write(
    `Devices (--device MODEL[:ARGUMENT][,KEY=VALUE...]):\n\n${deviceModels.map(entry).join('\n')}\n` +
      `${line(2, './FILE.ts, ./FILE.js', 'a device of your own: a module that exports a function that makes a PciModel')}` +
      `\nPlatforms (--platform NAME):\n\n${platformLines()}`,
  )
  return ExitStatus.OK
}

const INDENT = 26

const entry = ({ name, summary, argument, options }: DeviceModel): string => {
  const form = argument && (argument.required ? `:${argument.form}` : `[:${argument.form}]`)
  const head = line(2, `${name}${form ?? ''}`, summary)
  const about = argument === undefined ? [] : [line(6, argument.form, argument.meaning)]
  const taken = Object.entries(options).map(([key, kind]) =>
    line(6, `${key}=${kind.form}`, kind.meaning),
  )
  return [head, ...about, ...taken].join('')
}

/** A term and what it means, beside it where there is room. */
const line = (indent: number, term: string, meaning: string): string => {
  const left = `${' '.repeat(indent)}${term}`
  return left.length < INDENT
    ? `${left.padEnd(INDENT)}${meaning}\n`
    : `${left}\n${' '.repeat(INDENT)}${meaning}\n`
}

const platformLines = (): string =>
  platforms
    .map(({ name, description }) =>
      line(2, name, `${description}${name === DEFAULT_PLATFORM ? ' [the usual one]' : ''}`),
    )
    .join('')
