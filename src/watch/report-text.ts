/** The doctor's report for people. */
import type { DoctorReport, FailedCalls } from './doctor.ts'
import { count, list } from './english.ts'
import type { Explanation } from './explanation.ts'
import { evidenceText, findingText, severities } from './finding.ts'

/** A failed call for a terminal: the sentence, then evidence and advice indented, each on its own line. */
export const explanationText = (explanation: Explanation): string =>
  [
    `call #${explanation.call}${who(explanation)}: ${explanation.sentence} [${explanation.code}]`,
    ...explanation.evidence.map((evidence) => `    ${evidenceText(evidence)}`),
    ...(explanation.advice === '' ? [] : [`    ${explanation.advice}`]),
  ].join('\n')

const who = ({ pid, tid, place }: Explanation): string => {
  const text = evidenceText({ pid, tid, ...(place === undefined ? {} : { place }), what: '' })
  return text
}

/** Blocks with an empty line between them; the last line says how much there was. */
export const reportText = (report: DoctorReport): string => {
  const findings = severities.flatMap((severity) =>
    report.findings.filter((finding) => finding.severity === severity),
  )
  const blocks = [...report.failed.map(failedText), ...findings.map(findingText)]
  return `${[...blocks, summaryText(report)].join('\n\n')}\n`
}

const failedText = ({ explained, others, count: all }: FailedCalls): string => {
  const rest = all - explained.length
  const numbers = others.slice(0, 8).map((call) => `#${call}`)
  const named = rest > numbers.length ? [...numbers, 'others'] : numbers
  return [
    ...explained.map(explanationText),
    ...(rest === 0 ? [] : [`    ${count(rest, 'more call')} failed so: ${list(named)}.`]),
  ].join('\n\n')
}

/** `The doctor looked at 57 calls: 2 failed; 1 error, 1 warning and 1 note.` */
export const summaryText = ({ calls, failed, findings }: DoctorReport): string => {
  const failures = failed.reduce((sum, { count: some }) => sum + some, 0)
  const found = severities
    .map((severity) => ({
      severity,
      number: findings.filter((finding) => finding.severity === severity).length,
    }))
    .filter(({ number }) => number > 0)
    .map(({ severity, number }) => count(number, severity))
  return `The doctor looked at ${count(calls, 'call')}: ${failures === 0 ? 'none' : failures} failed; ${found.length === 0 ? 'no findings' : list(found)}.`
}
