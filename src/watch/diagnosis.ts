import type { EngineEvent } from '../engine/events.ts'
import type { Observer, Stamp } from '../engine/observer.ts'
import { containerSplit } from './container-split.ts'
import { deviceFailed } from './device-failed.ts'
import type { Finding } from './finding.ts'

/**
 * Looks at every event of a run and reports what it finds. It keeps its own state, bounded; one is
 * made for each run.
 */
export type Finder = (event: EngineEvent, report: (finding: Finding) => void) => void

/** Every finder there is. A new kind of finding is a new file with a finder, named here. */
const allFinders = (): Finder[] => [containerSplit(), deviceFailed()]

/** Turns the event stream into findings. */
export class Diagnosis implements Observer {
  readonly #finders: readonly Finder[]
  readonly #report: (finding: Finding) => void

  /** `report` is told of each finding when it is made. */
  constructor(report: (finding: Finding) => void, finders: readonly Finder[] = allFinders()) {
    this.#report = report
    this.#finders = finders
  }

  event(event: EngineEvent, _stamp?: Stamp): void {
    for (const find of this.#finders) find(event, this.#report)
  }
}
