/**
 * One ioctl as a client sees it, under `run` and under the least supervisor that C can be, alternating
 * so that whatever else the machine does falls on both.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { benchSource, command } from './paths.ts'
import { type Figure, median, type Report, ratio, time } from './report.ts'

const ROUNDS = 7
export const CALLS = '20000'
const TITLE = 'Round trip of an ioctl: run against the least supervisor in C'

interface Times {
  /** Nanoseconds until the answer. */
  readonly wall: number
  /** Nanoseconds of a processor, client and supervisor together. */
  readonly cpu: number
}

/** By kind of call. */
export type Round = ReadonlyMap<string, Times>

export const compile = (source: string, to: string): boolean =>
  spawnSync('cc', ['-O2', '-o', to, benchSource(source)], { stdio: 'inherit' }).status === 0

export const timed = (program: string, args: readonly string[]): Round | string => {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8' })
  if (status !== 0) return `${error?.message ?? stderr.trim()} (exit status ${status})`
  const rows = stdout
    .trim()
    .split('\n')
    .map((line) => line.split(' '))
  const failing = rows.find(([, , failed]) => failed !== '0')
  if (failing !== undefined) return `${failing[2]} of ${CALLS} ${failing[0]} calls failed`
  return new Map(
    rows.map(([name = '', wall, , cpu]) => [name, { wall: Number(wall), cpu: Number(cpu) }]),
  )
}

interface Rounds {
  readonly floor: Round[]
  readonly run: Round[]
}

const rounds = (floor: string, client: string): Rounds | string => {
  const found: Rounds = { floor: [], run: [] }
  for (let round = 0; round < ROUNDS; round++) {
    const least = timed(floor, [client, CALLS])
    if (typeof least === 'string') return `the least supervisor failed: ${least}`
    const ours = timed(command, ['run', '--', client, CALLS])
    if (typeof ours === 'string') return `the client failed under run: ${ours}`
    found.floor.push(least)
    found.run.push(ours)
  }
  return found
}

export const NONE: Times = { wall: Number.NaN, cpu: Number.NaN }

const figures = ({ floor, run }: Rounds): Figure[] => {
  const of = (rounds: readonly Round[], name: string, what: keyof Times): number[] =>
    rounds.map((round) => (round.get(name) ?? NONE)[what])
  return [...(floor[0]?.keys() ?? [])].map((name) => {
    const ours = of(run, name, 'wall')
    const least = of(floor, name, 'wall')
    const ourCpu = median(of(run, name, 'cpu'))
    const leastCpu = median(of(floor, name, 'cpu'))
    return {
      name,
      headline: ratio(median(ours.map((value, i) => value / (least[i] ?? Number.NaN)))),
      aim: '(aim: <= 1.30x)',
      detail:
        `run ${time(median(ours))}, floor ${time(median(least))}; ` +
        `best ${time(Math.min(...ours))} and ${time(Math.min(...least))}; ` +
        `processor ${time(ourCpu)} and ${time(leastCpu)}, ${ratio(ourCpu / leastCpu)}`,
    }
  })
}

const measured = (directory: string): Report => {
  const floor = join(directory, 'least-supervisor')
  const client = join(directory, 'ioctl-client')
  if (!compile('least-supervisor.c', floor) || !compile('ioctl-client.c', client))
    return { title: TITLE, skipped: 'no C compiler named cc' }
  const found = rounds(floor, client)
  return typeof found === 'string'
    ? { title: TITLE, skipped: found }
    : { title: TITLE, figures: figures(found) }
}

export const benchRoundTrip = (): Report[] => {
  if (process.platform !== 'linux') return [{ title: TITLE, skipped: 'run needs Linux' }]
  const directory = mkdtempSync(join(tmpdir(), 'iommufd-user-bench-'))
  try {
    return [measured(directory)]
  } finally {
    rmSync(directory, { recursive: true })
  }
}
