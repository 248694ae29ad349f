import type { EngineEvent } from '../engine/events.ts'
import type { Observer, Stamp } from '../engine/observer.ts'
import { type Finding, findingText } from './finding.ts'
import type { TraceFilter } from './trace-filter.ts'
import { traceLine } from './trace-line.ts'

/** Writes a line for each call that the filter lets through. */
export class Trace implements Observer {
  readonly #write: (text: string) => void
  readonly #shows: TraceFilter

  constructor(write: (text: string) => void, shows: TraceFilter) {
    this.#write = write
    this.#shows = shows
  }

  event(event: EngineEvent, stamp?: Stamp): void {
    if (event.type === 'call' && this.#shows(event)) this.#write(`${traceLine(event, stamp)}\n`)
  }

  /** A finding, between the calls where it was made, as strace shows signals. */
  finding(finding: Finding): void {
    this.#write(`--- ${findingText(finding).replaceAll('\n', '\n---')}\n`)
  }
}
