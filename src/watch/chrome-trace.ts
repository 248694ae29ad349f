/** A time line as Chrome's trace events in JSON, which older viewers and other programs read. */
import { hex } from '../abi/brands.ts'
import type { TimelineEvent, TimelineSink, Track, TrackId } from './timeline.ts'

/** Tracks of no process stand in a process of their own, out of the way of real ones. */
const NO_PROCESS = 0

/** A row of the viewer. */
interface Row {
  readonly pid: number
  readonly tid: number
  readonly name: string
}

export class ChromeTraceWriter implements TimelineSink {
  readonly #write: (text: string) => void
  readonly #rows = new Map<TrackId, Row>()
  #separator = '[\n'

  /** `write` gets pieces of the JSON text. */
  constructor(write: (text: string) => void) {
    this.#write = write
  }

  track({ id, parent, name, process, thread, counter }: Track): void {
    const above = parent === undefined ? undefined : this.#rows.get(parent)
    const row: Row = {
      pid: process?.pid ?? thread?.pid ?? above?.pid ?? NO_PROCESS,
      tid: thread?.tid ?? process?.pid ?? id,
      name: counter === undefined || above === undefined ? name : `${above.name}: ${name}`,
    }
    this.#rows.set(id, row)
    const { pid, tid } = row
    if (process !== undefined) this.#put({ ph: 'M', name: 'process_name', pid, args: { name } })
    else if (counter === undefined)
      this.#put({ ph: 'M', name: 'thread_name', pid, tid, args: { name } })
  }

  begin(track: TrackId, at: number, event: TimelineEvent): void {
    this.#put({ ph: 'B', ...this.#described(track, at, event) })
    this.#flows(track, at, event)
  }

  end(track: TrackId, at: number): void {
    this.#put({ ph: 'E', ...this.#place(track, at) })
  }

  instant(track: TrackId, at: number, event: TimelineEvent): void {
    this.#put({ ph: 'i', s: 't', ...this.#described(track, at, event) })
    this.#flows(track, at, event)
  }

  counter(track: TrackId, at: number, value: number): void {
    const name = this.#rows.get(track)?.name
    this.#put({ ph: 'C', name, ...this.#place(track, at), args: { value } })
  }

  finish(): void {
    if (this.#separator === '[\n') this.#write('[')
    this.#write('\n]\n')
  }

  #described(track: TrackId, at: number, { name, category, args }: TimelineEvent): object {
    const values = args.map(
      ([key, value]) => [key, typeof value === 'bigint' ? hex(value) : value] as const,
    )
    return { name, cat: category, ...this.#place(track, at), args: Object.fromEntries(values) }
  }

  #place(track: TrackId, at: number): object {
    const row = this.#rows.get(track)
    // Microseconds.
    return { ts: at / 1000, pid: row?.pid ?? NO_PROCESS, tid: row?.tid ?? track }
  }

  #flows(track: TrackId, at: number, { flows }: TimelineEvent): void {
    for (const { flow, point } of flows) {
      const ph = point === 'first' ? 's' : point === 'middle' ? 't' : 'f'
      const end = ph === 's' ? {} : { bp: 'e' }
      this.#put({ ph, name: 'mapping', cat: 'flow', id: flow, ...end, ...this.#place(track, at) })
    }
  }

  #put(event: object): void {
    this.#write(this.#separator + JSON.stringify(event))
    this.#separator = ',\n'
  }
}
