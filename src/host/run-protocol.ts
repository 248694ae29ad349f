/**
 * What the front process (the command that the user started) and the supervisor say to each other. The
 * front sends its order, a line of JSON, then signal numbers, one byte each; the supervisor sends a line
 * of JSON per report.
 */

/** What the supervisor is to do. */
export interface SupervisorOrder {
  readonly front: number
  /** The program and its arguments; their raw bytes are the last arguments of the front. */
  readonly command: readonly string[]
  /** Handed to whoever builds the hosted system. */
  readonly config: unknown
  readonly processGroup: number
  readonly inherited: Inherited
  readonly keepStderr: KeepStderr
}

/** How long the supervisor keeps standard error open, to write there: it may hold up whoever reads it. */
export type KeepStderr = 'not' | 'until-program-ends' | 'to-the-end'

/** What Node changes at its start, as it was before. */
export interface Inherited {
  /** Bit n-1: signal n, in hexadecimal. */
  readonly ignoredSignals: string
  readonly blockedSignals: string
  /** Soft RLIMIT_NOFILE; undefined if not known. */
  readonly openFiles: string | undefined
  /** Open descriptors. */
  readonly descriptors: readonly number[]
}

export type Report =
  | { readonly type: 'exited'; readonly status: number }
  | { readonly type: 'killed'; readonly signal: number }
  | { readonly type: 'stopped'; readonly signal: number }
  /** For people; printed to standard error. */
  | { readonly type: 'message'; readonly message: string }
  | { readonly type: 'failed'; readonly status: number; readonly message: string }
