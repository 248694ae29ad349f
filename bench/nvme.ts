/** An NVMe device under `run` as a C driver sees it, and the same image read by pread outside of it. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { benchSource, command, root } from './paths.ts'
import type { Figure, Report } from './report.ts'

const TITLE = 'NVMe under run: a C driver that polls, against pread of the same image'
const SECONDS = '3'
const BDF = '0000:01:00.0'
const MEBIBYTES = 256

/** One line of nvme-client. */
interface Measured {
  readonly perSecond: number
  readonly medianMicroseconds: number
  readonly slowMicroseconds: number
  /** Of the supervisor, in percent of a processor. */
  readonly processor: number
}

type Lines = ReadonlyMap<string, Measured>

const lines = (program: string, args: readonly string[]): Lines | string => {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8' })
  if (status !== 0) return `${error?.message ?? stderr.trim()} (exit status ${status})`
  return new Map(
    stdout
      .trim()
      .split('\n')
      .map((line): [string, Measured] => {
        const [name = '', ...values] = line.split(' ')
        const [perSecond = 0, median = 0, slow = 0, processor = 0] = values.map(Number)
        const times = { medianMicroseconds: median, slowMicroseconds: slow }
        return [name, { perSecond, ...times, processor }]
      }),
  )
}

interface Pattern {
  readonly name: string
  readonly line: string
  /** The line of pread. */
  readonly against: string
  readonly kibibytes: number
  readonly aim?: string
}

const PATTERNS: readonly Pattern[] = [
  { name: '4K random, depth 1', line: 'random-4k-1', against: 'random-4k', kibibytes: 4 },
  {
    name: '4K random, depth 32',
    line: 'random-4k-32',
    against: 'random-4k',
    kibibytes: 4,
    aim: '(aim: >= 50000/s)',
  },
  {
    name: '128K sequential, depth 8',
    line: 'sequential-128k-8',
    against: 'sequential-128k',
    kibibytes: 128,
    aim: '(aim: >= 1 GB/s)',
  },
]

const bandwidth = ({ perSecond }: Measured, kibibytes: number): string =>
  `${((perSecond * kibibytes * 1024) / 1e9).toFixed(2)} GB/s`

const figures = (device: Lines, pread: Lines): Figure[] => {
  const found: Figure[] = PATTERNS.flatMap(({ name, line, against, kibibytes, aim }) => {
    const ours = device.get(line)
    const direct = pread.get(against)
    if (ours === undefined || direct === undefined) return []
    const perProcessor = (100 * ours.perSecond) / ours.processor
    const headline = kibibytes > 4 ? bandwidth(ours, kibibytes) : `${ours.perSecond.toFixed(0)}/s`
    const detail =
      `latency ${ours.medianMicroseconds} us, 99% within ${ours.slowMicroseconds} us; ` +
      `supervisor ${ours.processor.toFixed(0)}% of a processor: ${perProcessor.toFixed(0)}/s per whole one; ` +
      `pread ${direct.perSecond.toFixed(0)}/s, ${bandwidth(direct, kibibytes)}`
    return [{ name, headline, ...(aim === undefined ? {} : { aim }), detail }]
  })
  const idle = device.get('idle')
  if (idle !== undefined)
    found.push({
      name: 'idle',
      headline: `${idle.processor.toFixed(2)}%`,
      aim: '(aim: < 2%)',
      detail: 'of a processor, controller enabled and mapped',
    })
  return found
}

const measured = (directory: string): Report => {
  const client = join(directory, 'nvme-client')
  const include = join(root, 'test', 'nvme')
  const compile = ['-O2', '-w', '-I', include, '-o', client, benchSource('nvme-client.c')]
  if (spawnSync('cc', compile, { stdio: 'inherit' }).status !== 0)
    return { title: TITLE, skipped: 'no C compiler named cc' }
  const image = join(directory, 'disk.img')
  // Not sparse: holes are read faster than anything.
  const fill = ['if=/dev/urandom', `of=${image}`, 'bs=1M', `count=${MEBIBYTES}`, 'status=none']
  if (spawnSync('dd', fill).status !== 0) return { title: TITLE, skipped: `no room for ${image}` }
  const pread = lines(client, ['pread', image, SECONDS])
  if (typeof pread === 'string') return { title: TITLE, skipped: pread }
  const device = `nvme:${image},addr=${BDF}`
  const run = [command, 'run', '--device', device, '--', client, BDF, image, SECONDS]
  const through = lines(process.execPath, run)
  return typeof through === 'string'
    ? { title: TITLE, skipped: `the client failed under run: ${through}` }
    : { title: TITLE, figures: figures(through, pread) }
}

export const benchNvme = (): Report[] => {
  if (process.platform !== 'linux') return [{ title: TITLE, skipped: 'run needs Linux' }]
  const directory = mkdtempSync(join(tmpdir(), 'iommufd-user-bench-'))
  try {
    return [measured(directory)]
  } finally {
    rmSync(directory, { recursive: true })
  }
}
