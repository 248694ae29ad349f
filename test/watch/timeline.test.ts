/** `export`: what it writes, read by another's decoder. */
import { PbfReader } from 'pbf'
import { expect, test } from 'vitest'
import { byteLength, fd, iova, objectId, userVa } from '../../src/abi/brands.ts'
import { iommu_ioas_map } from '../../src/abi/iommufd/ioas.ts'
import type { EngineEvent } from '../../src/engine/events.ts'
import { reasonKind, refuse } from '../../src/engine/reason.ts'
import { ChromeTraceWriter } from '../../src/watch/chrome-trace.ts'
import type { Finding } from '../../src/watch/finding.ts'
import { PerfettoWriter } from '../../src/watch/perfetto.ts'
import type { TimelineSink } from '../../src/watch/timeline.ts'
import { TimelineBuilder } from '../../src/watch/timeline-builder.ts'
import { bytes, call } from './calls.ts'

const Overlap = reasonKind({
  code: 'timeline-test-overlap',
  errno: 'EEXIST',
  cite: '01 §12.2',
  say: () => 'it overlaps',
  advice: 'Unmap first.',
})

const HIGH = 0xffff_ffff_0000_0000n

const mapped = (number: number, at: bigint): EngineEvent => ({
  type: 'area-mapped',
  context: 1,
  call: number,
  ioas: objectId(1),
  iova: iova(at),
  length: byteLength(0x2000n),
  source: 'memory of process 100 (a) at 0x7f0000000000',
  memory: { pid: 100, space: 1, address: userVa(0x7f00_0000_0000n) },
  fixed: true,
  readable: true,
  writable: true,
})

const unmapped = (number: number, at: bigint, length = 0x2000n): EngineEvent => ({
  type: 'area-unmapped',
  context: 1,
  call: number,
  ioas: objectId(1),
  iova: iova(at),
  length: byteLength(length),
})

const dma = (at: bigint): EngineEvent & { type: 'dma' } => ({
  type: 'dma',
  context: 1,
  call: 0,
  device: '0000:00:03.0',
  ioas: objectId(1),
  iova: iova(at),
  length: byteLength(64n),
  write: true,
})

const mapCall = (number: number, at: bigint) =>
  call({
    call: number,
    request: 0x3b85,
    input: bytes(iommu_ioas_map, {
      flags: 7,
      ioas_id: objectId(1),
      iova: iova(at),
      length: byteLength(0x2000n),
    }),
  })

/** Maps at 1; DMA; a second one that stays; one that is cut in two and unmapped in parts. */
const story: readonly EngineEvent[] = [
  { type: 'context-opened', context: 1, call: 1, node: '/dev/iommu', pid: 100 },
  call({ call: 1, operation: 'open', context: undefined, result: 3 }),
  { type: 'object-created', context: 1, call: 2, id: objectId(1), object: 'ioas', holds: [] },
  call({ call: 2, request: 0x3b81 }),
  mapped(3, HIGH),
  mapCall(3, HIGH),
  dma(HIGH + 0x1800n),
  { ...mapCall(4, HIGH), result: refuse(Overlap, {}) },
  mapped(5, 0x5000n),
  mapCall(5, 0x5000n),
  mapped(6, 0x10000n),
  mapCall(6, 0x10000n),
  { type: 'area-split', context: 1, call: 7, ioas: objectId(1), after: iova(0x10fffn) },
  unmapped(7, 0x11000n, 0x1000n),
  call({ call: 7, request: 0x3b72 }),
  unmapped(8, HIGH),
  call({ call: 8, request: 0x3b86, tid: 101 }),
  unmapped(0, 0x10000n, 0x1000n),
]

const finding: Finding = {
  severity: 'warning',
  code: 'a-finding',
  sentence: 'Something is odd.',
  evidence: [],
  advice: 'Do it otherwise.',
}

const tell = (sink: TimelineSink): void => {
  const builder = new TimelineBuilder(sink)
  let at = 1000
  for (const event of story) {
    at += 1000
    builder.event(event, event.type === 'call' ? { at, took: 900, fd: fd(3) } : { at })
    if (event.type === 'call' && event.call === 4) builder.finding(finding)
  }
  builder.end()
}

/** A message as another decoder sees it: values by field number, nested messages by what `nested` says. */
type Message = Map<number, unknown[]>
type Nested = { readonly [field: number]: Nested | 'text' | 'double' | 'fixed64' }

