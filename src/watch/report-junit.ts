/**
 * The doctor's report as JUnit XML, which CI systems show as tests: one for each kind of finding, which
 * fails if such a finding is bad enough, and one that lists failed calls, which never fails.
 */
import { allFindingKinds } from './all-finders.ts'
import type { DoctorReport } from './doctor.ts'
import { type Finding, type FindingKind, findingText, isAtLeast } from './finding.ts'
import type { ReportedRun } from './report.ts'
import { explanationText } from './report-text.ts'

const SUITE = 'iommufd-user doctor'

export const reportJunit = (report: DoctorReport, run: ReportedRun): string => {
  const cases = allFindingKinds.map((kind) => ({
    kind,
    found: report.findings.filter(({ code }) => code === kind.code),
  }))
  const failures = cases.filter(({ found }) => found.some((one) => fails(one, run))).length
  const totals = `tests="${cases.length + 1}" failures="${failures}" errors="0" skipped="0"`
  const name = xml(`${SUITE}: ${run.command.join(' ')}`)
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="${xml(SUITE)}" ${totals}>`,
    `  <testsuite name="${name}" ${totals}>`,
    ...cases.flatMap(({ kind, found }) => findingCase(kind, found, run)),
    ...failedCallsCase(report),
    '  </testsuite>',
    '</testsuites>',
    '',
  ].join('\n')
}

const fails = ({ severity }: Finding, { failOn }: ReportedRun): boolean =>
  isAtLeast(severity, failOn)

const findingCase = (
  { code, title }: FindingKind,
  found: readonly Finding[],
  run: ReportedRun,
): readonly string[] => {
  const open = `    <testcase classname="iommufd-user.findings" name="${xml(`${code}: ${title}`)}"`
  if (found.length === 0) return [`${open}/>`]
  const [first] = found.filter((one) => fails(one, run))
  const text = xml(found.map(findingText).join('\n\n'))
  if (first === undefined)
    return [`${open}>`, `      <system-out>${text}</system-out>`, '    </testcase>']
  return [
    `${open}>`,
    `      <failure message="${xml(first.sentence)}" type="${code}">${text}</failure>`,
    '    </testcase>',
  ]
}

const failedCallsCase = ({ failed }: DoctorReport): readonly string[] => {
  const open = '    <testcase classname="iommufd-user.calls" name="calls that failed, explained"'
  if (failed.length === 0) return [`${open}/>`]
  const text = failed.flatMap(({ explained }) => explained.map(explanationText)).join('\n\n')
  return [`${open}>`, `      <system-out>${xml(text)}</system-out>`, '    </testcase>']
}

/** XML 1.0 has no way to write control characters. */
const xml = (text: string): string =>
  text
    .replace(/[^\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/gu, '\ufffd')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
