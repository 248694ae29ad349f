/** What a call is about, for those who look for it: objects, and ranges of IOVAs. */
import { MAX_U64 } from '../abi/brands.ts'
import { structOf } from '../abi/format.ts'
import { decode } from '../abi/layout.ts'
import type { EngineEvent } from '../engine/events.ts'
import type { CallGroup } from './call-group.ts'
import { declarationOf } from './trace-line.ts'

/** Inclusive. */
export interface Range {
  readonly start: bigint
  readonly last: bigint
}

/** Members of events that are IDs of objects. */
const OBJECT_MEMBERS: ReadonlySet<string> = new Set([
  'id',
  'object',
  'ioas',
  'previous',
  'hwpt',
  'access',
  'queue',
  'viommu',
  'through',
  'replaced',
])

/** Does the group name this object, in the structure of its call or in what happened? */
export const namesObject = (group: CallGroup, id: number): boolean =>
  fieldsOf(group, 'object').some(({ value }) => value === id) ||
  group.events.some(({ event }) => eventNames(event, id))

const eventNames = (event: EngineEvent, id: number): boolean =>
  Object.entries(event).some(([name, value]) => OBJECT_MEMBERS.has(name) && value === id)

/** Does a range of the group have an IOVA in common with `wanted`? */
export const touchesIova = (group: CallGroup, wanted: Range): boolean =>
  rangesOf(group).some(({ start, last }) => start <= wanted.last && wanted.start <= last)

const rangesOf = (group: CallGroup): readonly Range[] => [
  ...structRanges(group),
  ...group.events.flatMap(({ event }) => eventRanges(event)),
]

const eventRanges = (event: EngineEvent): readonly Range[] => {
  const { iova, length = 1n }: Readonly<Record<string, unknown>> = { ...event }
  return typeof iova === 'bigint' && typeof length === 'bigint' ? [range(iova, length)] : []
}

/** A structure has one length, which goes with each of its IOVAs. */
const structRanges = (group: CallGroup): readonly Range[] => {
  const iovas = fieldsOf(group, 'iova')
  if (iovas.length === 0) return []
  const [length] = fieldsOf(group, 'length')
  return iovas.flatMap(({ value }) =>
    typeof value === 'bigint' ? [range(value, bigintOr(length?.value, 1n))] : [],
  )
}

const range = (start: bigint, length: bigint): Range => {
  const last = start + (length === 0n ? 1n : length) - 1n
  return { start, last: last > MAX_U64 ? MAX_U64 : last }
}

const bigintOr = (value: unknown, otherwise: bigint): bigint =>
  typeof value === 'bigint' ? value : otherwise

/** Fields of a kind in the structure of the call, as passed and then as written back. */
const fieldsOf = (
  { call }: CallGroup,
  subject: 'object' | 'iova' | 'length',
): readonly { readonly value: unknown }[] => {
  const ioctl = call && declarationOf(call)
  if (call === undefined || ioctl === undefined) return []
  return [call.input, call.output].flatMap((bytes) => {
    const struct = bytes && structOf(ioctl, bytes)
    if (bytes === undefined || struct === undefined) return []
    const values: Readonly<Record<string, unknown>> = decode(struct, bytes)
    return struct.fields.flatMap((field) =>
      field.subject === subject ? [{ value: values[field.name] }] : [],
    )
  })
}
