import { endLike, startRun } from '../host/run.ts'
import type { RunOptions } from './run-options.ts'

/** `run PROGRAM ARGUMENTS`: returns the exit status, unless this process dies as the program did. */
export const runCommand = async (
  command: readonly string[],
  options: RunOptions,
): Promise<number> => {
  const end = await startRun({ command, supervisor: 'cli/supervisor-main.js', config: options })
  if (end.type === 'failed') process.stderr.write(`iommufd-user: ${end.message}\n`)
  endLike(end)
  return Number(process.exitCode)
}
