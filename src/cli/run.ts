import { closeSync, openSync } from 'node:fs'
import { relative, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { endLike, type RunEnd, startRun } from '../host/run.ts'
import { FilterError } from '../watch/filter-error.ts'
import { traceFilter } from '../watch/trace-filter.ts'
import { parseDeviceSpec, withPaths } from './device-spec.ts'
import { ExitStatus } from './exit-status.ts'
import type { MachineFile } from './machine-file.ts'
import type { DoctorConfig, RunConfig } from './run-config.ts'
import { type RunOptions, STANDARD_ERROR } from './run-options.ts'
import { SUPERVISOR } from './supervisor.ts'
import { UsageError } from './usage-error.ts'

/** `run PROGRAM ARGUMENTS`: returns the exit status, unless this process dies as the program did. */
export const runCommand = async (
  command: readonly string[],
  options: RunOptions,
): Promise<number> => {
  let config: RunConfig
  try {
    config = await runConfig(options, command)
    if (options.inspect !== undefined || options.open) config = await inspected(config, options)
  } catch (error) {
    if (!(error instanceof UsageError || error instanceof FilterError)) throw error
    process.stderr.write(`iommufd-user: ${error.message}\n`)
    return ExitStatus.RUN_FAILED
  }
  const end = await runProgram(command, config)
  if (end.type === 'failed') {
    process.stderr.write(`iommufd-user: ${end.message}\n`)
    if (end.status === ExitStatus.RUN_FAILED) await explain()
  }
  await endLike(end)
  return Number(process.exitCode)
}

/** Records the run where it is not recorded anyhow, and lets the inspector follow. */
const inspected = async (
  config: RunConfig,
  { inspect = 0, open = false }: RunOptions,
): Promise<RunConfig> => {
  const { startInspector, temporaryRecording } = await import('./inspector.ts')
  const record = config.record ?? temporaryRecording()
  await startInspector(record, { port: inspect, open, temporary: config.record === null })
  return { ...config, record, inspected: true }
}

/** The machine may be why. */
const explain = async (): Promise<void> => {
  const { whatIsMissing } = await import('./check.ts')
  process.stderr.write(await whatIsMissing())
}

/** Runs a program to its end on the machine that the configuration describes. */
export const runProgram = (command: readonly string[], config: RunConfig): Promise<RunEnd> =>
  startRun({
    command,
    supervisor: SUPERVISOR,
    config,
    keepStderr:
      config.trace === STANDARD_ERROR
        ? 'to-the-end'
        : config.findings !== 'never' || config.doctor?.output === STANDARD_ERROR
          ? 'until-program-ends'
          : 'not',
  })

/** Checks the options, here where their mistakes can be told. Throws UsageError and FilterError. */
const runConfig = async (options: RunOptions, command: readonly string[]): Promise<RunConfig> => {
  const filters = options.filter ?? []
  traceFilter(filters)
  const file = options.machine === undefined ? undefined : await machineFile(options.machine)
  const devices = (options.device ?? [])
    .map(parseDeviceSpec)
    .map((spec) => withPaths(spec, process.cwd()))
  const { typed } = options
  const { platform, container, 'compat-ioas': compatIoas, ...others } = file?.options ?? {}
  // A filter without a trace asks for one.
  const trace = options.trace ?? (filters.length > 0 ? STANDARD_ERROR : null)
  if (trace !== null && trace !== STANDARD_ERROR) expectWritable('trace', trace)
  const record = options.record ?? null
  if (record !== null) expectWritable('recording', record)
  return {
    devices: [...(file?.devices ?? []), ...devices],
    container: typed.has('container') ? options.container : (container ?? options.container),
    compatIoas: typed.has('compatIoas') ? options.compatIoas : (compatIoas ?? options.compatIoas),
    testInterface: typed.has('testInterface')
      ? options.testInterface
      : (others['test-interface'] ?? options.testInterface),
    platform: options.platform ?? platform ?? null,
    trace,
    filters,
    record,
    inspected: false,
    command,
    failNth: options.failNth ?? null,
    findings: options.findings,
    doctor: doctorConfig(options, command[0] ?? ''),
  }
}

/** Its declarations are those of all devices, which nobody else needs here. */
const machineFile = async (file: string): Promise<MachineFile> => {
  const { readMachineFile } = await import('./machine-file.ts')
  return readMachineFile(file)
}

/** Whoever says how the report is to be written wants one. */
const doctorConfig = (options: RunOptions, program: string): DoctorConfig | null => {
  const { doctor, doctorFormat, doctorOutput, doctorFailOn } = options
  if (doctor === undefined && doctorFormat === undefined && doctorOutput === undefined) return null
  const output = doctorOutput ?? STANDARD_ERROR
  if (output !== STANDARD_ERROR) expectWritable('report', output)
  return {
    strict: doctor === 'strict',
    failOn: doctorFailOn,
    format: doctorFormat ?? 'text',
    output: output === STANDARD_ERROR ? output : resolve(output),
    artifact: artifactUri(program, process.cwd()),
  }
}

/** Relative where it can be: so reports name files of a repository. */
const artifactUri = (program: string, directory: string): string => {
  if (!program.includes('/')) return encodeURI(program)
  const path = resolve(directory, program)
  const inside = relative(directory, path)
  return inside.startsWith('..') ? pathToFileURL(path).href : encodeURI(inside)
}

const expectWritable = (what: string, file: string): void => {
  try {
    closeSync(openSync(file, 'a'))
  } catch (error) {
    throw new UsageError(
      `The ${what} cannot be written: ${error instanceof Error ? error.message : String(error)}.`,
    )
  }
}
