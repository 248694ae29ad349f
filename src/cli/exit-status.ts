/** Exit statuses of our own; `run` otherwise passes on the program's, like `env`. */
export const ExitStatus = {
  OK: 0,
  /** `check` found that this machine cannot do it; `--doctor=strict` found something. */
  NEGATIVE: 1,
  /** The command line of a command other than `run` is wrong. */
  USAGE: 2,
  /** `run` itself failed, before or beside the program. */
  RUN_FAILED: 125,
  NOT_EXECUTABLE: 126,
  NOT_FOUND: 127,
} as const
