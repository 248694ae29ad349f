import type { Severity } from '../watch/finding.ts'
import type { ReportFormat } from '../watch/report.ts'
import type { DeviceSpec } from './device-spec.ts'

/** What the supervisor of a run needs to know; it travels to the supervisor as JSON. */
export interface RunConfig {
  /** What simulated devices there are, in order. */
  readonly devices: readonly DeviceSpec[]
  readonly container: 'iommufd' | 'type1'
  readonly compatIoas: 'linux' | 'strict'
  readonly testInterface: boolean
  /** Null for the usual one. */
  readonly platform: string | null
  /** File for trace lines, `-` for standard error; null for none. */
  readonly trace: string | null
  readonly filters: readonly string[]
  /** File for the recording; null for none. */
  readonly record: string | null
  /** Somebody looks at the recording as it grows. */
  readonly inspected: boolean
  /** The program and its arguments, for the recording. */
  readonly command: readonly string[]
  /** The step that fails, counted over the whole run; null for none. */
  readonly failNth: number | null
  /** When findings are printed: as they are made, when the program has ended, or never. */
  readonly findings: 'at-once' | 'at-end' | 'never'
  /** Null: only what is serious is said. */
  readonly doctor: DoctorConfig | null
}

export interface DoctorConfig {
  readonly strict: boolean
  readonly failOn: Severity
  readonly format: ReportFormat
  /** File for the report, `-` for standard error. */
  readonly output: string
  /** URI of the program, as reports name it. */
  readonly artifact: string
}
