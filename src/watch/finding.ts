import type { CallNumber } from '../engine/events.ts'

/**
 * How bad it is: `error`, the program will go wrong on real hardware; `warning`, it works but does
 * something that it most likely does not mean; `note`, worth knowing.
 */
export type Severity = 'error' | 'warning' | 'note'

export const severities: readonly Severity[] = ['error', 'warning', 'note']

/** What a finding rests on: a call, an object, a process. */
export interface Evidence {
  /** The call that shows it; 0 or absent for what no call caused. */
  readonly call?: CallNumber
  readonly pid?: number
  readonly tid?: number
  /** A clause: `device mock1 was given IOAS 3`. */
  readonly what: string
}

/** One thing that the person running the program should know. Data; `findingText` makes it prose. */
export interface Finding {
  readonly severity: Severity
  /** Stable, unique, kebab-case; the key under which the documentation describes it. */
  readonly code: string
  /** What happened, to what and why: one full sentence. */
  readonly sentence: string
  readonly evidence: readonly Evidence[]
  /** What to do about it: one full sentence. */
  readonly advice: string
}

export const evidenceText = ({ call, pid, tid, what }: Evidence): string => {
  const who =
    pid === undefined
      ? ''
      : ` (process ${pid}${tid === undefined || tid === pid ? '' : `, thread ${tid}`})`
  return `${call ? `call #${call}: ` : ''}${what}${who}`
}

/** A finding for a terminal: the sentence, then evidence and advice indented, each on its own line. */
export const findingText = (finding: Finding): string =>
  [
    `${finding.severity}: ${finding.sentence} [${finding.code}]`,
    ...finding.evidence.map((evidence) => `    ${evidenceText(evidence)}`),
    `    ${finding.advice}`,
  ].join('\n')
