/** What a replay did other than the recording, for people. */
import { errnoName } from '../abi/errno.ts'
import type { EngineEvent } from '../engine/events.ts'
import { Refusal } from '../engine/reason.ts'
import { eventText } from '../watch/event-text.ts'
import { traceLine } from '../watch/trace-line.ts'
import type { Answers } from './answers.ts'
import { same } from './same.ts'
import { Entry } from './served.ts'

export interface Difference {
  /** Number of the call in the run; 0 for what no call caused. */
  readonly call: number
  /** Lines that only the recording has, and those that only the replay has. */
  readonly recorded: readonly string[]
  readonly replayed: readonly string[]
  /** What else was different, each a clause. */
  readonly complaints: readonly string[]
}

/** Undefined where the same happened. */
export const eventDifference = (
  recorded: readonly EngineEvent[],
  replayed: readonly EngineEvent[],
): Pick<Difference, 'recorded' | 'replayed'> | undefined => {
  let start = 0
  while (
    start < recorded.length &&
    start < replayed.length &&
    same(recorded[start], replayed[start])
  )
    start += 1
  let ends = 0
  const most = Math.min(recorded.length, replayed.length) - start
  while (ends < most && same(recorded.at(-1 - ends), replayed.at(-1 - ends))) ends += 1
  const only = recorded.slice(start, recorded.length - ends)
  const others = replayed.slice(start, replayed.length - ends)
  if (only.length === 0 && others.length === 0) return undefined
  return { recorded: only.map(line), replayed: others.map(line) }
}

const line = (event: EngineEvent): string =>
  event.type === 'call' ? traceLine(event, undefined) : eventText(event)

const NAMES: Readonly<Record<number, string>> = {
  [Entry.OPEN]: 'open',
  [Entry.READ]: 'read',
  [Entry.WRITE]: 'write',
  [Entry.PREAD]: 'pread',
  [Entry.PWRITE]: 'pwrite',
  [Entry.MMAP]: 'mmap',
}

/** An entry ended with another result. `event` is what the host reported of it, if it did. */
export const resultDifference = (
  answers: Answers,
  event: EngineEvent | undefined,
  result: unknown,
  rest: Omit<Difference, 'call'>,
): Difference => {
  if (event?.type === 'call') {
    const now = typeof result === 'number' || result instanceof Refusal ? result : 0
    return {
      call: event.call,
      recorded: [...rest.recorded, traceLine(event, undefined)],
      replayed: [...rest.replayed, traceLine({ ...event, result: now }, undefined)],
      complaints: rest.complaints,
    }
  }
  const name = NAMES[answers.entry] ?? `entry ${answers.entry}`
  return {
    call: 0,
    recorded: [...rest.recorded, `${name} = ${resultText(answers.result)}`],
    replayed: [...rest.replayed, `${name} = ${resultText(result)}`],
    complaints: rest.complaints,
  }
}

const resultText = (result: unknown): string =>
  result instanceof Refusal ? `-1 ${errnoName(result.errno)} (${result.say()})` : String(result)

/** A difference as a patch shows it. */
export const differenceText = ({ call, recorded, replayed, complaints }: Difference): string =>
  [
    call === 0 ? 'Between calls:' : `Call #${call}:`,
    ...recorded.map((each) => `  - ${each}`),
    ...replayed.map((each) => `  + ${each}`),
    ...complaints.map((each) => `  ! ${each}`),
  ].join('\n')
