/**
 * A run as a sequence of calls, and the moment after each of them.
 *
 * Position p is after the p-th call, 0 before the first; what happens behind the last call (DMA, a
 * release) belongs to the last position. One moment in CHECKPOINT events is kept, which costs little
 * (moments share what stayed the same); the others are made from the one before.
 */
import type { EngineEvent } from '../../engine/events.ts'
import type { Stamp } from '../../engine/observer.ts'
import { Refusal } from '../../engine/reason.ts'
import { Diagnosis } from '../../watch/diagnosis.ts'
import type { Finding } from '../../watch/finding.ts'
import { fold } from './fold.ts'
import { type Moment, nothingYet } from './moment.ts'

export type CallEvent = EngineEvent & { readonly type: 'call' }

/** A call and when it was made. */
export interface CallEntry {
  readonly event: CallEvent
  readonly stamp: Stamp | undefined
  /** Events up to and including this one. */
  readonly end: number
}

export interface FindingEntry {
  readonly finding: Finding
  /** The position at which it was made. */
  readonly position: number
}

const CHECKPOINT = 256

export class Timeline {
  readonly events: EngineEvent[] = []
  readonly calls: CallEntry[] = []
  readonly findings: FindingEntry[] = []
  /** Positions of calls that failed, ascending. */
  readonly errors: number[] = []
  readonly #byNumber = new Map<number, number>()
  readonly #checkpoints: Moment[] = [nothingYet]
  readonly #diagnosis = new Diagnosis((finding) =>
    this.findings.push({ finding, position: this.calls.length }),
  )
  #latest = nothingYet
  #asked: { readonly position: number; readonly moment: Moment } | undefined

  append(event: EngineEvent, stamp?: Stamp): void {
    this.events.push(event)
    this.#latest = fold(this.#latest, event)
    if (this.events.length % CHECKPOINT === 0) this.#checkpoints.push(this.#latest)
    if (event.type === 'call') {
      this.calls.push({ event, stamp, end: this.events.length })
      this.#byNumber.set(event.call, this.calls.length)
      if (event.result instanceof Refusal) this.errors.push(this.calls.length)
    }
    this.#diagnosis.event(event, stamp)
  }

  /** The last position: how many calls there are. */
  get end(): number {
    return this.calls.length
  }

  /** Where the call with this number is; undefined for one that is not known (yet). */
  positionOf(call: number): number | undefined {
    return this.#byNumber.get(call)
  }

  momentAt(position: number): Moment {
    if (position >= this.end) return this.#latest
    if (this.#asked?.position === position) return this.#asked.moment
    const moment = this.#momentAfter(position === 0 ? 0 : this.#endOf(position))
    this.#asked = { position, moment }
    return moment
  }

  /** What the call at this position did, itself included; at the last position also what came after. */
  eventsAt(position: number): readonly EngineEvent[] {
    if (position === 0) return []
    const from = position === 1 ? 0 : this.#endOf(position - 1)
    return this.events.slice(from, position >= this.end ? undefined : this.#endOf(position))
  }

  #endOf(position: number): number {
    return this.calls[position - 1]?.end ?? this.events.length
  }

  #momentAfter(events: number): Moment {
    const index = Math.floor(events / CHECKPOINT)
    let moment = this.#checkpoints[index] ?? nothingYet
    for (const event of this.events.slice(index * CHECKPOINT, events)) moment = fold(moment, event)
    return moment
  }
}
