/** The doctor's report as JSON, for scripts. Lengths and addresses are in the sentences. */
import type { DoctorReport } from './doctor.ts'
import type { ReportedRun } from './report.ts'

/** Changes when what is there changes its meaning; new members are no change. */
const VERSION = 1

export const reportJson = (report: DoctorReport, run: ReportedRun): string =>
  `${JSON.stringify(
    {
      version: VERSION,
      tool: { name: 'iommufd-user', version: run.version },
      command: run.command,
      passed: run.passed,
      calls: report.calls,
      failedCalls: report.failed.map(({ explained, others, count }) => ({
        count,
        explained,
        others,
      })),
      findings: report.findings,
    },
    undefined,
    2,
  )}\n`
