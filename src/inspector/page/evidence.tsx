import { type Evidence, evidenceText } from '../../watch/finding.ts'
import { goToCall } from './state.ts'

/** What a finding or a refusal rests on, with the way to the calls that it names. */
export const EvidenceList = ({ evidence }: { readonly evidence: readonly Evidence[] }) =>
  evidence.length === 0 ? null : (
    <ul>
      {evidence.map((one) => (
        <li key={evidenceText(one)}>
          {evidenceText(one)}{' '}
          {one.call !== undefined && one.call > 0 && (
            <button type="button" class="link" onClick={() => goToCall(one.call ?? 0)}>
              show
            </button>
          )}
        </li>
      ))}
    </ul>
  )
