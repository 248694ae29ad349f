import type { EngineEvent } from '../engine/events.ts'
import type { Stamp } from '../engine/observer.ts'
import type { RecordedEvent } from './recording.ts'
import type { CallEvent } from './trace-filter.ts'

/** A call and what happened in it; without `call`, what no call caused. */
export interface CallGroup {
  readonly call: CallEvent | undefined
  readonly stamp: Stamp | undefined
  /** In order, without the call itself. */
  readonly events: readonly RecordedEvent[]
}

/** Events tell of a call at its end: collects what came before it. */
export class CallGroups {
  readonly #take: (group: CallGroup) => void
  #waiting: RecordedEvent[] = []

  constructor(take: (group: CallGroup) => void) {
    this.#take = take
  }

  event(event: EngineEvent, stamp?: Stamp): void {
    if (event.type !== 'call') {
      this.#waiting.push({ event, stamp })
      return
    }
    const mine = this.#waiting.filter((each) => each.event.call === event.call)
    this.#waiting = this.#waiting.filter((each) => each.event.call !== event.call)
    this.end()
    this.#take({ call: event, stamp, events: mine })
  }

  /** Nothing more comes. */
  end(): void {
    const events = this.#waiting
    this.#waiting = []
    if (events.length > 0) this.#take({ call: undefined, stamp: events[0]?.stamp, events })
  }
}