const decode = (reader: PbfReader, end: number, nested: Nested): Message => {
  const message: Message = new Map()
  reader.readFields(
    (field, into, pbf) => {
      const how = nested[field]
      const value =
        how === undefined
          ? pbf.readVarint()
          : how === 'text'
            ? pbf.readString()
            : how === 'fixed64'
              ? pbf.readFixed64()
              : how === 'double'
                ? pbf.readDouble()
                : decode(pbf, pbf.readVarint() + pbf.pos, how)
      into.set(field, [...(into.get(field) ?? []), value])
    },
    message,
    end,
  )
  return message
}

const ANNOTATION: Nested = { 6: 'text', 10: 'text' }
const PACKET: Nested = {
  11: { 4: ANNOTATION, 22: 'text', 23: 'text', 47: 'fixed64', 48: 'fixed64' },
  60: { 2: 'text', 3: { 6: 'text' }, 4: { 5: 'text' }, 8: { 6: 'text' } },
}

interface Packet {
  readonly at: number
  readonly descriptor: Message | undefined
  readonly event: Message | undefined
}

const perfettoPackets = (): Packet[] => {
  const chunks: Uint8Array[] = []
  tell(new PerfettoWriter((chunk) => chunks.push(chunk)))
  const trace = Buffer.concat(chunks)
  const packets = decode(new PbfReader(trace), trace.length, { 1: PACKET }).get(1) ?? []
  return (packets as Message[]).map((packet) => {
    expect(packet.get(10)).toEqual([1])
    return {
      at: packet.get(8)?.[0] as number,
      descriptor: packet.get(60)?.[0] as Message | undefined,
      event: packet.get(11)?.[0] as Message | undefined,
    }
  })
}

const numbers = (message: Message | undefined, field: number): number[] =>
  (message?.get(field) ?? []) as number[]
const text = (message: Message | undefined, field: number): string =>
  (message?.get(field)?.[0] ?? '') as string

const BEGIN = 1
const END = 2
const COUNTER = 4

test('Perfetto: slices are balanced, times never go back, tracks are known before they are used', () => {
  const known = new Set<number>()
  const open = new Map<number, number>()
  let last = 0
  for (const { at, descriptor, event } of perfettoPackets()) {
    if (descriptor !== undefined) {
      const [uuid = 0] = numbers(descriptor, 1)
      expect(known.has(uuid)).toBe(false)
      for (const parent of numbers(descriptor, 5)) expect(known).toContain(parent)
      known.add(uuid)
      continue
    }
    const [track = 0] = numbers(event, 11)
    const [type = 0] = numbers(event, 9)
    expect(known).toContain(track)
    expect(at).toBeGreaterThanOrEqual(last)
    last = at
    if (type === BEGIN) open.set(track, (open.get(track) ?? 0) + 1)
    if (type === END) open.set(track, (open.get(track) ?? 0) - 1)
    expect(open.get(track) ?? 0).toBeGreaterThanOrEqual(0)
    if (type !== END && type !== COUNTER) expect(text(event, 23)).not.toBe('')
  }
  expect([...open.values()].filter((depth) => depth !== 0)).toEqual([])
})

test('Perfetto: every flow leads from a map to its end, through the DMA in between', () => {
  const flows = new Map<number, string[]>()
  for (const { event } of perfettoPackets()) {
    for (const flow of numbers(event, 47))
      flows.set(flow, [...(flows.get(flow) ?? []), text(event, 23)])
    for (const flow of numbers(event, 48)) {
      expect(flows.get(flow)?.at(-1)).not.toBe('ended')
      flows.set(flow, [...(flows.get(flow) ?? []), text(event, 23), 'ended'])
    }
  }
  expect([...flows.values()]).toEqual([
    ['IOMMU_IOAS_MAP', 'area-mapped', 'dma', 'IOMMU_IOAS_UNMAP', 'area-unmapped', 'ended'],
    ['IOMMU_IOAS_MAP', 'area-mapped', 'still mapped', 'ended'],
    [
      'IOMMU_IOAS_MAP',
      'area-mapped',
      'VFIO_IOMMU_UNMAP_DMA',
      'area-unmapped',
      'area-unmapped',
      'ended',
    ],
  ])
})

