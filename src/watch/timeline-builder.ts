/** Makes a time line of the events of a recording. */
import type { ContextNumber, EngineEvent } from '../engine/events.ts'
import type { Stamp } from '../engine/observer.ts'
import { Refusal } from '../engine/reason.ts'
import { AreaFlows, objectKey } from './area-flows.ts'
import { callArguments, callName, eventArguments } from './call-arguments.ts'
import { type CallGroup, CallGroups } from './call-group.ts'
import type { Finding } from './finding.ts'
import type { RecordedEvent } from './recording.ts'
import type { FlowPoint, TimelineSink, TrackId } from './timeline.ts'
import { TimelineTracks } from './timeline-tracks.ts'
import type { CallEvent } from './trace-filter.ts'

/** A call that maps or unmaps more than this is not tied to each of them. */
const MOST_FLOWS = 32

export class TimelineBuilder {
  readonly #sink: TimelineSink
  readonly #tracks: TimelineTracks
  readonly #groups = new CallGroups((group) => this.#group(group))
  readonly #flows = new AreaFlows()
  /** Flows that began with the call that is told. */
  readonly #begun = new Set<number>()
  #findings: Finding[] = []
  /** Bytes that are mapped, by IOAS. */
  readonly #mapped = new Map<string, bigint>()
  /** The time of what was written last. */
  #now = 0

  constructor(sink: TimelineSink) {
    this.#sink = sink
    this.#tracks = new TimelineTracks(sink)
  }

  event(event: EngineEvent, stamp?: Stamp): void {
    this.#groups.event(event, stamp)
  }

  /** A finding, when it is made. */
  finding(finding: Finding): void {
    this.#findings.push(finding)
  }

