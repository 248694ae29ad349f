/** What a run says about the program: everything with --doctor, else only what is serious. */
import { writeFileSync } from 'node:fs'
import type { Observer } from '../engine/observer.ts'
import { isSerious, seriousFinders, seriousFindersWithoutDma } from '../watch/all-finders.ts'
import { Diagnosis } from '../watch/diagnosis.ts'
import { Doctor, findingsThatFail } from '../watch/doctor.ts'
import { count } from '../watch/english.ts'
import { type Finding, findingText } from '../watch/finding.ts'
import type { ReportedRun, ReportFormat } from '../watch/report.ts'
import { reportJson } from '../watch/report-json.ts'
import { reportJunit } from '../watch/report-junit.ts'
import { reportSarif } from '../watch/report-sarif.ts'
import { reportText } from '../watch/report-text.ts'
import type { Trace } from '../watch/trace.ts'
import { ExitStatus } from './exit-status.ts'
import { explanationBox, findingBox } from './page.ts'
import type { DoctorConfig, RunConfig } from './run-config.ts'
import { STANDARD_ERROR } from './run-options.ts'
import type { TextSink } from './text-sink.ts'
import { version } from './version.ts'

/** Somebody who watches a run, and speaks when the program has ended. */
export interface RunDoctor {
  readonly observer: Observer
  /** Speaks; returns the exit status to use instead of the program's own, if any. */
  programEnded(status: number): number | undefined
  /** No process is left. */
  ended(): void
}

export const runDoctor = (
  config: RunConfig,
  trace: Trace | undefined,
  standardError: TextSink,
): RunDoctor | undefined => {
  if (config.doctor !== null) return askedDoctor(config, config.doctor, trace, standardError)
  return config.findings === 'never' ? undefined : unaskedDoctor(config, trace, standardError)
}

const askedDoctor = (
  { command, findings }: RunConfig,
  config: DoctorConfig,
  trace: Trace | undefined,
  standardError: TextSink,
): RunDoctor => {
  const atOnce = findings === 'at-once'
  const doctor = new Doctor({
    explanation: (explanation) => {
      if (atOnce) standardError.write(explanationBox(explanation))
    },
    finding: (finding) => {
      trace?.finding(finding)
      if (atOnce) standardError.write(findingBox(finding))
    },
  })
  let written: string | undefined
  const write = (): boolean => {
    const report = doctor.report()
    const bad = findingsThatFail(report, config.failOn)
    const run: ReportedRun = {
      version: version(),
      command,
      artifact: config.artifact,
      failOn: config.failOn,
      passed: bad.length === 0,
    }
    const text = reporters[config.format](report, run)
    if (config.output !== STANDARD_ERROR) {
      // Whoever waited for the program may be reading it: it is written again only if there is more.
      if (text !== written) writeFileSync(config.output, text)
      written = text
    }
    // What was said at once is not said again.
    else if (config.format !== 'text' || !atOnce) standardError.write(text)
    return run.passed
  }
  return {
    observer: doctor,
    programEnded: (status) => {
      const passed = write()
      return config.strict && !passed && status === 0 ? ExitStatus.NEGATIVE : undefined
    },
    // Processes that the program left behind may have done something worth telling.
    ended: () => {
      if (config.output !== STANDARD_ERROR) write()
    },
  }
}

const reporters: Readonly<
  Record<ReportFormat, (report: ReturnType<Doctor['report']>, run: ReportedRun) => string>
> = {
  text: (report) => marked(reportText(report)),
  json: reportJson,
  sarif: reportSarif,
  junit: reportJunit,
}

/** Says who speaks, at each block. */
const marked = (text: string): string =>
  text
    .split('\n\n')
    .map((block) => (block.startsWith(' ') ? block : `iommufd-user: ${block}`))
    .join('\n\n')

/** As many findings are printed to somebody who did not ask. */
const UNASKED = 4

const unaskedDoctor = (
  config: RunConfig,
  trace: Trace | undefined,
  standardError: TextSink,
): RunDoctor => {
  const kept: Finding[] = []
  const diagnosis = new Diagnosis(
    (finding) => {
      if (!isSerious(finding.code)) return
      // In a trace, a finding is best seen where it was made.
      trace?.finding(finding)
      if (config.findings === 'at-once') standardError.write(findingBox(finding))
      else if (config.trace !== STANDARD_ERROR) kept.push(finding)
    },
    config.devices.length > 0 ? seriousFinders : seriousFindersWithoutDma,
  )
  return {
    observer: diagnosis,
    programEnded: () => {
      diagnosis.end()
      if (config.findings === 'at-end') standardError.write(summary(kept.splice(0)))
      return undefined
    },
    ended: () => {},
  }
}

const summary = (findings: readonly Finding[]): string => {
  const said = findings
    .slice(0, UNASKED)
    .map((finding) => `iommufd-user: ${findingText(finding)}\n`)
  const rest = findings.length - said.length
  if (rest > 0) said.push(`iommufd-user: ${count(rest, 'finding')} more: run it with --doctor.\n`)
  return said.join('')
}
