/** What `--record` adds to an ioctl as a client sees it: `run` with and without, alternating. */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { command } from './paths.ts'
import { type Figure, median, type Report, time } from './report.ts'
import { CALLS, compile, NONE, type Round, timed } from './round-trip.ts'

const ROUNDS = 11
const TITLE = 'Recording: what --record adds to the round trip of an ioctl'

interface Rounds {
  readonly plain: Round[]
  readonly recorded: Round[]
  /** Bytes of a call in the file. */
  readonly size: number
}

const rounds = (client: string, file: string): Rounds | string => {
  const found = { plain: [] as Round[], recorded: [] as Round[] }
  const run = (options: readonly string[]): Round | string =>
    timed(process.execPath, [command, 'run', ...options, '--', client, CALLS])
  let kinds = 1
  for (let round = 0; round < ROUNDS; round++) {
    // Which one is first alternates as well.
    const order = round % 2 === 0 ? ['plain', 'recorded'] : ['recorded', 'plain']
    for (const which of order) {
      const times = run(which === 'recorded' ? ['--record', file] : [])
      if (typeof times === 'string') return `the client failed under run: ${times}`
      found[which === 'recorded' ? 'recorded' : 'plain'].push(times)
      kinds = times.size
    }
  }
  return { ...found, size: statSync(file).size / (Number(CALLS) * kinds) }
}

const figures = ({ plain, recorded, size }: Rounds): Figure[] =>
  [...(plain[0]?.keys() ?? [])].map((name) => {
    const of = (rounds: readonly Round[], what: 'wall' | 'cpu'): number[] =>
      rounds.map((round) => (round.get(name) ?? NONE)[what])
    const ours = of(recorded, 'wall')
    const without = of(plain, 'wall')
    const added = median(ours.map((value, i) => value - (without[i] ?? Number.NaN)))
    const cpu = median(of(plain, 'cpu'))
    const addedCpu = median(of(recorded, 'cpu')) - cpu
    return {
      name,
      headline: percent(added, median(without)),
      aim: '(aim: <= 10 %)',
      detail:
        `${time(added)} of ${time(median(without))}; best ${time(Math.min(...ours))} against ` +
        `${time(Math.min(...without))}; processor ${percent(addedCpu, cpu)}, ${time(addedCpu)} of ` +
        `${time(cpu)}; ${size.toFixed(0)} bytes a call`,
    }
  })

const percent = (more: number, than: number): string => `+${((more / than) * 100).toFixed(1)} %`

export const benchRecording = (): Report[] => {
  if (process.platform !== 'linux') return [{ title: TITLE, skipped: 'run needs Linux' }]
  const directory = mkdtempSync(join(tmpdir(), 'iommufd-user-bench-'))
  try {
    const client = join(directory, 'ioctl-client')
    if (!compile('ioctl-client.c', client))
      return [{ title: TITLE, skipped: 'no C compiler named cc' }]
    const found = rounds(client, join(directory, 'recording'))
    return [
      typeof found === 'string'
        ? { title: TITLE, skipped: found }
        : { title: TITLE, figures: figures(found) },
    ]
  } finally {
    rmSync(directory, { recursive: true })
  }
}
