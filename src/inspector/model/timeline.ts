/**
 * A run as a sequence of calls, and the moment after each of them.
 *
 * Position p is after the p-th call, 0 before the first; what happens between two calls (DMA, a release)
 * is seen after the second. What happens behind the last call is in `latest` alone. One moment in CHECKPOINT events is kept, which costs little
 * (moments share what stayed the same); the others are made from the one before.
 */
import type { EngineEvent } from '../../engine/events.ts'
import type { Stamp } from '../../engine/observer.ts'
import { Refusal } from '../../engine/reason.ts'
import { Diagnosis } from '../../watch/diagnosis.ts'
import { type Explanation, explain } from '../../watch/explanation.ts'
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
  /** The position at which it was made; one beyond the end for what happened behind the last call. */
  readonly position: number
}

const CHECKPOINT = 256
/** As many failed calls are explained with what they collided with. */
const EXPLAINED = 2000

export class Timeline {
  readonly events: EngineEvent[] = []
  readonly calls: CallEntry[] = []
  readonly findings: FindingEntry[] = []
  /** Positions of calls that failed, ascending. */
  readonly errors: number[] = []
  readonly #byNumber = new Map<number, number>()
  readonly #explanations = new Map<number, Explanation>()
  readonly #checkpoints: Moment[] = [nothingYet]
  readonly #diagnosis = new Diagnosis((finding) =>
    this.findings.push({ finding, position: this.#position }),
  )
  /** Of the event that is looked at: what happens in a call is told before the call itself. */
  #position = 0
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
    this.#position = this.end + (event.type === 'call' ? 0 : 1)
    this.#diagnosis.event(event, stamp)
    if (event.type === 'call' && event.result instanceof Refusal) this.#explain(event)
  }

  /** Nothing more comes: what can only be found then is found now. */
  finish(): void {
    this.#position = this.end + 1
    this.#diagnosis.end()
  }

  /** Why the call at this position failed, with the earlier calls that it collided with. */
  explanationAt(position: number): Explanation | undefined {
    return this.#explanations.get(position)
  }

  #explain(event: CallEvent): void {
    if (this.#explanations.size >= EXPLAINED) return
    const explanation = explain(event, this.#diagnosis.known.history)
    if (explanation === undefined) return
    this.#explanations.set(this.end, {
      ...explanation,
      evidence: explanation.evidence.map((one) => this.#diagnosis.withCaller(one)),
    })
  }

  /** The last position: how many calls there are. */
  get end(): number {
    return this.calls.length
  }

  /**
   * Where the call with this number is; for one that is in no list (a munmap, for one) the position at
   * which what it did is seen. Undefined where that is not known (yet).
   */
  positionOf(call: number): number | undefined {
    const known = this.#byNumber.get(call)
    if (known !== undefined) return known
    // Calls that wait end later than they were numbered; next to them is near enough.
    let low = 0
    let high = this.calls.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.calls[middle]?.event.call ?? 0) < call) low = middle + 1
      else high = middle
    }
    return low < this.calls.length ? low + 1 : undefined
  }

  /** After everything that has happened. */
  get latest(): Moment {
    return this.#latest
  }

  momentAt(position: number): Moment {
    if (this.#asked?.position === position) return this.#asked.moment
    const moment = this.#momentAfter(this.#endOf(position))
    this.#asked = { position, moment }
    return moment
  }

  /** What happened from the call before this position up to it, itself included. */
  eventsAt(position: number): readonly EngineEvent[] {
    return position === 0 ? [] : this.events.slice(this.#endOf(position - 1), this.#endOf(position))
  }

  /**
   * The last position at which something was mapped, as far as checkpoints tell; the end where nothing
   * ever was. Where a run is best looked at first: at its end it has mostly cleaned up.
   */
  lastMapped(): number {
    let index = this.#checkpoints.length - 1
    while (index > 0 && !hasAreas(this.#checkpoints[index])) index--
    let moment = this.#checkpoints[index] ?? nothingYet
    let found = this.end
    let position = this.#positionBehind(index * CHECKPOINT)
    for (const event of this.events.slice(index * CHECKPOINT)) {
      moment = fold(moment, event)
      if (event.type !== 'call') continue
      if (hasAreas(moment)) found = position
      position += 1
    }
    return found
  }

  /** The position of the first call that ends behind so many events. */
  #positionBehind(events: number): number {
    let low = 0
    let high = this.calls.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.calls[middle]?.end ?? 0) <= events) low = middle + 1
      else high = middle
    }
    return low + 1
  }

  #endOf(position: number): number {
    return position === 0 ? 0 : (this.calls[position - 1]?.end ?? this.events.length)
  }

  #momentAfter(events: number): Moment {
    const index = Math.floor(events / CHECKPOINT)
    let moment = this.#checkpoints[index] ?? nothingYet
    for (const event of this.events.slice(index * CHECKPOINT, events)) moment = fold(moment, event)
    return moment
  }
}

const hasAreas = (moment: Moment | undefined): boolean => {
  for (const context of moment?.contexts.values() ?? [])
    for (const { areas } of context.ioases.values()) if (areas.size > 0) return true
  return false
}
