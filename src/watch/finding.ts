import type { CallNumber, CodePlace } from '../engine/events.ts'

/**
 * How bad it is: `error`, the program will go wrong on real hardware; `warning`, it works but does
 * something that it most likely does not mean; `note`, worth knowing.
 */
export type Severity = 'error' | 'warning' | 'note'

/** Worst first. */
export const severities: readonly Severity[] = ['error', 'warning', 'note']

/** Is `severity` as bad as `threshold`, or worse? */
export const isAtLeast = (severity: Severity, threshold: Severity): boolean =>
  severities.indexOf(severity) <= severities.indexOf(threshold)

/** What a finding rests on: a call, an object, a process. */
export interface Evidence {
  /** The call that shows it; 0 or absent for what no call caused. */
  readonly call?: CallNumber
  /** `IOMMU_IOAS_MAP`; added by the diagnosis, as are process, thread and place. */
  readonly name?: string
  readonly pid?: number
  readonly tid?: number
  readonly place?: CodePlace
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

/** A kind of finding, for documentation and for formats that list rules. */
export interface FindingKind {
  readonly code: string
  readonly severity: Severity
  /** Said at the end of a run also when nobody asked: the program does not do what it seems to do. */
  readonly serious?: true
  /** What it is: one full sentence. */
  readonly title: string
  /** Why it matters, and where real programs met it. */
  readonly why: string
}

export const placeText = ({ symbol, offset, module }: CodePlace): string =>
  `${symbol ?? ''}+0x${offset.toString(16)} of ${module.slice(module.lastIndexOf('/') + 1)}`

export const evidenceText = ({ call, name, pid, tid, place, what }: Evidence): string => {
  const who =
    pid === undefined
      ? []
      : [`process ${pid}${tid === undefined || tid === pid ? '' : `, thread ${tid}`}`]
  const origin = [...who, ...(place === undefined ? [] : [placeText(place)])].join(', ')
  const head = call ? `call #${call}${name === undefined ? '' : ` ${name}`}: ` : ''
  return `${head}${what}${origin === '' ? '' : ` (${origin})`}`
}

/** A finding for a terminal: the sentence, then evidence and advice indented, each on its own line. */
export const findingText = (finding: Finding): string =>
  [
    `${finding.severity}: ${finding.sentence} [${finding.code}]`,
    ...finding.evidence.map((evidence) => `    ${evidenceText(evidence)}`),
    `    ${finding.advice}`,
  ].join('\n')
