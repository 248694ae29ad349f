/** The command itself, which main.ts loads. Each command loads its own rest. */
import { offerSupervisor, type SupervisorProcess } from '../host/supervisor-process.ts'
import { createCommand } from './command-line.ts'
import { normalise } from './run-options.ts'
import { SUPERVISOR } from './supervisor.ts'

/** `early` is a supervisor that has been started for `run` already. */
export const command = async (early: SupervisorProcess | undefined): Promise<void> => {
  if (early !== undefined) offerSupervisor(SUPERVISOR, early)
  const program = createCommand()
  await program.parseAsync(normalise(program, process.argv.slice(2)), { from: 'user' })
}
