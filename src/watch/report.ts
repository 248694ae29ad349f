/** What reports say of the run that they are about. */
import type { Severity } from './finding.ts'

export interface ReportedRun {
  /** Of iommufd-user. */
  readonly version: string
  /** The program and its arguments. */
  readonly command: readonly string[]
  /** URI of the program, relative to where the run was started if it is below that. */
  readonly artifact: string
  /** Findings of this severity and worse let a strict run fail. */
  readonly failOn: Severity
  /** No finding was that bad. */
  readonly passed: boolean
}

export const reportFormats = ['text', 'json', 'sarif', 'junit'] as const
export type ReportFormat = (typeof reportFormats)[number]
