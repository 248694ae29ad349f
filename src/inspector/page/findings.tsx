/** What was found out about the program, up to the moment that is shown. */
import type { FindingEntry } from '../model/timeline.ts'
import { EvidenceList } from './evidence.tsx'
import { chosenPosition, goTo, position, timeline, version } from './state.ts'

export const Findings = () => {
  version.value
  const here = chosenPosition.value === undefined ? Number.POSITIVE_INFINITY : position.value
  const seen = timeline.findings.filter((entry) => entry.position <= here)
  const later = timeline.findings.length - seen.length
  return (
    <div class="stack">
      {seen.length === 0 && <p class="soft">Nothing was found up to this moment.</p>}
      {seen.map((entry, index) => (
        <One key={`${index} ${entry.finding.code}`} entry={entry} />
      ))}
      {later > 0 && (
        <p class="soft">
          {later === 1 ? 'One more is' : `${later} more are`} found later in the run.
        </p>
      )}
    </div>
  )
}

const One = ({ entry: { finding, position: at } }: { readonly entry: FindingEntry }) => (
  <article class={`finding ${finding.severity}-severity`}>
    <div class="row">
      <span class="badge">{finding.severity}</span>
      <code class="soft">{finding.code}</code>
      <button
        type="button"
        class="link"
        onClick={() => {
          goTo(at)
        }}
      >
        go there
      </button>
    </div>
    <p>{finding.sentence}</p>
    <EvidenceList evidence={finding.evidence} />
    <p class="soft">{finding.advice}</p>
  </article>
)
