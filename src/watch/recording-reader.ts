import type { Fd } from '../abi/brands.ts'
import type { EngineEvent } from '../engine/events.ts'
import type { Stamp } from '../engine/observer.ts'
import { Refusal } from '../engine/reason.ts'
import {
  FORMAT,
  LENGTH_BYTES,
  MAGIC,
  MAX_RECORD,
  PREAMBLE,
  type RecordedDevice,
  type RecordedEvent,
  RecordingError,
  type RecordingHeader,
  type RecordingItem,
  RecordKind,
  type ServedRecord,
} from './recording.ts'
import { ValueDecoder } from './recording-decoder.ts'

/** A whole recording, or what could be read of it. */
export interface Recording {
  readonly header: RecordingHeader
  readonly events: readonly RecordedEvent[]
  /** What is missing or spoilt, as a sentence; undefined for a recording that is complete. */
  readonly damage: string | undefined
}

/**
 * Reads a recording as its bytes come: from a file in one piece, or from a stream as it grows. Shapes and
 * texts that are numbered early are meant later, so every reader begins at the beginning.
 */
export class RecordingReader {
  /** Each kind of record gives its own numbers. */
  readonly #events = new ValueDecoder()
  readonly #served: ValueDecoder | undefined
  #waiting: Uint8Array = new Uint8Array()
  #begun = false
  #header: RecordingHeader | undefined
  /** The last record was an end. */
  #ended = false
  #damage: string | undefined
  #records = 0
  #time = 0

  /** What only replay needs is passed over unless it is asked for. */
  constructor(options: { readonly served?: boolean } = {}) {
    this.#served = options.served === true ? new ValueDecoder() : undefined
  }

  /** Known as soon as the first bytes have come. */
  get header(): RecordingHeader | undefined {
    return this.#header
  }