  /** Nothing more comes: what is open ends. */
  end(): void {
    this.#groups.end()
    this.#tellFindings()
    for (const { key, flow, start } of this.#flows.open())
      this.#sink.instant(this.#tracks.object(key), this.#now, {
        name: 'still mapped',
        category: 'mapping',
        args: [['iova', start]],
        flows: [{ flow, point: 'last' }],
      })
    this.#tracks.endAll(this.#now)
    this.#sink.finish()
  }

  #at(stamp: Stamp | undefined): number {
    this.#now = Math.max(this.#now, stamp?.at ?? 0)
    return this.#now
  }

  #group({ call, stamp, events }: CallGroup): void {
    if (call === undefined) {
      for (const each of events) this.#happened(each, undefined)
      return
    }
    const thread = this.#tracks.thread(call.pid, call.tid)
    const began = Math.max(this.#now, (stamp?.at ?? this.#now) - (stamp?.took ?? 0))
    this.#now = began
    this.#sink.begin(thread, began, {
      name: callName(call),
      category: call.result instanceof Refusal ? 'failed' : 'call',
      args: [
        ...(stamp?.fd === undefined ? [] : ([['fd', stamp.fd]] as const)),
        ...callArguments(call),
      ],
      flows: this.#flowsOf(events),
    })
    for (const each of events) this.#happened(each, call)
    this.#sink.end(thread, this.#at(stamp))
    this.#tellFindings()
  }

  /** Flows of mappings that the call makes, which begin with it, and of those that it ends. */
  #flowsOf(events: readonly RecordedEvent[]): FlowPoint[] {
    const points: FlowPoint[] = []
    for (const { event } of events.slice(0, MOST_FLOWS)) {
      if (event.type === 'area-mapped') {
        const flow = this.#flows.upcoming(points.filter(({ point }) => point === 'first').length)
        this.#begun.add(flow)
        points.push({ flow, point: 'first' })
      }
      if (event.type !== 'area-unmapped') continue
      const flow = this.#flows.at(event.context, event.ioas, event.iova)
      if (flow !== undefined) points.push({ flow, point: 'middle' })
    }
    return points
  }

  #happened({ event, stamp }: RecordedEvent, call: CallEvent | undefined): void {
    const at = this.#at(stamp)
    switch (event.type) {
      case 'context-opened':
        this.#tracks.contextOpened(event.context, at, event.node, event.pid)
        return
      case 'context-released':
        this.#tracks.contextReleased(event.context, at)
        return
      case 'object-created':
        this.#tracks.created(event.context, event.id, event.object, at)
        return
      case 'object-destroyed':
        this.#tracks.destroyed(event.context, event.id, at, event.by)
        return
      case 'area-mapped': {
        const flow = this.#flows.mapped(event.context, event.ioas, event.iova, event.length)
        this.#instant(this.#object(event.context, event.ioas), event, at, 'mapping', [
          { flow, point: this.#begun.delete(flow) ? 'middle' : 'first' },
        ])
        this.#count(event.context, event.ioas, event.length, at)
        return
      }
      case 'area-split':
        this.#flows.split(event.context, event.ioas, event.after)
        this.#instant(this.#object(event.context, event.ioas), event, at, 'mapping')
        return
      case 'area-unmapped': {
        const ended = this.#flows.unmapped(event.context, event.ioas, event.iova)
        this.#instant(
          this.#object(event.context, event.ioas),
          event,
          at,
          'mapping',
          ended === undefined
            ? []
            : [{ flow: ended.flow, point: ended.goesOn ? 'middle' : 'last' }],
        )
        this.#count(event.context, event.ioas, -event.length, at)
        return
      }
      case 'dma':
      case 'dma-fault': {
        const flow =
          event.ioas === undefined
            ? undefined
            : this.#flows.at(event.context, event.ioas, event.iova)
        const track = this.#tracks.device(event.device)
        this.#instant(
          track,
          event,
          at,
          event.type,
          flow === undefined ? [] : [{ flow, point: 'middle' }],
        )
        return
      }
      case 'memory-charged':
        this.#sink.counter(this.#tracks.charged(event.pid), at, event.charged)
        return
      default:
        this.#instant(this.#trackOf(event, call), event, at, 'state')
    }
  }

  /** Where an event belongs: to its device, else its object, else whoever caused it. */
  #trackOf(event: EngineEvent, call: CallEvent | undefined): TrackId {
    const members: Readonly<Record<string, unknown>> = { ...event }
    const { device, context } = members
    if (typeof device === 'string') return this.#tracks.device(device)
    if (typeof context === 'number') {
      for (const name of ['ioas', 'hwpt', 'object', 'access', 'viommu', 'queue'] as const) {
        const id = members[name]
        if (typeof id === 'number') return this.#object(context, id)
      }
      return this.#tracks.context(context)
    }
    if (call !== undefined) return this.#tracks.thread(call.pid, call.tid)
    const { pid, tid } = members
    return typeof pid === 'number'
      ? this.#tracks.thread(pid, typeof tid === 'number' ? tid : pid)
      : this.#tracks.findings()
  }

  #object(context: ContextNumber, id: number): TrackId {
    return this.#tracks.object(objectKey(context, id))
  }

  #instant(
    track: TrackId,
    event: EngineEvent,
    at: number,
    category: string,
    flows: readonly FlowPoint[] = [],
  ): void {
    this.#sink.instant(track, at, {
      name: event.type,
      category,
      args: eventArguments(event),
      flows,
    })
  }

  #count(context: ContextNumber, ioas: number, more: bigint, at: number): void {
    const key = objectKey(context, ioas)
    const bytes = (this.#mapped.get(key) ?? 0n) + more
    this.#mapped.set(key, bytes)
    this.#sink.counter(this.#tracks.mapped(key), at, Number(bytes))
  }

  #tellFindings(): void {
    for (const { code, severity, sentence, advice } of this.#findings)
      this.#sink.instant(this.#tracks.findings(), this.#now, {
        name: code,
        category: 'finding',
        args: [
          ['severity', severity],
          ['finding', sentence],
          ['advice', advice],
        ],
        flows: [],
      })
    this.#findings = []
  }
}
