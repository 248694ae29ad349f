/** Which calls of a recording are shown: by process, errno, number, context, object, IOVA. */
import { MAX_U64 } from '../abi/brands.ts'
import { Errno, errnoName } from '../abi/errno.ts'
import { Refusal } from '../engine/reason.ts'
import type { CallGroup } from './call-group.ts'
import { namesObject, type Range, touchesIova } from './call-subjects.ts'
import { FilterError } from './filter-error.ts'
import type { TraceFilter } from './trace-filter.ts'

export type GroupFilter = (group: CallGroup) => boolean

/** As typed; of one kind, any may hold, and each kind that is given must. */
export interface GroupFilterOptions {
  readonly pid?: readonly string[]
  /** Numbers of calls in the run, or ranges of them. */
  readonly call?: readonly string[]
  /** Names or numbers. */
  readonly errno?: readonly string[]
  readonly context?: readonly string[]
  readonly object?: readonly string[]
  /** An IOVA, FIRST-LAST, or FIRST+LENGTH. */
  readonly iova?: readonly string[]
}

/** Throws FilterError, with a sentence, for what none of them can mean. */
export const groupFilter = (options: GroupFilterOptions): GroupFilter => {
  const kinds = [
    ...anyOf(options.pid, pidTest),
    ...anyOf(options.call, callTest),
    ...anyOf(options.errno, errnoTest),
    ...anyOf(options.context, contextTest),
    ...anyOf(options.object, objectTest),
    ...anyOf(options.iova, iovaTest),
  ]
  return (group) => kinds.every((holds) => holds(group))
}

/** Only groups with a call that this lets through. */
export const callsThat =
  (shows: TraceFilter): GroupFilter =>
  ({ call }) =>
    call !== undefined && shows(call)

const anyOf = (
  given: readonly string[] | undefined,
  test: (text: string) => GroupFilter,
): GroupFilter[] => {
  if (given === undefined || given.length === 0) return []
  const tests = given.flatMap((text) => text.split(',')).map((text) => test(text.trim()))
  return [(group) => tests.some((holds) => holds(group))]
}

const whole = (text: string, what: string): number => {
  if (!/^\d{1,10}$/.test(text))
    throw new FilterError(`'${text}' is no ${what}: a whole number is wanted.`)
  return Number(text)
}

const pidTest = (text: string): GroupFilter => {
  const pid = whole(text, 'process')
  return ({ call, events }) =>
    call === undefined
      ? events.some(({ event }) => 'pid' in event && event.pid === pid)
      : call.pid === pid || call.tid === pid
}

const callTest = (text: string): GroupFilter => {
  const [first = '', last = first] = text.replace('#', '').split('-')
  const from = whole(first, 'number of a call')
  const to = whole(last, 'number of a call')
  return ({ call, events }) => {
    const number = call?.call ?? events[0]?.event.call ?? 0
    return number >= from && number <= to
  }
}

const errnoTest = (text: string): GroupFilter => {
  const name = text.toUpperCase()
  const number = /^\d+$/.test(text) ? Number(text) : undefined
  if (number === undefined && !Object.hasOwn(Errno, name))
    throw new FilterError(`There is no errno '${text}': say EINVAL, for one, or its number.`)
  return ({ call }) =>
    call?.result instanceof Refusal &&
    (call.result.errno === number || errnoName(call.result.errno) === name)
}

const contextTest = (text: string): GroupFilter => {
  const context = whole(text, 'number of a context')
  return ({ call, events }) =>
    call?.context === context ||
    events.some(({ event }) => 'context' in event && event.context === context)
}

const objectTest = (text: string): GroupFilter => {
  const id = whole(text, 'ID of an object')
  return (group) => namesObject(group, id)
}

const iovaTest = (text: string): GroupFilter => {
  const wanted = iovaRange(text)
  return (group) => touchesIova(group, wanted)
}

const ADDRESS = '(0x[0-9a-f]+|\\d+)'
const RANGE = new RegExp(`^${ADDRESS}(?:([-+])${ADDRESS})?$`, 'i')

const iovaRange = (text: string): Range => {
  const [, first, sign, second] = RANGE.exec(text) ?? []
  const start = BigInt(first ?? -1)
  const other = BigInt(second ?? 1)
  const last = sign === '-' ? other : start + other - 1n
  if (start < 0n || last < start || last > MAX_U64)
    throw new FilterError(
      `'${text}' is no range of IOVAs: say 0x1000, 0x1000-0x1fff (inclusive) or 0x1000+0x1000.`,
    )
  return { start, last }
}
