/**
 * The doctor's report as SARIF 2.1.0 (OASIS), which GitHub code scanning and most CI systems show.
 *
 * What is found is found at run time, so its place is the program that ran; where the function that made
 * the call is known, it is the logical location.
 */
import { allFindingKinds } from './all-finders.ts'
import type { DoctorReport } from './doctor.ts'
import { type Evidence, evidenceText, type Finding, type FindingKind } from './finding.ts'
import type { ReportedRun } from './report.ts'

const SCHEMA = 'https://json.schemastore.org/sarif-2.1.0.json'
const HOME = 'https://www.npmjs.com/package/iommufd-user'

/** A SARIF log with one run. */
export const sarifLog = (report: DoctorReport, run: ReportedRun) => ({
  $schema: SCHEMA,
  version: '2.1.0',
  runs: [
    {
      tool: {
        driver: {
          name: 'iommufd-user',
          version: run.version,
          semanticVersion: run.version,
          informationUri: HOME,
          rules: allFindingKinds.map(rule),
        },
      },
      invocations: [{ executionSuccessful: true, commandLine: run.command.join(' ') }],
      artifacts: [{ location: { uri: run.artifact } }],
      columnKind: 'utf16CodeUnits',
      results: report.findings.map((finding) => result(finding, run)),
    },
  ],
})

export const reportSarif = (report: DoctorReport, run: ReportedRun): string =>
  `${JSON.stringify(sarifLog(report, run), undefined, 2)}\n`

const rule = ({ code, title, why, severity }: FindingKind) => ({
  id: code,
  name: code
    .split('-')
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join(''),
  shortDescription: { text: title },
  fullDescription: { text: why },
  help: { text: `${title} ${why}` },
  defaultConfiguration: { level: severity },
})

const result = (finding: Finding, run: ReportedRun) => ({
  ruleId: finding.code,
  ruleIndex: allFindingKinds.findIndex(({ code }) => code === finding.code),
  level: finding.severity,
  message: {
    text: [finding.sentence, ...finding.evidence.map(evidenceText), finding.advice].join('\n'),
  },
  locations: [
    location(
      finding.evidence.find(({ place }) => place !== undefined),
      run,
    ),
  ],
  partialFingerprints: { 'iommufdUser/v1': fingerprint(finding) },
  properties: {
    calls: finding.evidence.map(({ call }) => call ?? 0).filter((call) => call > 0),
  },
})

const location = (evidence: Evidence | undefined, { artifact }: ReportedRun) => {
  const symbol = evidence?.place?.symbol
  return {
    physicalLocation: {
      artifactLocation: { uri: artifact, index: 0 },
      region: { startLine: 1 },
    },
    ...(symbol === undefined
      ? {}
      : { logicalLocations: [{ name: symbol, fullyQualifiedName: symbol, kind: 'function' }] }),
  }
}

/** The same for the same finding in another run: numbers and addresses do not count. */
const fingerprint = ({ code, sentence }: Finding): string => {
  const text = `${code} ${sentence.replace(/0x[0-9a-f]+|\d+(\.\d+)?/g, '#')}`
  let hash = 0xcbf2_9ce4_8422_2325n
  for (const unit of text)
    hash = BigInt.asUintN(64, (hash ^ BigInt(unit.codePointAt(0) ?? 0)) * 0x100_0000_01b3n)
  return hash.toString(16).padStart(16, '0')
}
