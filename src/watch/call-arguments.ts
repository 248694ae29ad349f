/** What a call was made with and what came of it, by name. */
import { errnoName } from '../abi/errno.ts'
import { structOf } from '../abi/format.ts'
import { decode, type PlacedField } from '../abi/layout.ts'
import type { EngineEvent } from '../engine/events.ts'
import { Refusal } from '../engine/reason.ts'
import type { Arguments } from './timeline.ts'
import type { CallEvent } from './trace-filter.ts'
import { declarationOf } from './trace-line.ts'

type Argument = Arguments[number]

/** `IOMMU_IOAS_MAP`, `open`. */
export const callName = (call: CallEvent): string =>
  call.operation === 'ioctl'
    ? (declarationOf(call)?.name ?? `ioctl 0x${(call.request ?? 0).toString(16)}`)
    : call.operation

export const callArguments = (call: CallEvent): Arguments => [
  ['call', call.call],
  ...(call.file === undefined ? [] : ([['file', call.file]] as const)),
  ...structArguments(call, call.input, ({ direction }) => direction !== 'out', ''),
  ...structArguments(call, call.output, ({ direction }) => direction !== 'in', 'after.'),
  ...(call.argument === undefined ? [] : ([['argument', call.argument]] as const)),
  ...(call.offset === undefined ? [] : ([['offset', call.offset]] as const)),
  ...resultArguments(call.result),
]

const resultArguments = (result: number | Refusal): Arguments => {
  if (!(result instanceof Refusal)) return [['result', result]]
  const { code, cite, advice } = result.kind
  return [
    ['errno', errnoName(result.errno)],
    ['reason', result.say()],
    ['code', code],
    ['rule', cite],
    ...(advice === undefined ? [] : ([['advice', advice]] as const)),
  ]
}

const structArguments = (
  call: CallEvent,
  bytes: Uint8Array | undefined,
  wanted: (field: PlacedField) => boolean,
  prefix: string,
): Argument[] => {
  const ioctl = declarationOf(call)
  const struct = ioctl && bytes && structOf(ioctl, bytes)
  if (bytes === undefined || struct === undefined) return []
  const values: Readonly<Record<string, unknown>> = decode(struct, bytes)
  return struct.fields
    .filter((field) => field.role === undefined && wanted(field))
    .map((field) => [`${prefix}${field.name}`, fieldValue(field, values[field.name])])
}

/** Numbers stay numbers, unless they stand for a name. */
const fieldValue = (field: PlacedField, value: unknown): string | number | bigint =>
  (typeof value === 'number' || typeof value === 'bigint') &&
  field.flags === undefined &&
  field.values === undefined
    ? value
    : field.format(value)

/** Members of an event that are of use beside its name. */
export const eventArguments = (event: EngineEvent): Arguments =>
  Object.entries(event).flatMap(([name, value]): Argument[] => {
    if (name === 'type' || name === 'context') return []
    if (typeof value === 'number' || typeof value === 'bigint') return [[name, value]]
    if (typeof value === 'string' || typeof value === 'boolean') return [[name, String(value)]]
    return []
  })
