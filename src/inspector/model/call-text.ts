/** A call for people: what it was, with which arguments, and what came of it. */
import { hex } from '../../abi/brands.ts'
import { errnoName } from '../../abi/errno.ts'
import { formatArgument, structOf } from '../../abi/format.ts'
import type { Ioctl } from '../../abi/ioctl.ts'
import type { Struct } from '../../abi/layout.ts'
import { Refusal } from '../../engine/reason.ts'
import { declarationOf } from '../../watch/trace-line.ts'
import { shortFlags } from './short-names.ts'
import type { CallEntry, CallEvent } from './timeline.ts'

/** One field of a call's structure, before and after. */
export interface ArgumentRow {
  readonly name: string
  readonly value: string
  /** What the kernel put there, where that differs. */
  readonly answer: string | undefined
  readonly meaning: string
}

export const callName = (event: CallEvent): string =>
  event.operation === 'ioctl'
    ? (declarationOf(event)?.name ?? `ioctl ${hex(event.request ?? 0)}`)
    : event.offset === undefined
      ? event.operation
      : ({ read: 'pread', write: 'pwrite' }[String(event.operation)] ?? event.operation)

/** In one line, for lists: the arguments that tell most. */
export const callArguments = (event: CallEvent): string => {
  const ioctl = declarationOf(event)
  if (event.operation === 'open') return event.file ?? ''
  if (event.operation !== 'ioctl')
    return [
      ...(event.offset === undefined ? [] : [hex(event.offset)]),
      `${event.argument ?? 0n} bytes`,
    ].join(', ')
  if (ioctl === undefined || event.input === undefined)
    return event.argument === undefined ? '' : hex(event.argument)
  const struct = structOf(ioctl, event.input)
  return struct === undefined
    ? formatArgument(ioctl, event.argument ?? 0n, event.input)
    : fieldsInBrief(struct, event.input)
}

/** What was passed, flags last and by their short names. */
const fieldsInBrief = (struct: Struct, input: Uint8Array): string => {
  const values: Readonly<Record<string, unknown>> = struct.decode(input)
  const parts: string[] = []
  const flags: string[] = []
  for (const field of struct.fields) {
    const value = values[field.name]
    if (field.role !== undefined || field.direction === 'out') continue
    if (field.flags === undefined) parts.push(`${field.name}=${field.format(value)}`)
    else if (typeof value === 'number' && value !== 0) flags.push(shortFlags(field.flags, value))
  }
  return [...parts, ...flags].join(' ')
}

export const callMeaning = (event: CallEvent): string => declarationOf(event)?.meaning ?? ''

/** `0`, or the errno's name. */
export const resultText = ({ result }: CallEvent): string =>
  result instanceof Refusal ? errnoName(result.errno) : String(result)

/** Every field of the structure with its meaning. */
export const argumentRows = (event: CallEvent): readonly ArgumentRow[] => {
  const ioctl = event.operation === 'ioctl' ? declarationOf(event) : undefined
  const { input, output } = event
  if (ioctl === undefined || input === undefined) return plainRows(event, ioctl)
  const struct = structOf(ioctl, input)
  if (struct === undefined) return plainRows(event, ioctl)
  const before: Readonly<Record<string, unknown>> = struct.decode(input)
  const after: Readonly<Record<string, unknown>> | undefined =
    output === undefined ? undefined : struct.decode(output)
  return struct.fields
    .filter(({ role }) => role === undefined)
    .map((field) => {
      const value = field.format(before[field.name])
      const answer = after === undefined ? undefined : field.format(after[field.name])
      return {
        name: field.name,
        value: field.direction === 'out' ? '' : value,
        answer: answer === value && field.direction !== 'out' ? undefined : answer,
        meaning: field.meaning,
      }
    })
}

const plainRows = (event: CallEvent, ioctl: Ioctl | undefined): readonly ArgumentRow[] => {
  const rows: ArgumentRow[] = []
  const add = (name: string, value: string, meaning: string): void => {
    rows.push({ name, value, answer: undefined, meaning })
  }
  if (event.operation === 'ioctl' && ioctl !== undefined && event.input !== undefined)
    add('argument', formatArgument(ioctl, event.argument ?? 0n, event.input), ioctl.meaning)
  else if (event.argument !== undefined)
    add(
      event.operation === 'ioctl' ? 'argument' : 'length',
      event.operation === 'ioctl' ? hex(event.argument) : String(event.argument),
      event.operation === 'ioctl' ? 'As it was passed.' : 'Bytes.',
    )
  if (event.offset !== undefined) add('offset', hex(event.offset), 'Where in the file.')
  return rows
}

/** Nanoseconds as people read them, `12.3 µs`. */
export const duration = (nanoseconds: number): string => {
  if (nanoseconds < 1000) return `${nanoseconds} ns`
  if (nanoseconds < 1e6) return `${(nanoseconds / 1e3).toFixed(1)} µs`
  if (nanoseconds < 1e9) return `${(nanoseconds / 1e6).toFixed(1)} ms`
  return `${(nanoseconds / 1e9).toFixed(3)} s`
}

/** Process and thread, `4711` or `4711/4713`. */
export const caller = ({ event }: CallEntry): string =>
  event.pid === event.tid ? `${event.pid}` : `${event.pid}/${event.tid}`

/** Bytes as people read them: `64 KiB`; exact where they are no whole number of units. */
export const byteCount = (bytes: bigint): string => {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB']
  let unit = 0
  let value = bytes
  while (unit < units.length - 1 && value >= 1024n && value % 1024n === 0n) {
    value /= 1024n
    unit += 1
  }
  if (value < 10_000n) return `${value} ${units[unit]}`
  let rounded = Number(value)
  while (unit < units.length - 1 && rounded >= 1024) {
    rounded /= 1024
    unit += 1
  }
  return `${rounded.toPrecision(4)} ${units[unit]}`
}
