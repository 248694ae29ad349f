/**
 * A time line as Perfetto's TrackEvent protocol buffers, for ui.perfetto.dev and trace_processor. Names
 * and numbers of fields are those of Perfetto's documentation (perfetto.dev/docs, "Track events").
 */
import { ProtobufMessage } from './protobuf.ts'
import type { Arguments, TimelineEvent, TimelineSink, Track, TrackId } from './timeline.ts'

const Trace = { PACKET: 1 } as const
const TracePacket = {
  TIMESTAMP: 8,
  SEQUENCE_ID: 10,
  TRACK_EVENT: 11,
  SEQUENCE_FLAGS: 13,
  TRACK_DESCRIPTOR: 60,
} as const
const TrackDescriptor = {
  UUID: 1,
  NAME: 2,
  PROCESS: 3,
  THREAD: 4,
  PARENT: 5,
  COUNTER: 8,
} as const
const ProcessDescriptor = { PID: 1, NAME: 6 } as const
const ThreadDescriptor = { PID: 1, TID: 2, NAME: 5 } as const
const CounterDescriptor = { UNIT: 3, UNIT_NAME: 6 } as const
const TrackEvent = {
  DEBUG_ANNOTATION: 4,
  TYPE: 9,
  TRACK: 11,
  CATEGORY: 22,
  NAME: 23,
  COUNTER_VALUE: 30,
  FLOW: 47,
  TERMINATING_FLOW: 48,
} as const
const DebugAnnotation = { UINT: 3, INT: 4, TEXT: 6, POINTER: 7, NAME: 10 } as const

const EventType = { SLICE_BEGIN: 1, SLICE_END: 2, INSTANT: 3, COUNTER: 4 } as const
/** Of CounterDescriptor.Unit. */
const SIZE_BYTES = 3
/** Nothing that came before is needed. */
const STATE_CLEARED = 1
const SEQUENCE = 1

export class PerfettoWriter implements TimelineSink {
  readonly #write: (bytes: Uint8Array) => void
  #first = true

  /** `write` gets whole packets; their concatenation is the trace. */
  constructor(write: (bytes: Uint8Array) => void) {
    this.#write = write
  }

  track({ id, parent, name, process, thread, counter }: Track): void {
    const descriptor = new ProtobufMessage().number(TrackDescriptor.UUID, id)
    // The names of processes and threads are in their own descriptors.
    if (process !== undefined)
      descriptor.message(
        TrackDescriptor.PROCESS,
        new ProtobufMessage()
          .number(ProcessDescriptor.PID, process.pid)
          .text(ProcessDescriptor.NAME, name),
      )
    else if (thread !== undefined)
      descriptor.message(
        TrackDescriptor.THREAD,
        new ProtobufMessage()
          .number(ThreadDescriptor.PID, thread.pid)
          .number(ThreadDescriptor.TID, thread.tid)
          .text(ThreadDescriptor.NAME, name),
      )
    else descriptor.text(TrackDescriptor.NAME, name)
    if (parent !== undefined) descriptor.number(TrackDescriptor.PARENT, parent)
    if (counter !== undefined)
      descriptor.message(
        TrackDescriptor.COUNTER,
        counter.unit === 'bytes'
          ? new ProtobufMessage().number(CounterDescriptor.UNIT, SIZE_BYTES)
          : new ProtobufMessage().text(CounterDescriptor.UNIT_NAME, counter.unit),
      )
    this.#packet(new ProtobufMessage().message(TracePacket.TRACK_DESCRIPTOR, descriptor))
  }

  begin(track: TrackId, at: number, event: TimelineEvent): void {
    this.#event(at, described(EventType.SLICE_BEGIN, track, event))
  }

  end(track: TrackId, at: number): void {
    this.#event(at, typed(EventType.SLICE_END, track))
  }

  instant(track: TrackId, at: number, event: TimelineEvent): void {
    this.#event(at, described(EventType.INSTANT, track, event))
  }

  counter(track: TrackId, at: number, value: number): void {
    this.#event(at, typed(EventType.COUNTER, track).signed(TrackEvent.COUNTER_VALUE, value))
  }

  finish(): void {}

  #event(at: number, event: ProtobufMessage): void {
    this.#packet(
      new ProtobufMessage()
        .number(TracePacket.TIMESTAMP, at)
        .message(TracePacket.TRACK_EVENT, event),
    )
  }

  #packet(packet: ProtobufMessage): void {
    packet.number(TracePacket.SEQUENCE_ID, SEQUENCE)
    if (this.#first) packet.number(TracePacket.SEQUENCE_FLAGS, STATE_CLEARED)
    this.#first = false
    this.#write(new ProtobufMessage().message(Trace.PACKET, packet).bytes())
  }
}

const typed = (type: number, track: TrackId): ProtobufMessage =>
  new ProtobufMessage().number(TrackEvent.TYPE, type).number(TrackEvent.TRACK, track)

const described = (
  type: number,
  track: TrackId,
  { name, category, args, flows }: TimelineEvent,
): ProtobufMessage => {
  const event = typed(type, track).text(TrackEvent.CATEGORY, category).text(TrackEvent.NAME, name)
  for (const arg of args) event.message(TrackEvent.DEBUG_ANNOTATION, annotation(arg))
  for (const { flow, point } of flows)
    event.fixed64(point === 'last' ? TrackEvent.TERMINATING_FLOW : TrackEvent.FLOW, flow)
  return event
}

const annotation = ([name, value]: Arguments[number]): ProtobufMessage => {
  const message = new ProtobufMessage().text(DebugAnnotation.NAME, name)
  if (typeof value === 'string') return message.text(DebugAnnotation.TEXT, value)
  // Shown in hexadecimal.
  if (typeof value === 'bigint') return message.wide(DebugAnnotation.POINTER, value)
  return value < 0
    ? message.signed(DebugAnnotation.INT, value)
    : message.number(DebugAnnotation.UINT, value)
}
