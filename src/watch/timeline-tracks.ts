/** The tracks of a time line: processes and threads, contexts and their objects, devices. */
import type { ContextNumber } from '../engine/events.ts'
import { objectKey } from './area-flows.ts'
import type { TimelineSink, Track, TrackId } from './timeline.ts'

export class TimelineTracks {
  readonly #sink: TimelineSink
  #count = 0
  readonly #known = new Map<string, TrackId>()
  /** Tracks of objects that live, each with an open slice, by `objectKey`. */
  readonly #living = new Map<string, TrackId>()
  readonly #contexts = new Map<ContextNumber, TrackId>()

  constructor(sink: TimelineSink) {
    this.#sink = sink
  }

  thread(pid: number, tid: number): TrackId {
    const process = this.#once(`process ${pid}`, () => ({
      name: `process ${pid}`,
      process: { pid },
    }))
    return this.#once(`thread ${pid} ${tid}`, () => ({
      parent: process,
      name: tid === pid ? `calls of ${pid}` : `calls of thread ${tid}`,
      thread: { pid, tid },
    }))
  }

  /** What is charged to a process. */
  charged(pid: number): TrackId {
    const process = this.#once(`process ${pid}`, () => ({
      name: `process ${pid}`,
      process: { pid },
    }))
    return this.#once(`charged ${pid}`, () => ({
      parent: process,
      name: 'charged against RLIMIT_MEMLOCK',
      counter: { unit: 'pages' },
    }))
  }

  device(name: string): TrackId {
    const devices = this.#once('devices', () => ({ name: 'devices' }))
    return this.#once(`device ${name}`, () => ({ parent: devices, name }))
  }

  findings(): TrackId {
    return this.#once('findings', () => ({ name: 'findings' }))
  }

  context(context: ContextNumber): TrackId {
    return (
      this.#contexts.get(context) ??
      this.#once(`context ${context}`, () => ({ name: `context ${context}` }))
    )
  }

  contextOpened(context: ContextNumber, at: number, node: string, pid: number): void {
    const track = this.#add({ name: `context ${context}, ${node}` })
    this.#contexts.set(context, track)
    this.#live(`context ${context}`, track, `${node} opened by process ${pid}`, at)
  }

  contextReleased(context: ContextNumber, at: number): void {
    // Its objects have gone before it; a recording that began late may not tell.
    for (const key of [...this.#living.keys()])
      if (key.startsWith(`${context} `)) this.#die(key, at)
    this.#die(`context ${context}`, at)
  }

  created(context: ContextNumber, id: number, object: string, at: number): void {
    const key = objectKey(context, id)
    this.#die(key, at)
    const name = `${object} ${id}`
    const track = this.#add({ parent: this.context(context), name })
    this.#known.delete(`mapped ${key}`)
    this.#live(key, track, name, at)
  }

  destroyed(context: ContextNumber, id: number, at: number, by: string): void {
    const key = objectKey(context, id)
    const track = this.#living.get(key)
    if (track === undefined) return
    this.#sink.instant(track, at, {
      name: 'destroyed',
      category: 'object',
      args: [['by', by]],
      flows: [],
    })
    this.#die(key, at)
  }

  /** The object that lives with this key, or lived. */
  object(key: string): TrackId {
    return (
      this.#living.get(key) ??
      this.#once(`object ${key}`, () => {
        const [context = '', id = ''] = key.split(' ')
        return { parent: this.context(Number(context)), name: `object ${id}` }
      })
    )
  }

  /** Bytes that are mapped in an IOAS. */
  mapped(key: string): TrackId {
    return this.#once(`mapped ${key}`, () => ({
      parent: this.object(key),
      name: 'bytes mapped',
      counter: { unit: 'bytes' },
    }))
  }

  /** Whatever still lives ends. */
  endAll(at: number): void {
    for (const key of [...this.#living.keys()].reverse()) this.#die(key, at)
  }

  #live(key: string, track: TrackId, name: string, at: number): void {
    this.#living.set(key, track)
    this.#sink.begin(track, at, { name, category: 'object', args: [], flows: [] })
  }

  #die(key: string, at: number): void {
    const track = this.#living.get(key)
    if (track === undefined) return
    this.#living.delete(key)
    // What comes afterwards still finds it.
    this.#known.set(`object ${key}`, track)
    this.#sink.end(track, at)
  }

  #once(what: string, make: () => Omit<Track, 'id'>): TrackId {
    const known = this.#known.get(what)
    if (known !== undefined) return known
    const track = this.#add(make())
    this.#known.set(what, track)
    return track
  }

  #add(track: Omit<Track, 'id'>): TrackId {
    this.#count += 1
    this.#sink.track({ id: this.#count, ...track })
    return this.#count
  }
}
