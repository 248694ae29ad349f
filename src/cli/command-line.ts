/** The command line: every command and option there is, with its help. */

import { Command, type CommanderError, InvalidArgumentError, Option } from 'commander'
import { FilterError } from '../watch/filter-error.ts'
import { severities } from '../watch/finding.ts'
import { reportFormats } from '../watch/report.ts'
import { ExitStatus } from './exit-status.ts'
import type { ExportOptions } from './export.ts'
import type { InspectOptions } from './inspect.ts'
import type { ReplayOptions } from './replay.ts'
import type { RunOptions } from './run-options.ts'
import type { ShowOptions } from './show.ts'
import { UsageError } from './usage-error.ts'
import { version } from './version.ts'

const collect = (value: string, previous: readonly string[] = []): string[] => [...previous, value]

const positiveInteger = (value: string): number => {
  const number = Number(value)
  if (!Number.isSafeInteger(number) || number < 1)
    throw new InvalidArgumentError('It must be a whole number from 1.')
  return number
}

const port = (value: string): number => {
  const number = Number(value)
  if (!Number.isSafeInteger(number) || number < 0 || number > 65535)
    throw new InvalidArgumentError('It must be a port, from 0 (any free one) to 65535.')
  return number
}

/** These take their value only behind `=` (run-options.ts); commander's own notation cannot say so. */
const terms: Readonly<Record<string, string>> = {
  '--trace': '--trace[=file]',
  '--inspect': '--inspect[=port]',
  '--doctor': '--doctor[=strict]',
}
const optionTerm = (option: Option): string => terms[option.long ?? ''] ?? option.flags

