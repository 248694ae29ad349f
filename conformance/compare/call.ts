/** One step of a random sequence: script lines, and what they mean. */
import { command } from '../commands.ts'
import { type FieldValues, hexBytes, structBytes } from '../example.ts'
import { ARRAY, PAGE, SPARE, STRUCT } from '../places.ts'
import type { Random } from './random.ts'

export interface RandomCall {
  /** For people. */
  readonly text: string
  readonly lines: readonly string[]
}

/** Memory that every sequence starts with, beside STRUCT and ARRAY. */
export const READ_ONLY = SPARE
/** The last page before a hole. */
export const EDGE = SPARE + 0x10000n
export const EDGE_END = EDGE + PAGE

export const memorySetUp: readonly string[] = [
  `mmap ${STRUCT} 0x2000 rw private`,
  `mmap ${ARRAY} 0x2000 rw private`,
  `mmap ${READ_ONLY} 0x1000 rw private`,
  `fill ${READ_ONLY} 0x1000 0x11`,
  `mprotect ${READ_ONLY} 0x1000 r`,
  `mmap ${EDGE} 0x1000 rw private`,
]

/** Commands that print nothing. */
const silent = /^(poke|fill|in|#)/

export const printedLines = (call: RandomCall): number =>
  call.lines.filter((line) => !silent.test(line)).length

const GUARD = 'aa'.repeat(16)

const show = (value: number | bigint): string =>
  value >= 10 || value < 0 ? `0x${BigInt.asUintN(64, BigInt(value)).toString(16)}` : String(value)

export const describeCall = (name: string, fields: FieldValues, how: string): string =>
  `${name}(${Object.entries(fields)
    .map(([field, value]) => `${field}=${show(value)}`)
    .join(', ')})${how}`

export interface CallOptions {
  readonly slot?: number
  /** Memory whose bytes the call may change, beside the structure. */
  readonly also?: readonly { readonly address: bigint; readonly length: number }[]
  /** Lines before the call, for example that fill an array. */
  readonly before?: readonly string[]
  /** Lines after it. */
  readonly after?: readonly string[]
}

/** A call with a well-formed structure. */
export const structCall = (
  name: string,
  fields: FieldValues,
  { slot = 0, also = [], before = [], after = [] }: CallOptions = {},
): RandomCall => {
  const of = command(name)
  const bytes = structBytes(of, fields)
  return {
    text: describeCall(name, fields, slot === 0 ? '' : ` on descriptor ${slot}`),
    lines: [
      ...before,
      `poke ${STRUCT} ${hexBytes(bytes)}${GUARD}`,
      `ioctl ${slot} ${of.request} ${STRUCT}`,
      `peek ${STRUCT} ${bytes.length + 16}`,
      ...also.map(({ address, length }) => `peek ${address} ${length}`),
      ...after,
    ],
  }
}

export const valueCall = (name: string, request: number, value: bigint, slot = 0): RandomCall => ({
  text: `${name}(${show(value)})`,
  lines: [`ioctl ${slot} ${request} ${value}`],
})

/** What can be wrong with the way a structure is passed. */
const framings = [
  'short',
  'minimum',
  'long and zero',
  'long and not zero',
  'endless',
  'read-only',
  'at the edge',
  'over the edge',
  'null',
  'kernel address',
  'other request bits',
  'odd address',
] as const

/** The same call, passed badly. Used on calls whose success would do no harm twice. */
export const framedBadly = (
  random: Random,
  name: string,
  fields: FieldValues,
  { slot = 0, also = [], before = [] }: CallOptions = {},
): RandomCall => {
  const of = command(name)
  const how = random.pick(framings)
  const known = of.struct.size
  let { request } = of
  let at = STRUCT
  let tail = ''
  let size = known
  let readOnly = false
  switch (how) {
    case 'short':
      size = random.below(known)
      break
    case 'minimum':
      size = known - 4 * random.below(8)
      break
    case 'long and zero':
      size = known + 1 + random.below(16)
      tail = '00'.repeat(16)
      break
    case 'long and not zero':
      size = known + 8
      tail = `${'00'.repeat(random.below(8))}01${'00'.repeat(8)}`
      break
    case 'endless':
      size = 0xffffffff
      tail = random.chance(50) ? '01' : ''
      break
    case 'read-only':
      readOnly = true
      break
    case 'at the edge':
      at = EDGE_END - BigInt(known)
      break
    case 'over the edge':
      at = EDGE_END - BigInt(1 + random.below(known - 1))
      break
    case 'null':
      at = 0n
      break
    case 'kernel address':
      at = random.pick([0xffff888000000000n, 0x8000000000000000n, 0x7ffffffff000n])
      break
    case 'other request bits':
      request = random.pick([
        request | 0x40000000,
        (request | 0x80000000) >>> 0,
        request + (known << 16),
        (request & 0xff) | 0x3c00,
      ])
      break
    case 'odd address':
      at = STRUCT + BigInt(1 + random.below(7))
      break
  }
  const sizeField = of.struct.fields.find(({ role }) => role === 'size' || role === 'argsz')
  const given = { ...fields, ...(sizeField === undefined ? {} : { [sizeField.name]: size }) }
  const bytes = `${hexBytes(structBytes(of, given))}${tail}${GUARD}`
  return {
    text: describeCall(name, given, ` with its structure ${how}`),
    lines: [...before, ...passed(bytes, { at, readOnly, request, slot }), ...also.map(peekLine)],
  }
}

const peekLine = ({ address, length }: { address: bigint; length: number }): string =>
  `peek ${address} ${length}`

const passed = (
  bytes: string,
  { at, readOnly, request, slot }: { at: bigint; readOnly: boolean; request: number; slot: number },
): string[] => {
  const call = `ioctl ${slot} ${request} ${at}`
  if (at < SPARE && at >= STRUCT) {
    const look = `peek ${at} ${bytes.length / 2}`
    if (!readOnly) return [`poke ${at} ${bytes}`, call, look]
    return [
      `poke ${at} ${bytes}`,
      `mprotect ${STRUCT} 0x1000 r`,
      call,
      `mprotect ${STRUCT} 0x1000 rw`,
      look,
    ]
  }
  if (at >= EDGE && at < EDGE_END) {
    const room = Number(EDGE_END - at)
    return [`poke ${at} ${bytes.slice(0, 2 * room)}`, call, `peek ${at} ${room}`]
  }
  return [call]
}

/** The same fields with one of them replaced by something else. */
export const corrupted = (random: Random, name: string, fields: FieldValues): FieldValues => {
  const candidates = command(name).struct.fields.filter(
    ({ role, size }) => role !== 'size' && role !== 'argsz' && size <= 8 && size > 0,
  )
  const { name: victim, size } = random.pick(candidates)
  const bits = BigInt(8 * size)
  const value = random.weighted<bigint>([
    [3, 1n << BigInt(random.below(Number(bits)))],
    [2, (1n << bits) - 1n],
    [2, BigInt(random.below(10))],
    [1, random.long()],
    [1, 1n << (bits - 1n)],
  ])
  return { ...fields, [victim]: BigInt.asUintN(Number(bits), value) }
}
