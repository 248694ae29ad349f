import type { CallNumber, EngineEvent } from '../engine/events.ts'
import type { Observer, Stamp } from '../engine/observer.ts'
import { allFinders } from './all-finders.ts'
import { CallLog } from './call-log.ts'
import type { Finder, FinderKind, Known, Report } from './finder.ts'
import type { Evidence, Finding } from './finding.ts'
import { History } from './history.ts'

/**
 * Turns the event stream into findings. What is found during a call is reported when the call has ended,
 * since only then is it known who made it.
 */
export class Diagnosis implements Observer {
  readonly known: Known = { history: new History(), calls: new CallLog() }
  readonly interest?: 'objects'
  readonly #finders: readonly Finder[]
  readonly #report: Report
  #held: Finding[] = []
  #heldFor: CallNumber = 0

  /** `report` is told of each finding. */
  constructor(report: Report, finders: readonly FinderKind[] = allFinders) {
    this.#report = report
    this.#finders = finders.map(({ make }) => make(this.known))
    if (finders.every(({ interest }) => interest === 'objects')) this.interest = 'objects'
  }

  event(event: EngineEvent, _stamp?: Stamp): void {
    const { history, calls } = this.known
    if (this.#heldFor !== event.call) this.#letGo()
    if (event.type === 'call') calls.note(event)
    for (const find of this.#finders) find(event, this.#hold)
    history.apply(event)
    if (event.type === 'call' || event.call === 0) this.#letGo()
    else this.#heldFor = event.call
  }

  /** Nothing more comes. */
  end(): void {
    this.#letGo()
  }

  readonly #hold: Report = (finding) => {
    this.#held.push(finding)
  }

  #letGo(): void {
    if (this.#held.length === 0) return
    const held = this.#held
    this.#held = []
    for (const finding of held)
      this.#report({ ...finding, evidence: finding.evidence.map((one) => this.withCaller(one)) })
  }

  /** Adds who made the call that the evidence names. */
  withCaller(evidence: Evidence): Evidence {
    const caller = evidence.call === undefined ? undefined : this.known.calls.of(evidence.call)
    return caller === undefined ? evidence : { ...caller, ...evidence }
  }
}