test('Perfetto: calls have their arguments, refusals their reason, 64-bit values all their bits', () => {
  const packets = perfettoPackets()
  const [first, failed] = packets.filter(({ event }) => text(event, 23) === 'IOMMU_IOAS_MAP')
  const args = (packet: Packet | undefined): Record<string, unknown> =>
    Object.fromEntries(
      ((packet?.event?.get(4) ?? []) as Message[]).map((annotation) => [
        text(annotation, 10),
        annotation.get(6)?.[0] ?? annotation.get(3)?.[0] ?? annotation.get(7)?.[0],
      ]),
    )
  expect(args(first)).toMatchObject({
    call: 3,
    fd: 3,
    file: '/dev/iommu',
    ioas_id: 1,
    length: 0x2000,
    // What the decoder makes of it is a double.
    iova: Number(HIGH),
    result: 0,
  })
  expect(args(first)['flags']).toContain('IOMMU_IOAS_MAP_FIXED_IOVA')
  expect(args(failed)).toMatchObject({
    errno: 'EEXIST',
    reason: 'it overlaps',
    code: 'timeline-test-overlap',
    advice: 'Unmap first.',
  })
  expect(text(failed?.event, 22)).toBe('failed')
  const found = packets.find(({ event }) => text(event, 23) === 'a-finding')
  expect(args(found)).toMatchObject({ severity: 'warning', finding: 'Something is odd.' })
})

test('Perfetto: a track for each process, thread, context, object, device, and for what is mapped', () => {
  const descriptors = perfettoPackets().flatMap(({ descriptor }) => descriptor ?? [])
  const named = new Map(descriptors.map((each) => [text(each, 2), each]))
  expect([...named.keys()].filter((name) => name !== '')).toEqual([
    'context 1, /dev/iommu',
    'ioas 1',
    'bytes mapped',
    'devices',
    '0000:00:03.0',
    'findings',
  ])
  const processes = descriptors.flatMap((each) => (each.get(3)?.[0] as Message | undefined) ?? [])
  expect(processes.map((each) => numbers(each, 1)[0])).toEqual([100])
  const threads = descriptors.flatMap((each) => (each.get(4)?.[0] as Message | undefined) ?? [])
  expect(threads.map((each) => numbers(each, 2)[0])).toEqual([100, 101])
  const counts = perfettoPackets()
    .filter(({ event }) => numbers(event, 9)[0] === COUNTER)
    .map(({ event }) => numbers(event, 30)[0])
  expect(counts).toEqual([0x2000, 0x4000, 0x6000, 0x5000, 0x3000, 0x2000])
})

interface ChromeEvent {
  readonly ph: string
  readonly ts?: number
  readonly pid: number
  readonly tid?: number
  readonly id?: number
  readonly name?: string
  readonly args?: Record<string, unknown>
}

test('Chrome: the same in JSON, balanced, with both ends of every flow, addresses as text', () => {
  let json = ''
  tell(
    new ChromeTraceWriter((piece) => {
      json += piece
    }),
  )
  const events = JSON.parse(json) as ChromeEvent[]
  const depths = new Map<string, number>()
  let last = 0
  for (const { ph, pid, tid, ts } of events) {
    if (ph === 'M') continue
    expect(ts).toBeGreaterThanOrEqual(last)
    last = ts ?? 0
    const row = `${pid} ${tid}`
    if (ph === 'B') depths.set(row, (depths.get(row) ?? 0) + 1)
    if (ph === 'E') depths.set(row, (depths.get(row) ?? 0) - 1)
    expect(depths.get(row) ?? 0).toBeGreaterThanOrEqual(0)
  }
  expect([...depths.values()].every((depth) => depth === 0)).toBe(true)
  const ids = (ph: string): (number | undefined)[] =>
    events.filter((event) => event.ph === ph).map(({ id }) => id)
  expect(ids('s').sort()).toEqual([1, 2, 3])
  expect(ids('f').sort()).toEqual([1, 2, 3])
  const map = events.find(({ name }) => name === 'IOMMU_IOAS_MAP')
  expect(map?.args).toMatchObject({ iova: '0xffffffff00000000', ioas_id: 1 })
})

test('an empty recording is an empty time line', () => {
  let json = ''
  new TimelineBuilder(
    new ChromeTraceWriter((piece) => {
      json += piece
    }),
  ).end()
  expect(JSON.parse(json)).toEqual([])
})
