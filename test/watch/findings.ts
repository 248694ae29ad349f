import type { EngineEvent } from '../../src/engine/events.ts'
import { Diagnosis } from '../../src/watch/diagnosis.ts'
import type { FinderKind } from '../../src/watch/finder.ts'
import type { Finding } from '../../src/watch/finding.ts'

/** What is found in a stream of events, by all finders or by some. */
export const findingsOf = (
  events: readonly EngineEvent[],
  finders?: readonly FinderKind[],
): Finding[] => {
  const findings: Finding[] = []
  const diagnosis = new Diagnosis((finding) => findings.push(finding), finders)
  for (const event of events) diagnosis.event(event)
  diagnosis.end()
  return findings
}