  /**
   * What became complete with these bytes, in order. Throws RecordingError where they are no recording,
   * or one that only a newer version can read. Damage further on throws nothing: what precedes it is
   * returned, nothing follows, and `damage` says what is wrong.
   */
  push(bytes: Uint8Array): RecordingItem[] {
    const items: RecordingItem[] = []
    if (this.#damage !== undefined) return items
    const all = joined(this.#waiting, bytes)
    let at = this.#begun ? 0 : this.#preamble(all)
    while (this.#begun && all.length - at >= LENGTH_BYTES) {
      const length = lengthAt(all, at)
      const start = at + LENGTH_BYTES
      if (length === 0 || length > MAX_RECORD) this.#spoilt(`it would be ${length} bytes long`)
      if (this.#damage !== undefined || start + length > all.length) break
      this.#record(all.subarray(start, start + length), items)
      at = start + length
      if (this.#damage !== undefined) break
    }
    this.#waiting = all.slice(at)
    return items
  }

  /**
   * What is wrong with it, given that no more bytes come: it is spoilt, or it ends before the run did.
   * Undefined for a complete recording.
   */
  damage(): string | undefined {
    if (this.#damage !== undefined) return this.#damage
    if (!this.#begun || this.#header === undefined)
      return 'The recording ends before its first record.'
    if (this.#ended && this.#waiting.length === 0) return undefined
    const rest = this.#waiting.length === 0 ? '' : ', in the middle of a record'
    return `The recording ends early${rest}: whoever writes it was stopped, or has not finished. The ${this.#records} records before that can be read.`
  }

  /** How many bytes of `all` it takes; 0 while there are not enough. */
  #preamble(all: Uint8Array): number {
    for (let i = 0; i < Math.min(MAGIC.length, all.length); i++)
      if (all[i] !== MAGIC[i]) throw new RecordingError(notARecording(all))
    if (all.length < PREAMBLE) return 0
    const format = lengthAt(all, MAGIC.length)
    if (format > FORMAT)
      throw new RecordingError(
        `The recording is of format ${format}, but this version of iommufd-user reads formats up to ${FORMAT}: read it with the version that wrote it, or a newer one.`,
      )
    this.#begun = true
    return PREAMBLE
  }

  #record(record: Uint8Array, items: RecordingItem[]): void {
    this.#records += 1
    try {
      const [kind = 0] = record
      const values = record.subarray(1)
      if (this.#header === undefined) {
        if (kind !== RecordKind.HEADER) throw new RecordingError('it is not the header')
        this.#header = header(alone(values))
        return
      }
      this.#ended = kind === RecordKind.END
      const item = this.#item(kind, values)
      if (item !== undefined) items.push(item)
    } catch (error) {
      if (!(error instanceof RecordingError)) throw error
      this.#spoilt(error.message)
    }
  }

  #item(kind: number, record: Uint8Array): RecordingItem | undefined {
    switch (kind) {
      case RecordKind.EVENT:
        return { kind: 'event', ...this.#event(record) }
      case RecordKind.SERVED:
        return this.#served && { kind: 'served', served: allOf(this.#served, record) }
      case RecordKind.END:
        return { kind: 'end', end: { at: numberIn(alone(record), 'at') ?? 0 } }
      default:
        // Of a later version.
        return undefined
    }
  }

  #event(record: Uint8Array): RecordedEvent {
    const values = this.#events
    values.begin(record)
    const since = values.value()
    const took = values.value()
    const fd = values.value()
    const event = checkedEvent(values.value())
    if (typeof since !== 'number') return { event, stamp: undefined }
    this.#time += since
    const stamp: Stamp = {
      at: this.#time,
      ...(typeof took === 'number' ? { took } : {}),
      // A number that the host found behind the caller's.
      ...(typeof fd === 'number' ? { fd: fd as Fd } : {}),
    }
    return { event, stamp }
  }

  #spoilt(why: string): void {
    if (this.#damage !== undefined) return
    if (this.#header === undefined)
      throw new RecordingError(`The recording cannot be read: its header is spoilt (${why}).`)
    this.#damage = `The recording is spoilt: record ${this.#records + 1} makes no sense (${why}). The records before it can be read.`
  }
}

/**
 * Reads a recording that is all there. Throws RecordingError for what is none, what is newer, and what
 * has not even a header.
 */
export const readRecording = (bytes: Uint8Array): Recording => {
  const reader = new RecordingReader()
  const events: RecordedEvent[] = []
  for (const item of reader.push(bytes))
    if (item.kind === 'event') events.push({ event: item.event, stamp: item.stamp })
  const damage = reader.damage()
  if (reader.header === undefined)
    throw new RecordingError(damage ?? 'The recording ends before its first record.')
  return { header: reader.header, events, damage }
}

/** The value of a record that has but one. */
const alone = (record: Uint8Array): unknown => {
  const values = new ValueDecoder()
  values.begin(record)
  return values.value()
}

const allOf = (values: ValueDecoder, record: Uint8Array): ServedRecord => {
  values.begin(record)
  const all: unknown[] = []
  while (!values.atEnd) all.push(values.value())
  return all
}

const joined = (first: Uint8Array, second: Uint8Array): Uint8Array => {
  if (first.length === 0) return second
  const all = new Uint8Array(first.length + second.length)
  all.set(first)
  all.set(second, first.length)
  return all
}

const lengthAt = (bytes: Uint8Array, at: number): number =>
  new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0, true)

const notARecording = (bytes: Uint8Array): string => {
  const empty = bytes.length === 0 ? ', it is empty' : ''
  return `This is no recording of iommufd-user${empty}: one is made with run --record FILE.`
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null

const numberIn = (value: unknown, name: string): number | undefined => {
  const member = isObject(value) ? value[name] : undefined
  return typeof member === 'number' ? member : undefined
}

const texts = (value: unknown): readonly string[] =>
  Array.isArray(value) ? value.filter((each) => typeof each === 'string') : []

const devices = (value: unknown): RecordedDevice[] =>
  (Array.isArray(value) ? value : []).map((device: unknown) => {
    if (!isObject(device) || typeof device['model'] !== 'string' || !isObject(device['options']))
      throw new RecordingError('a device has no model or no options')
    const { source, model, argument } = device
    const options: [string, string | number | boolean][] = []
    for (const [name, option] of Object.entries(device['options'])) {
      if (typeof option !== 'string' && typeof option !== 'number' && typeof option !== 'boolean')
        throw new RecordingError(`the device ${model} has an option ${name} of another kind`)
      options.push([name, option])
    }
    return {
      source: typeof source === 'string' ? source : model,
      model,
      ...(typeof argument === 'string' ? { argument } : {}),
      options: Object.fromEntries(options),
    }
  })

const header = (value: unknown): RecordingHeader => {
  if (!isObject(value) || !isObject(value['machine']))
    throw new RecordingError('there is no machine in it')
  const { machine, iommufdUser, command } = value
  const { platform } = machine
  return {
    iommufdUser: typeof iommufdUser === 'string' ? iommufdUser : 'unknown',
    machine: {
      devices: devices(machine['devices']),
      platform: typeof platform === 'string' ? platform : null,
      container: machine['container'] === 'type1' ? 'type1' : 'iommufd',
      compatIoas: machine['compatIoas'] === 'strict' ? 'strict' : 'linux',
      testInterface: machine['testInterface'] === true,
    },
    command: texts(command),
    pageSize: numberIn(value, 'pageSize') ?? 4096,
    startedAt: numberIn(value, 'startedAt') ?? 0,
  }
}

const NUMBERS = ['call', 'pid', 'tid'] as const

/** As much as every consumer relies on; members beyond are as the writer made them. */
const checkedEvent = (value: unknown): EngineEvent => {
  if (!isObject(value) || typeof value['type'] !== 'string')
    throw new RecordingError('an event has no type')
  const isCall = value['type'] === 'call'
  for (const name of isCall ? NUMBERS : [])
    if (typeof value[name] !== 'number') throw new RecordingError(`a call has no ${name}`)
  const { operation, result } = value
  if (
    isCall &&
    (typeof operation !== 'string' || !(typeof result === 'number' || result instanceof Refusal))
  )
    throw new RecordingError('a call has no operation or no result')
  // The writer was given an EngineEvent; of a later version it may have more types and members.
  return value as unknown as EngineEvent
}
