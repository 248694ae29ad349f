/** Events as text: a line for people, JSON for programs. */
import { hex } from '../abi/brands.ts'
import { errnoName } from '../abi/errno.ts'
import type { EngineEvent } from '../engine/events.ts'
import type { Stamp } from '../engine/observer.ts'
import { Refusal } from '../engine/reason.ts'

/** Members that stand elsewhere in a line, or say the same in all of them. */
const LEFT_OUT: ReadonlySet<string> = new Set(['type', 'call', 'context'])

/** `area-mapped ioas=1 iova=0x1000 length=0x2000 ...` */
export const eventText = (event: EngineEvent): string =>
  [
    event.type,
    ...Object.entries(event)
      .filter(([name, value]) => !LEFT_OUT.has(name) && value !== undefined)
      .map(([name, value]) => `${name}=${valueText(value)}`),
  ].join(' ')

const valueText = (value: unknown): string => {
  if (typeof value === 'bigint') return hex(value)
  if (typeof value === 'string') return /^[\w/.:[\]-]+$/.test(value) ? value : JSON.stringify(value)
  if (value instanceof Uint8Array) return bytesText(value)
  if (Array.isArray(value)) return `[${value.map(valueText).join(', ')}]`
  if (value instanceof Refusal) return errnoName(value.errno)
  if (typeof value === 'object' && value !== null)
    return `{${Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .map(([name, member]) => `${name}=${valueText(member)}`)
      .join(', ')}}`
  return String(value)
}

const bytesText = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')

/**
 * One event as one line of JSON: 64-bit values as `0x` and hexadecimal digits, bytes as hexadecimal
 * digits, a refusal as its code, errno, rule and fields.
 */
export const eventJson = (event: EngineEvent, stamp: Stamp | undefined): string =>
  JSON.stringify(jsonValue({ ...stamp, ...event }))

const jsonValue = (value: unknown): unknown => {
  if (typeof value === 'bigint') return hex(value)
  if (value instanceof Uint8Array) return bytesText(value)
  if (value instanceof Refusal) {
    const { code, cite, advice } = value.kind
    const fields = jsonValue(value.fields)
    return { code, errno: errnoName(value.errno), says: value.say(), fields, cite, advice }
  }
  if (Array.isArray(value)) return value.map(jsonValue)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [name, jsonValue(member)]),
  )
}
