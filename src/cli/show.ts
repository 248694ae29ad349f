/** `show FILE`: prints what a recording holds, as `run --trace` would have. */
import { type CallGroup, CallGroups } from '../watch/call-group.ts'
import { Doctor } from '../watch/doctor.ts'
import { eventJson, eventText } from '../watch/event-text.ts'
import { findingText } from '../watch/finding.ts'
import { callsThat, type GroupFilterOptions, groupFilter } from '../watch/group-filter.ts'
import { explanationText } from '../watch/report-text.ts'
import { traceFilter } from '../watch/trace-filter.ts'
import { traceLine } from '../watch/trace-line.ts'
import { ExitStatus } from './exit-status.ts'
import { Output } from './output.ts'
import { RecordingInput } from './recording-input.ts'

export interface ShowOptions extends GroupFilterOptions {
  readonly filter?: readonly string[]
  /** Explanations of what failed, and findings, where they are made. */
  readonly doctor?: boolean
  /** What happened in each call. */
  readonly events?: boolean
  readonly format: 'text' | 'json'
}

/** Throws UsageError and FilterError. */
export const showCommand = (file: string, options: ShowOptions): number => {
  const filters = options.filter ?? []
  const shows = traceFilter(filters)
  const matches = groupFilter(options)
  const wanted = filters.length === 0 ? matches : both(callsThat(shows), matches)
  const output = new Output()
  let going = true
  const print = (line: string): void => {
    going = output.write(`${line}\n`)
  }
  const lines = options.format === 'json' ? jsonLines : options.events ? detailed : traceLines
  const groups = new CallGroups((group) => {
    if (wanted(group)) for (const line of lines(group)) print(line)
  })
  const doctor = new Doctor({
    explanation: (explanation) => {
      if (options.format === 'text') print(set(explanationText(explanation)))
    },
    finding: (finding) => {
      if (options.format === 'json') print(JSON.stringify({ type: 'finding', ...finding }))
      else print(set(findingText(finding)))
    },
  })
  const input = new RecordingInput(file)
  for (const item of input.items()) {
    if (!going) return ExitStatus.OK
    if (item.kind !== 'event') continue
    groups.event(item.event, item.stamp)
    if (options.doctor === true) doctor.event(item.event, item.stamp)
  }
  groups.end()
  if (options.doctor === true) doctor.report()
  output.flush()
  const { damage } = input
  if (damage !== undefined) process.stderr.write(`iommufd-user: ${file}: ${damage}\n`)
  return ExitStatus.OK
}

const both =
  (one: (group: CallGroup) => boolean, other: (group: CallGroup) => boolean) =>
  (group: CallGroup): boolean =>
    one(group) && other(group)

/** Set off from calls, as strace sets off signals. */
const set = (text: string): string => `--- ${text.replaceAll('\n', '\n---')}`

const traceLines = ({ call, stamp }: CallGroup): string[] =>
  call === undefined ? [] : [traceLine(call, stamp)]

/** Behind each call, numbered, what happened in it. */
const detailed = ({ call, stamp, events }: CallGroup): string[] => [
  call === undefined ? 'between calls' : `#${call.call} ${traceLine(call, stamp)}`,
  ...events.map(({ event }) => `    ${eventText(event)}`),
]

const jsonLines = ({ call, stamp, events }: CallGroup): string[] => [
  ...events.map((each) => eventJson(each.event, each.stamp)),
  ...(call === undefined ? [] : [eventJson(call, stamp)]),
]
