/** The chosen call: its arguments by name, what it did, and why it failed. */
import { Refusal } from '../../engine/reason.ts'
import {
  argumentRows,
  caller,
  callMeaning,
  callName,
  duration,
  resultText,
} from '../model/call-text.ts'
import { effectText } from '../model/effect-text.ts'
import { around } from '../model/map-view.ts'
import { ioasOfCall, refusedRanges } from '../model/refused-ranges.ts'
import type { CallEntry, CallEvent } from '../model/timeline.ts'
import { EvidenceList } from './evidence.tsx'
import { call, ioas, position, showArea, timeline } from './state.ts'

/** As many effects of one call as are listed. */
const MOST = 60

export const CallDetails = () => {
  const entry = call.value
  if (entry === undefined)
    return (
      <section class="details" aria-label="The chosen call">
        <p class="soft">Before the first call. Choose one to see its arguments and what it did.</p>
      </section>
    )
  const { event, stamp } = entry
  const rows = argumentRows(event)
  const effects = timeline
    .eventsAt(position.value)
    .map(effectText)
    .filter((text) => text !== undefined)
  return (
    <section class="details" aria-label="The chosen call">
      <div class="row">
        <h2 class="mono grow">{callName(event)}</h2>
        <Result entry={entry} />
      </div>
      <p class="soft">
        {callMeaning(event)} Call #{event.call}, process {caller(entry)}
        {event.file === undefined ? '' : `, on ${event.file}`}
        {stamp?.fd === undefined ? '' : ` (descriptor ${stamp.fd})`}
        {stamp === undefined ? '' : `, at ${(stamp.at / 1e6).toFixed(3)} ms`}
        {stamp?.took === undefined ? '' : `, took ${duration(stamp.took)}`}.
      </p>
      {event.result instanceof Refusal && <Reason event={event} refusal={event.result} />}
      {rows.length > 0 && (
        <table>
          <thead>
            <tr>
              <th>Field</th>
              <th>Passed</th>
              <th>Answered</th>
            </tr>
          </thead>
          <tbody>
            {rows.map(({ name, value, answer, meaning }) => (
              <tr key={name} title={meaning}>
                <td class="mono name">{name}</td>
                <td class="mono">{value}</td>
                <td class="mono">{answer ?? ''}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {effects.length > 0 && (
        <details open={effects.length <= 4}>
          <summary>
            {effects.length === 1 ? 'One thing happened' : `${effects.length} things happened`}
          </summary>
          <ul>
            {effects.slice(0, MOST).map((text, index) => (
              <li key={`${index} ${text}`}>{text}</li>
            ))}
          </ul>
          {effects.length > MOST && <p class="soft">and {effects.length - MOST} more.</p>}
        </details>
      )}
    </section>
  )
}

const Result = ({ entry: { event } }: { readonly entry: CallEntry }) => (
  <span class={`mono${event.result instanceof Refusal ? ' error' : ''}`}>
    = {resultText(event)}
  </span>
)

interface ReasonProps {
  readonly event: CallEvent
  readonly refusal: Refusal
}

/** Shows what the refusal is about in the address space. */
const showRefused = (event: CallEvent): void => {
  const [first, ...others] = refusedRanges(event)
  const id = ioasOfCall(event) ?? ioas.value?.id
  if (first === undefined || id === undefined) return
  let { start, last } = first
  for (const other of others) {
    if (other.start < start && last - other.start < FAR) start = other.start
    if (other.last > last && other.last - start < FAR) last = other.last
  }
  showArea(id, around({ start, last }))
}

/** What lies further apart is not shown in one view. */
const FAR = 1n << 32n

const Reason = ({ event, refusal }: ReasonProps) => (
  <div class="reason">
    <p>
      <strong>{refusal.kind.errno}</strong>: {refusal.say()}.
    </p>
    <EvidenceList evidence={timeline.explanationAt(position.value)?.evidence ?? []} />
    {refusal.kind.advice !== undefined && <p>{refusal.kind.advice}</p>}
    <p class="soft">
      <code>{refusal.code}</code>, rule {refusal.kind.cite}
      {refusedRanges(event).length > 0 && (
        <>
          {' · '}
          <button type="button" class="link" onClick={() => showRefused(event)}>
            show in the address space
          </button>
        </>
      )}
    </p>
  </div>
)
