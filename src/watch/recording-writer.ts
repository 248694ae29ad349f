import type { EngineEvent } from '../engine/events.ts'
import type { Observer, Stamp } from '../engine/observer.ts'
import {
  FORMAT,
  LENGTH_BYTES,
  MAGIC,
  MAX_RECORD,
  type RecordingHeader,
  RecordKind,
} from './recording.ts'
import { ByteBuffer } from './recording-bytes.ts'
import { CallEncoder } from './recording-call.ts'
import { ValueEncoder } from './recording-encoder.ts'

/** Bytes that are collected before the sink gets them. */
const CHUNK = 1 << 16
/** As many events and records wait to be written together: the processor then has at hand what that takes. */
const BATCH = 256

/**
 * Records what it observes. Bytes go to `sink` in chunks of whole records; a sink that keeps a chunk
 * copies it. `flush` hands over what has been collected.
 */
export class RecordingWriter implements Observer {
  readonly #sink: (chunk: Uint8Array) => void
  readonly #buffer = new ByteBuffer(2 * CHUNK)
  readonly #events = new ValueEncoder(this.#buffer)
  readonly #calls = new CallEncoder(this.#events)
  readonly #served = new ByteBuffer(CHUNK)
  /** What a call into the machine asked of the world: its values are put here, and kept by `served`. */
  readonly servedValues = new ValueEncoder(this.#served)
  /** Events, and where a record in `#served` ends, in order: written together, which is faster than one by one. */
  readonly #waiting: (EngineEvent | number)[] = []
  readonly #stamps: (Stamp | undefined)[] = []
  #last = 0
  /** The last record is an end. */
  #ended = false

  constructor(header: RecordingHeader, sink: (chunk: Uint8Array) => void) {
    this.#sink = sink
    for (const byte of MAGIC) this.#buffer.byte(byte)
    for (let shift = 0; shift < 32; shift += 8) this.#buffer.byte((FORMAT >>> shift) & 0xff)
    const start = this.#begin(RecordKind.HEADER)
    new ValueEncoder(this.#buffer).value(header)
    this.#finish(start)
  }

  event(event: EngineEvent, stamp?: Stamp): void {
    this.#ended = false
    this.#waiting.push(event)
    this.#stamps.push(stamp)
    // What a refusal says is computed, and may not be the same later.
    const isRefused = event.type === 'call' && typeof event.result !== 'number'
    if (isRefused || this.#waiting.length >= BATCH) this.#write()
  }

  /** Writes what waits. */
  #write(): void {
    const waiting = this.#waiting
    const stamps = this.#stamps
    let from = 0
    for (let i = 0; i < waiting.length; i++) {
      const one = waiting[i]
      if (typeof one === 'number') {
        const start = this.#begin(RecordKind.SERVED)
        this.#buffer.append(this.#served, from, one)
        from = one
        this.#finish(start)
      } else if (one !== undefined) this.#writeEvent(one, stamps[i])
    }
    waiting.length = 0
    stamps.length = 0
    // What follows belongs to a record that is not complete.
    this.#served.dropFirst(from)
  }

  #writeEvent(event: EngineEvent, stamp: Stamp | undefined): void {
    const start = this.#begin(RecordKind.EVENT)
    const values = this.#events
    if (stamp === undefined) values.value(undefined)
    else {
      // The time since the event before: a small number.
      values.number(stamp.at - this.#last)
      this.#last = stamp.at
    }
    values.value(stamp?.took)
    values.value(stamp?.fd)
    if (event.type === 'call') this.#calls.put(event)
    else values.value(event)
    this.#finish(start)
  }

  /** The values in `servedValues` are a record. Events that came in between stand before it. */
  served(): void {
    this.#ended = false
    this.#waiting.push(this.#served.length)
    this.#stamps.push(undefined)
    if (this.#waiting.length >= BATCH) this.#write()
  }

  /**
   * Nothing is missing so far, and it may be that nothing follows: the program has ended. Processes that
   * it left behind may go on, and end once more. `at`: nanoseconds since the run began.
   */
  end(at: number): void {
    if (this.#ended) return
    this.#write()
    this.#ended = true
    const start = this.#begin(RecordKind.END)
    new ValueEncoder(this.#buffer).value({ at })
    this.#finish(start)
    this.flush()
  }

  flush(): void {
    this.#write()
    this.#hand()
  }

  #hand(): void {
    const buffer = this.#buffer
    if (buffer.length === 0) return
    this.#sink(buffer.bytes.subarray(0, buffer.length))
    buffer.length = 0
  }

  #begin(kind: number): number {
    const buffer = this.#buffer
    buffer.reserve(LENGTH_BYTES)
    const start = buffer.length
    buffer.length += LENGTH_BYTES
    buffer.byte(kind)
    return start
  }

  #finish(start: number): void {
    const buffer = this.#buffer
    const length = buffer.length - start - LENGTH_BYTES
    if (length > MAX_RECORD) throw new RangeError(`a record of ${length} bytes is too long`)
    buffer.view.setUint32(start, length, true)
    if (buffer.length >= CHUNK) this.#hand()
  }
}
