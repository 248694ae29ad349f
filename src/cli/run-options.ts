import type { Command } from 'commander'
import type { Severity } from '../watch/finding.ts'
import type { ReportFormat } from '../watch/report.ts'

/** The options of `run`, as the command line gives them. */
export interface RunOptions {
  /** Specifications of simulated devices, in order. */
  readonly device?: readonly string[]
  readonly container: 'iommufd' | 'type1'
  readonly compatIoas: 'linux' | 'strict'
  /** False takes IOMMU_TEST_CMD away, as distributions' kernels do. */
  readonly testInterface: boolean
  /** Whose IOMMU PCI devices stand behind; undefined for the usual one. */
  readonly platform?: string
  /** Where trace lines go: a file, `-` for standard error; undefined for none. */
  readonly trace?: string
  /** Where the recording goes: a file; undefined for none. */
  readonly record?: string
  /** The port of the inspector, 0 for a free one; undefined for no inspector. */
  readonly inspect?: number
  /** Open the inspector in a browser. */
  readonly open?: boolean
  /** `-e` filters; they imply a trace. */
  readonly filter?: readonly string[]
  /** The step that fails, from 1, counted over the whole run. */
  readonly failNth?: number
  readonly findings: 'at-end' | 'at-once' | 'never'
  /** A file that describes the machine; what is typed beside it counts more. */
  readonly machine?: string
  /** Which of the options were typed, and are not what holds without them. */
  readonly typed: ReadonlySet<string>
  /** Explain failed calls and report findings; `strict`: and fail if there are any that are bad enough. */
  readonly doctor?: 'report' | 'strict'
  readonly doctorFormat?: ReportFormat
  /** Where the report goes: a file, `-` or undefined for standard error. */
  readonly doctorOutput?: string
  /** How bad a finding must be to make a strict run fail. */
  readonly doctorFailOn: Severity
}

/** What stands for standard error where a file can be named. */
export const STANDARD_ERROR = '-'

/**
 * These may stand alone or have a value behind `=`, never behind a blank: what follows them there is the
 * program. Commander knows no such option, so a bare one is given its default before parsing.
 */
const ALONE: Readonly<Record<string, string>> = {
  '--trace': STANDARD_ERROR,
  '--inspect': '0',
  '--doctor': 'report',
}

export const normalise = (program: Command, args: readonly string[]): string[] => {
  const run = program.commands.find((command) => command.name() === 'run')
  const at = args.findIndex((arg) => !arg.startsWith('-'))
  if (run === undefined || args[at] !== 'run') return [...args]
  const takesValue = new Set(
    run.options.filter((option) => option.required).flatMap(({ long, short }) => [long, short]),
  )
  const normal = args.slice(0, at + 1)
  let i = at + 1
  for (; i < args.length; i++) {
    const arg = args[i] ?? ''
    if (arg === '--' || !arg.startsWith('-')) break
    const alone = ALONE[arg]
    normal.push(alone === undefined ? arg : `${arg}=${alone}`)
    if (alone === undefined && takesValue.has(arg) && i + 1 < args.length)
      normal.push(args[++i] ?? '')
  }
  // The program's own arguments are not ours to read, whether or not it was set off by `--`.
  if (i < args.length && args[i] !== '--') normal.push('--')
  return [...normal, ...args.slice(i)]
}
