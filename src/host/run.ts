/** Running a program under the supervisor, from the process that the user started. */
import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import type { Duplex } from 'node:stream'
import { exitNow } from './exit-now.ts'
import type { KeepStderr, Report, SupervisorOrder } from './run-protocol.ts'
import { supervisorProcess } from './supervisor-process.ts'

export interface RunRequest {
  /** The program, looked up in PATH if it has no slash, and its arguments. */
  readonly command: readonly string[]
  /** Built program that makes the hosted system and calls `supervise`: `cli/supervisor-main.cjs`. */
  readonly supervisor: string
  /** Handed to it; anything that JSON can carry. */
  readonly config: unknown
  /** How long the supervisor keeps standard error open, to write traces or findings there. */
  readonly keepStderr?: KeepStderr
}

/** How a run ended. */
export type RunEnd =
  | { readonly type: 'exited'; readonly status: number }
  | { readonly type: 'killed'; readonly signal: NodeJS.Signals }
  /** The program was not run, or not to its end; `message` is a sentence for people. */
  | { readonly type: 'failed'; readonly status: 125 | 126 | 127; readonly message: string }

/** Signals that a terminal sends to its whole foreground group, the program included. */
const FROM_TERMINAL: ReadonlySet<NodeJS.Signals> = new Set([
  'SIGINT',
  'SIGQUIT',
  'SIGWINCH',
  'SIGCONT',
  'SIGHUP',
])
/** Signals that are passed on to the program. */
const FORWARDED: readonly NodeJS.Signals[] = [
  ...FROM_TERMINAL,
  'SIGTERM',
  'SIGUSR1',
  'SIGUSR2',
  'SIGALRM',
  'SIGVTALRM',
  'SIGIO',
  'SIGPWR',
  'SIGURG',
  'SIGXCPU',
  'SIGXFSZ',
  'SIGPIPE',
]

/** Runs a program to its end. Signals that this process gets meanwhile go to the program. */
export const startRun = (request: RunRequest): Promise<RunEnd> => {
  const { child, channel, inherited } = supervisorProcess(request.supervisor)
  const order: SupervisorOrder = {
    front: process.pid,
    command: request.command,
    config: request.config,
    processGroup: processGroup(),
    inherited,
    keepStderr: request.keepStderr ?? 'not',
  }
  channel.ref()
  channel.write(`${JSON.stringify(order)}\n`)
  forwardSignals(channel)
  return new Promise((resolve) => {
    const end = (how: RunEnd): void => {
      channel.destroy()
      child.unref()
      resolve(how)
    }
    readReports(channel, (report) => {
      if (report.type === 'stopped') process.kill(process.pid, 'SIGSTOP')
      else if (report.type === 'message') process.stderr.write(`iommufd-user: ${report.message}\n`)
      else end(runEnd(report))
    })
    channel.on('close', () =>
      end({
        type: 'failed',
        status: 125,
        message:
          'The supervisor has ended unexpectedly; from now on, calls on the simulated files fail with ENOSYS.',
      }),
    )
    child.on('error', (error) =>
      end({
        type: 'failed',
        status: 125,
        message: `The supervisor could not be started: ${error.message}.`,
      }),
    )
  })
}

const runEnd = (report: Exclude<Report, { type: 'stopped' | 'message' }>): RunEnd => {
  if (report.type !== 'killed') return report as RunEnd
  return { type: 'killed', signal: signalName(report.signal) }
}

const signalName = (number: number): NodeJS.Signals => {
  for (const [name, value] of Object.entries(constants.signals))
    if (value === number) return name as NodeJS.Signals
  return 'SIGKILL'
}

/** Ends this process as the program ended: with its status, or by the signal that killed it. */
export const endLike = async (end: RunEnd): Promise<void> => {
  if (end.type !== 'killed') {
    await exitNow(end.status)
    // Now rather than when nothing is left to do: Node takes its time to clean up.
    process.exit(end.status)
  }
  process.removeAllListeners(end.signal)
  process.kill(process.pid, end.signal)
  // A signal that Node ignores or keeps for itself: the shell's notation of the same.
  process.exitCode = 128 + (constants.signals[end.signal] ?? 0)
}

const readReports = (channel: Duplex, report: (report: Report) => void): void => {
  let text = ''
  channel.setEncoding('utf8')
  channel.on('data', (chunk: string) => {
    text += chunk
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
      report(JSON.parse(text.slice(0, end)))
      text = text.slice(end + 1)
    }
  })
}

const forwardSignals = (channel: Duplex): void => {
  for (const signal of FORWARDED)
    process.on(signal, () => {
      if (FROM_TERMINAL.has(signal) && inForeground()) return
      channel.write(Uint8Array.of(constants.signals[signal]))
    })
}

/** Fields of /proc/self/stat behind the command name: state, ppid, pgrp, session, tty_nr, tpgid. */
const statFields = (): readonly string[] => {
  const stat = readFileSync('/proc/self/stat', 'latin1')
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
}

const processGroup = (): number => Number(statFields()[2])

/** Our process group, which is also the program's, is the one that the terminal sends signals to. */
const inForeground = (): boolean => {
  const fields = statFields()
  return fields[2] === fields[5]
}
