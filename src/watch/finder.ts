import type { EngineEvent } from '../engine/events.ts'
import type { CallLog } from './call-log.ts'
import type { Finding, FindingKind } from './finding.ts'
import type { History } from './history.ts'

export type Report = (finding: Finding) => void

/**
 * Looks at every event of a run and reports what it finds. It keeps its own state, bounded; one is
 * made for each run. It only looks: events may as well come from a recording.
 */
export type Finder = (event: EngineEvent, report: Report) => void

/** What finders may look things up in. */
export interface Known {
  /** As it was before the event. */
  readonly history: History
  readonly calls: CallLog
}

/** A finder and what it can find. */
export interface FinderKind {
  /** It looks at nothing that an observer with this interest is not told of. */
  readonly interest?: 'objects'
  readonly finds: readonly FindingKind[]
  readonly make: (known: Known) => Finder
}
