/** `demo` (npm start): the founding question, played by an unmodified program, with our diagnosis. */
import { spawnSync } from 'node:child_process'
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { packageRoot } from '../host/built-file.ts'
import { INHERITED_VARIABLE } from '../host/inherited.ts'
import { playInLibrary } from './demo-in-library.ts'
import { ExitStatus } from './exit-status.ts'
import { heading, paragraph } from './page.ts'

/** Two devices, each alone in a group. */
const devices = ['scratch,name=scratch0,group=7', 'scratch,name=scratch1,group=8']
const programArguments = ['7', 'scratch0', '8', 'scratch1']

/** The bundled client, ready to run. */
interface Client {
  readonly command: readonly string[]
  /** How it was made, for the reader. */
  readonly made: string
}

export const demoCommand = (): number => {
  const scratch = mkdtempSync(join(tmpdir(), 'iommufd-user-'))
  try {
    const client = unmodifiedClient(scratch)
    if (client !== undefined) return playClient(client)
    paragraph(
      'There is neither a C compiler (cc) nor python3 here, so there is no program to run. The same calls through the library:',
    )
    return playWithoutProgram()
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

const playClient = ({ command, made }: Client): number => {
  heading('An unmodified program, as Linux answers it')
  paragraph(
    `${made} It uses VFIO as every VFIO program does, and knows nothing of what serves its calls. Two emulated devices are there; no IOMMU, no root, no kernel module is.`,
  )
  const linux = run([...deviceOptions, '--', ...command])
  if (linux === ExitStatus.RUN_FAILED) {
    paragraph('This machine cannot run it, as said above. The same calls through the library:')
    return playWithoutProgram()
  }
  heading('The same program under the strict policy')
  paragraph(
    "VFIO's original meaning was one container, one address space. The strict policy refuses the call that would break it.",
  )
  const strict = run(['--compat-ioas=strict', ...deviceOptions, '--', ...command])
  process.stdout.write('\n')
  paragraph(
    'Try it on a program of yours: iommufd-user run -- PROGRAM, and with --trace to see each call and why it failed.',
  )
  return linux === 0 && strict === 0 ? ExitStatus.OK : ExitStatus.NEGATIVE
}

const playWithoutProgram = (): number => {
  for (const policy of ['linux', 'strict'] as const) {
    heading(policy === 'linux' ? 'As Linux answers it' : 'The same under the strict policy')
    playInLibrary(policy)
  }
  return ExitStatus.OK
}

const deviceOptions = devices.flatMap((device) => ['--device', device])

/** The command itself, as a reader would type it. Its findings and the program's lines go one way. */
const run = (args: readonly string[]): number | null => {
  process.stdout.write(`  $ iommufd-user run ${args.join(' ')}\n\n`)
  const command = join(packageRoot(), 'bin', 'iommufd-user')
  const { [INHERITED_VARIABLE]: _, ...env } = process.env
  const { status } = spawnSync(process.execPath, [command, 'run', '--findings=at-once', ...args], {
    stdio: ['inherit', 1, 1],
    env,
  })
  return status
}

/** The C program where there is a compiler, else the same in Python. */
const unmodifiedClient = (scratch: string): Client | undefined => {
  const source = join(packageRoot(), 'examples', 'founding-question.c')
  const binary = join(scratch, 'founding-question')
  if (isInPath('cc') && spawnSync('cc', ['-o', binary, source]).status === 0)
    return {
      command: [binary, ...programArguments],
      made: 'examples/founding-question.c was compiled with cc, as it is.',
    }
  const script = join(packageRoot(), 'examples', 'founding-question.py')
  if (isInPath('python3') && spawnSync('python3', ['-c', '']).status === 0)
    return {
      command: ['python3', script, ...programArguments],
      made: 'examples/founding-question.py runs with python3, as it is.',
    }
  return undefined
}

const isInPath = (program: string): boolean =>
  (process.env['PATH'] ?? '').split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
