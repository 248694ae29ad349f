import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Errno, type ErrnoName } from '../../src/abi/errno.ts'
import type { EngineEvent } from '../../src/engine/events.ts'
import { type ReasonKind, Refusal } from '../../src/engine/reason.ts'
import {
  type RecordedEvent,
  RecordingError,
  type RecordingHeader,
  type RecordingItem,
} from '../../src/watch/recording.ts'
import { RecordingReader, readRecording } from '../../src/watch/recording-reader.ts'
import { RecordingWriter } from '../../src/watch/recording-writer.ts'

const header: RecordingHeader = {
  iommufdUser: '1.2.3',
  machine: {
    devices: [{ source: '--device scratch,group=7', model: 'scratch', options: { group: 7 } }],
    platform: 'intel',
    container: 'iommufd',
    compatIoas: 'linux',
    testInterface: true,
  },
  command: ['./a', 'b c'],
  pageSize: 4096,
  startedAt: 1_700_000_000_000,
}

const concat = (chunks: readonly Uint8Array[]): Uint8Array => {
  const all = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const chunk of chunks) {
    all.set(chunk, at)
    at += chunk.length
  }
  return all
}

const recorded = (events: readonly RecordedEvent[], ended = true): Uint8Array => {
  const chunks: Uint8Array[] = []
  const writer = new RecordingWriter(header, (chunk) => chunks.push(chunk.slice()))
  for (const { event, stamp } of events) writer.event(event, stamp)
  if (ended) writer.end(99)
  else writer.flush()
  return concat(chunks)
}

const errnoNames = Object.keys(Errno) as ErrnoName[]
const refusal = fc
  .record({
    code: fc.stringMatching(/^[a-z-]{1,20}$/),
    errno: fc.constantFrom(...errnoNames),
    cite: fc.string(),
    advice: fc.string({ minLength: 1 }),
    said: fc.string({ unit: 'grapheme' }),
    fields: fc.dictionary(fc.string(), fc.oneof(fc.maxSafeInteger(), fc.bigInt(), fc.string())),
  })
  .map(({ said, fields, ...kind }) => {
    const whole: ReasonKind<unknown> = { ...kind, say: () => said }
    return new Refusal(whole, fields)
  })

/** Anything that an event may have in it, of this version or a later one. */
const value = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom(undefined, null, true, false, -0, Number.NaN, 2 ** 53 - 1, 1e300, -1),
    fc.integer(),
    fc.double(),
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    fc.bigInt(),
    fc.string({ unit: 'grapheme' }),
    fc.uint8Array(),
    refusal,
    fc.array(tie('value'), { maxLength: 5 }),
    fc.dictionary(fc.string(), tie('value'), { maxKeys: 6, noNullPrototype: true }),
  ),
})).value

const stamp = fc.record(
  { at: fc.nat(), took: fc.nat(), fd: fc.nat(65_535) },
  { requiredKeys: ['at'], noNullPrototype: true },
)

// Whatever a later version may add: the type is all that the format asks of an event.
const event = fc
  .tuple(
    fc.stringMatching(/^[a-z]{1,3}$/),
    fc.dictionary(fc.string(), value, { noNullPrototype: true }),
  )
  .map(([type, members]) => ({ ...members, type }) as unknown as EngineEvent)

const events = fc.array(
  fc.record({ event, stamp: fc.option(stamp, { nil: undefined }) }, { noNullPrototype: true }),
  { maxLength: 12 },
) as fc.Arbitrary<RecordedEvent[]>

/** A refusal's kind has another `say` after reading; what it says is the same. */
const plain = (value: unknown): unknown => {
  if (value instanceof Refusal) {
    const { code, errno, cite, advice } = value.kind
    return { code, errno, cite, advice, says: value.say(), fields: plain(value.fields) }
  }
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value
  return Object.entries(value).map(([name, member]) => [name, plain(member)])
}

const eventsIn = (items: readonly RecordingItem[]): RecordedEvent[] =>
  items.flatMap((item) => (item.kind === 'event' ? [{ event: item.event, stamp: item.stamp }] : []))

test('what was recorded is read again, exactly', () => {
  fc.assert(
    fc.property(events, (written) => {
      const read = readRecording(recorded(written))
      expect(read.header).toStrictEqual(header)
      expect(read.damage).toBeUndefined()
      expect(plain(read.events)).toStrictEqual(plain(written))
    }),
  )
})

test('a stream that comes in pieces gives the same as the whole', () => {
  fc.assert(
    fc.property(events, fc.array(fc.nat(64), { minLength: 1 }), (written, sizes) => {
      const bytes = recorded(written)
      const reader = new RecordingReader()
      const items: RecordingItem[] = []
      for (let at = 0, i = 0; at < bytes.length; i++) {
        const size = 1 + (sizes[i % sizes.length] ?? 0)
        items.push(...reader.push(bytes.subarray(at, at + size)))
        at += size
      }
      expect(reader.damage()).toBeUndefined()
      expect(plain(eventsIn(items))).toStrictEqual(plain(written))
    }),
  )
})

test('what is cut off is read to its last whole record, and says so', () => {
  fc.assert(
    fc.property(events, fc.double({ min: 0, max: 1, noNaN: true }), (written, where) => {
      const bytes = recorded(written)
      const cut = bytes.subarray(0, Math.floor(where * (bytes.length - 1)))
      const reader = new RecordingReader()
      const read = eventsIn(reader.push(cut))
      expect(reader.damage()).toMatch(/^The recording ends .*\.$/)
      expect(plain(read)).toStrictEqual(plain(written.slice(0, read.length)))
      // Nothing that was whole is missing.
      const next = recorded(written.slice(0, read.length + 1), false)
      if (read.length < written.length && reader.header !== undefined)
        expect(cut.length).toBeLessThan(next.length)
    }),
  )
})

test('spoilt bytes never do more than end the reading', () => {
  const spoil = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 })
  fc.assert(
    fc.property(events, spoil, (written, changes) => {
      const bytes = recorded(written)
      for (const [at, byte] of changes) bytes[at % bytes.length] = byte
      try {
        readRecording(bytes)
      } catch (error) {
        expect(error).toBeInstanceOf(RecordingError)
      }
    }),
  )
})

test('random bytes are no recording, or a spoilt one', () => {
  const start = recorded([], false)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (random, behindHeader) => {
      if (behindHeader)
        expect(readRecording(concat([start, random])).damage).toMatch(/^The recording /)
      else expect(() => readRecording(random)).toThrow(RecordingError)
    }),
  )
})