export const createCommand = (): Command => {
  const program = new Command('iommufd-user')
    .description(
      "Linux's iommufd (/dev/iommu), its VFIO container compatibility and VFIO devices, in user space. " +
        'An unmodified program runs against them: no root, no module, no IOMMU.',
    )
    .version(version(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help for a command')
    .enablePositionalOptions()
    .showHelpAfterError('Try iommufd-user --help.')
    .configureHelp({ optionTerm })
  failWith(program, ExitStatus.USAGE)
  addRun(program)
  addShow(program)
  addInspect(program)
  addReplay(program)
  addExport(program)
  addCheck(program)
  addDevices(program)
  addDemo(program)
  addErrors(program)
  return program
}

const addRun = (program: Command): void => {
  const run = program
    .command('run')
    .summary('run a program against the simulated iommufd')
    .description(
      'Runs PROGRAM. When it, or anything that it starts, opens /dev/iommu or /dev/vfio, it gets the ' +
        'simulated one; everything else is as it is without.\n\n' +
        'The exit status is that of PROGRAM; 125 if it could not be run under simulation, 126 if it is ' +
        'not executable, 127 if there is no such program.',
    )
    .usage('[options] [--] PROGRAM [ARGUMENTS...]')
    .argument('<program>', 'the program to run')
    .argument('[arguments...]', 'its arguments')
    .option(
      '--device <spec>',
      'add a simulated device, MODEL[:ARGUMENT][,KEY=VALUE...]; may be repeated',
      collect,
    )
    .option(
      '--machine <file>',
      'a machine described in a file of JSON (docs/machine.schema.json); options beside it count more, ' +
        'devices are added',
    )
    .option(
      '--platform <name>',
      'whose IOMMU PCI devices stand behind; iommufd-user devices lists them',
    )
    .addOption(
      new Option(
        '--container <kind>',
        'what /dev/vfio/vfio is: an iommufd in the place of a container, as CONFIG_IOMMUFD_VFIO_CONTAINER ' +
          "makes it, or VFIO's own container with type1, as distributions ship it",
      )
        .choices(['iommufd', 'type1'])
        .default('iommufd'),
    )
    .addOption(
      new Option(
        '--compat-ioas <policy>',
        'whether IOMMU_VFIO_IOAS SET may put the devices of one container on different IOASes: ' +
          'as Linux permits, or strictly not (EBUSY)',
      )
        .choices(['linux', 'strict'])
        .default('linux'),
    )
    .option(
      '--trace <file>',
      'print each call, decoded, with its result and the reason for an errno, to standard error ' +
        '(--trace) or to a file (--trace=FILE)',
    )
    .option(
      '--record <file>',
      'record everything that happens in a file, which show, replay and export read',
    )
    .option(
      '--inspect <port>',
      'serve a page that follows the run, to a browser on this machine; its address is printed',
      port,
    )
    .option('--open', 'open that page in a browser; implies --inspect')
    .option(
      '-e, --filter <filter>',
      'trace only these calls: names or numbers, separated by commas; ! excludes; ' +
        'status=failed; may be repeated',
      collect,
    )
    .option(
      '--no-test-interface',
      "take away the mock hardware of Linux's own tests (IOMMU_TEST_CMD), as distributions' kernels do",
    )
    .option(
      '--fail-nth <n>',
      'let the nth step of the run that can fail for want of memory fail (fault injection)',
      positiveInteger,
    )
    .addOption(
      new Option(
        '--findings <when>',
        'when to print what was found out about the program, to standard error',
      )
        .choices(['at-end', 'at-once', 'never'])
        .default('at-end'),
    )
    .addOption(
      new Option(
        '--doctor <mode>',
        'explain each call that fails, and report mistakes and fragile habits of the program, when it has ' +
          `ended; --doctor=strict exits with ${ExitStatus.NEGATIVE} if there is a finding and the program itself succeeded`,
      ).choices(['report', 'strict']),
    )
    .addOption(
      new Option(
        '--doctor-format <format>',
        'how to write the report; sarif is for code scanning, junit for test reports of CI systems',
      ).choices(reportFormats),
    )
    .option('--doctor-output <file>', 'write the report to a file instead of standard error')
    .addOption(
      new Option('--doctor-fail-on <severity>', 'how bad a finding must be to fail a strict run')
        .choices(severities)
        .default('warning'),
    )
    .passThroughOptions()
    .action(async (name: string, args: readonly string[], options: Omit<RunOptions, 'typed'>) => {
      const { runCommand } = await import('./run.ts')
      const typed = Object.keys(options).filter((key) => run.getOptionValueSource(key) === 'cli')
      process.exitCode = await runCommand([name, ...args], { ...options, typed: new Set(typed) })
    })
  failWith(run, ExitStatus.RUN_FAILED)
}

const addShow = (program: Command): void => {
  const show = program
    .command('show')
    .summary('print a recording')
    .description(
      'Prints the calls of FILE, which run --record made (- for standard input), as run --trace prints ' +
        'them. Options of one kind add up (any may hold); those of different kinds narrow down (each must hold).',
    )
    .argument('<file>', 'the recording')
    .option(
      '-e, --filter <filter>',
      'only these calls: names or numbers of requests, separated by commas; ! excludes; status=failed',
      collect,
    )
    .option('--call <numbers>', 'only these calls of the run: 17, or 10-20', collect)
    .option('--pid <pid>', 'only calls of this process or thread', collect)
    .option('--errno <errno>', 'only calls that failed so: EINVAL, 22', collect)
    .option('--context <number>', 'only calls on this open iommufd, counted from 1', collect)
    .option('--object <id>', 'only calls that name this object, or change it', collect)
    .option(
      '--iova <range>',
      'only calls that touch this range: 0x1000, 0x1000-0x1fff or 0x1000+0x1000',
      collect,
    )
    .option('--events', 'number calls, and print what happened in each of them')
    .option('--doctor', 'explain what failed, and print findings where they are made')
    .addOption(
      new Option('--format <format>', 'how to print: text, or one line of JSON for each event')
        .choices(['text', 'json'])
        .default('text'),
    )
    .action(async (file: string, options: ShowOptions) => {
      const { showCommand } = await import('./show.ts')
      process.exitCode = await orUsage(() => showCommand(file, options))
    })
  failWith(show, ExitStatus.USAGE)
}

const addInspect = (program: Command): void => {
  const inspect = program
    .command('inspect')
    .summary('look at a recording in a browser')
    .description(
      'Serves the inspector with FILE, which run --record made, to a browser on this machine, until Ctrl-C.',
    )
    .argument('<file>', 'the recording')
    .option('--port <port>', 'where to serve it; 0 is any free port', port, 0)
    .option('--open', 'open it in a browser', false)
    .action(async (file: string, options: InspectOptions) => {
      const { inspectCommand } = await import('./inspect.ts')
      process.exitCode = await inspectCommand(file, options)
    })
  failWith(inspect, ExitStatus.USAGE)
}

const addReplay = (program: Command): void => {
  const replay = program
    .command('replay')
    .summary('run the calls of a recording again, and tell what differs')
    .description(
      'Runs the calls of FILE, which run --record made (- for standard input), against the machine again, ' +
        'with what they read of the program then, and compares every result, structure and reason. Exits ' +
        'with 1 if anything differs. The machine is that of the recording, but for what is said here.',
    )
    .argument('<file>', 'the recording')
    .option('--platform <name>', 'as for run')
    .addOption(new Option('--container <kind>', 'as for run').choices(['iommufd', 'type1']))
    .addOption(new Option('--compat-ioas <policy>', 'as for run').choices(['linux', 'strict']))
    .addOption(
      new Option('--most <n>', 'print no more differences than this')
        .argParser(positiveInteger)
        .default(20),
    )
    .action(async (file: string, options: ReplayOptions) => {
      const { replayCommand } = await import('./replay.ts')
      process.exitCode = await orUsage(() => replayCommand(file, options))
    })
  failWith(replay, ExitStatus.USAGE)
}

const addExport = (program: Command): void => {
  const exports = program
    .command('export')
    .summary('make a time line of a recording, for ui.perfetto.dev and others')
    .description(
      'Writes FILE, which run --record made (- for standard input), in a format that viewers of time lines ' +
        'open: a track for each process, thread, object and device; calls with their arguments; arrows from ' +
        'each mapping to its DMA and its end; findings.',
    )
    .argument('<file>', 'the recording')
    .option('--perfetto', "Perfetto's own format (the default)")
    .option('--chrome', "Chrome's trace events in JSON")
    .option(
      '-o, --output <file>',
      'where to write it; - for standard output (default: beside FILE)',
    )
    .action(async (file: string, options: ExportOptions) => {
      const { exportCommand } = await import('./export.ts')
      process.exitCode = await orUsage(() => exportCommand(file, options))
    })
  failWith(exports, ExitStatus.USAGE)
}

const addCheck = (program: Command): void => {
  const check = program
    .command('check')
    .summary('say whether this machine can do it')
    .description(
      'Looks at everything that run needs of this machine, says what is missing and what to do about ' +
        'it. Exits with 0 if programs can be run, else with 1.',
    )
    .addOption(
      new Option('--format <format>', 'how to print it').choices(['text', 'json']).default('text'),
    )
    .action(async ({ format }: { format: 'text' | 'json' }) => {
      const { checkCommand } = await import('./check.ts')
      process.exitCode = await checkCommand(format)
    })
  failWith(check, ExitStatus.USAGE)
}

const addDevices = (program: Command): void => {
  const devices = program
    .command('devices')
    .summary('list the models that --device knows')
    .addOption(
      new Option('--format <format>', 'text, or the JSON schema of machine files')
        .choices(['text', 'schema'])
        .default('text'),
    )
    .action(async ({ format }: { format: 'text' | 'schema' }) => {
      const { devicesCommand } = await import('./devices.ts')
      process.exitCode = await devicesCommand(format)
    })
  failWith(devices, ExitStatus.USAGE)
}

const addDemo = (program: Command): void => {
  const demo = program
    .command('demo')
    .summary('watch an unmodified program meet the founding question')
    .description(
      'Runs a small VFIO program, unmodified, whose one container ends up on two address spaces, shows ' +
        'what it prints and what is diagnosed, and runs it again under the strict policy.',
    )
    .action(async () => {
      const { demoCommand } = await import('./demo.ts')
      process.exitCode = demoCommand()
    })
  failWith(demo, ExitStatus.USAGE)
}

const addErrors = (program: Command): void => {
  const errors = program
    .command('errors')
    .alias('explain')
    .summary('explain why a call can fail, or what a finding means')
    .description(
      'Prints the rule behind each CODE, as --trace and the library name them, or what a finding of the ' +
        'doctor means; for an errno (EEXIST), all reasons for it; without a CODE, all reasons there are.',
    )
    .option('--findings', 'findings of the doctor instead of reasons')
    .usage('[options] [CODE...]')
    .argument('[codes...]', 'codes of reasons, or names of errno values')
    .addOption(
      new Option('--format <format>', 'how to print it')
        .choices(['text', 'markdown', 'json'])
        .default('text'),
    )
    .action(
      async (
        codes: readonly string[],
        options: { format: 'text' | 'markdown' | 'json'; findings?: boolean },
      ) => {
        const { errorsCommand } = await import('./errors.ts')
        process.exitCode = errorsCommand(codes, options)
      },
    )
  failWith(errors, ExitStatus.USAGE)
}

/** What cannot be done as asked is told in a sentence. */
const orUsage = async (act: () => number | Promise<number>): Promise<number> => {
  try {
    return await act()
  } catch (error) {
    if (!(error instanceof UsageError || error instanceof FilterError)) throw error
    process.stderr.write(`iommufd-user: ${error.message}\n`)
    return ExitStatus.USAGE
  }
}

/** A wrong command line ends with this status; help and version with 0. */
const failWith = (command: Command, status: number): void => {
  command.exitOverride((error: CommanderError) => process.exit(error.exitCode === 0 ? 0 : status))
}
