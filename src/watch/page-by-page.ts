import type { CallNumber } from '../engine/events.ts'
import { bytesText } from './english.ts'
import type { Finder, FinderKind, Known, Report } from './finder.ts'
import type { FindingKind } from './finding.ts'
import type { AreaMapped } from './history.ts'

const kind: FindingKind = {
  code: 'page-by-page-maps',
  severity: 'note',
  title:
    'A program maps consecutive memory page by page, where one call and larger pages would do.',
  why:
    'Each call costs a system call and an entry in the IOMMU tables; 2 MiB pages make devices faster too. ' +
    'A type1 container permits only 65535 mappings.',
}

const PAGE = 4096n
/** From this many pages on it is no accident. */
const WORTH_TELLING = 64

interface Streak {
  readonly first: AreaMapped
  last: AreaMapped
  count: number
}

const makeFinder = ({ history }: Known): Finder => {
  const streaks = new Map<string, Streak>()
  const told = new Set<string>()

  const end = (key: string, report: Report): void => {
    const streak = streaks.get(key)
    streaks.delete(key)
    if (streak === undefined || streak.count < WORTH_TELLING || told.has(key)) return
    told.add(key)
    report(findingOf(streak))
  }

  return (event, report) => {
    if (event.type === 'area-mapped') {
      const key = `${event.context} ${event.ioas}`
      const streak = streaks.get(key)
      if (streak !== undefined && goesOn(streak, event)) {
        streak.last = event
        streak.count += 1
        return
      }
      end(key, report)
      if (event.length === PAGE && event.memory !== undefined)
        streaks.set(key, { first: event, last: event, count: 1 })
    } else if (event.type === 'context-released') {
      for (const key of [...streaks.keys()])
        if (key.startsWith(`${event.context} `)) end(key, report)
    } else if (event.type === 'object-destroyed' && event.object === 'ioas') {
      // Before the IDs of what was there are used again.
      if (history.contexts.has(event.context)) end(`${event.context} ${event.id}`, report)
    }
  }
}

const goesOn = ({ last }: Streak, next: AreaMapped): boolean =>
  next.length === PAGE &&
  next.iova === last.iova + PAGE &&
  next.memory !== undefined &&
  next.memory.space === last.memory?.space &&
  next.memory.address === last.memory.address + PAGE &&
  next.readable === last.readable &&
  next.writable === last.writable

const findingOf = ({ first, last, count }: Streak): ReturnType<typeof finding> =>
  finding(first.call, last.call, count, BigInt(count) * PAGE)

const finding = (first: CallNumber, last: CallNumber, pages: number, bytes: bigint) =>
  ({
    severity: kind.severity,
    code: kind.code,
    sentence: `${pages} calls mapped ${pages} consecutive pages (${bytesText(bytes)}), one by one; IOVAs and memory are consecutive, so one call would have done.`,
    evidence: [
      { call: first, what: 'mapped the first page' },
      { call: last, what: 'mapped the last page' },
    ],
    advice:
      'Map the whole buffer with one call; at 2 MiB or more, with IOVA and memory aligned alike, the IOMMU then uses large pages.',
  }) as const

export const pageByPage: FinderKind = { finds: [kind], make: makeFinder }
