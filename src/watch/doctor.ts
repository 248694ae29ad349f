import type { CallNumber, EngineEvent } from '../engine/events.ts'
import type { Observer, Stamp } from '../engine/observer.ts'
import { Diagnosis } from './diagnosis.ts'
import { type Explanation, explain } from './explanation.ts'
import { type Finding, isAtLeast, type Severity } from './finding.ts'

/** Calls that failed alike: the same request, for the same reason. */
export interface FailedCalls {
  /** The first few, each explained. */
  readonly explained: Explanation[]
  /** The numbers of the others, as far as they are kept. */
  readonly others: CallNumber[]
  /** How many failed so, in all. */
  count: number
}

/** What the doctor has to say about a run. Data, for people and for machines (`report-*.ts`). */
export interface DoctorReport {
  /** Calls that concerned us. */
  readonly calls: number
  readonly failed: readonly FailedCalls[]
  /** In order of their discovery. */
  readonly findings: readonly Finding[]
}

/** As many calls that failed alike are explained each, and as many others named. */
const EXPLAINED = 3
const NAMED = 32
/** As many findings are kept: a program that makes more of them has been told enough. */
const KEPT = 1000

/** Explains failed calls and collects findings, from the events of a run or of a recording. */
export class Doctor implements Observer {
  readonly #diagnosis: Diagnosis
  readonly #failed = new Map<string, FailedCalls>()
  readonly #findings: Finding[] = []
  #calls = 0

  /** `says` is told of each explanation and finding at once. */
  constructor(
    says: {
      readonly explanation?: (explanation: Explanation) => void
      readonly finding?: (finding: Finding) => void
    } = {},
  ) {
    this.#diagnosis = new Diagnosis((finding) => {
      if (this.#findings.length < KEPT) this.#findings.push(finding)
      says.finding?.(finding)
    })
    this.#explained = (explanation) => says.explanation?.(explanation)
  }

  readonly #explained: (explanation: Explanation) => void

  event(event: EngineEvent, stamp?: Stamp): void {
    this.#diagnosis.event(event, stamp)
    if (event.type !== 'call') return
    this.#calls += 1
    if (typeof event.result === 'number') return
    const key = `${event.pid} ${event.request} ${event.operation} ${event.result.code}`
    const known = this.#failed.get(key) ?? { explained: [], others: [], count: 0 }
    this.#failed.set(key, known)
    known.count += 1
    if (known.explained.length >= EXPLAINED) {
      if (known.others.length < NAMED) known.others.push(event.call)
      return
    }
    const explanation = this.#explain(event)
    if (explanation === undefined) return
    known.explained.push(explanation)
    this.#explained(explanation)
  }

  #explain(event: EngineEvent & { type: 'call' }): Explanation | undefined {
    const explanation = explain(event, this.#diagnosis.known.history)
    return (
      explanation && {
        ...explanation,
        evidence: explanation.evidence.map((one) => this.#diagnosis.withCaller(one)),
      }
    )
  }

  /** What there is to say so far. */
  report(): DoctorReport {
    this.#diagnosis.end()
    return { calls: this.#calls, failed: [...this.#failed.values()], findings: [...this.#findings] }
  }
}

/** Findings that are at least this bad: what `--doctor=strict` makes a run fail for. */
export const findingsThatFail = (report: DoctorReport, threshold: Severity): readonly Finding[] =>
  report.findings.filter(({ severity }) => isAtLeast(severity, threshold))
