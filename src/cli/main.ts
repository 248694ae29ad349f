/**
 * The command. Only what parses the command line is loaded at once; each command loads its own rest,
 * so that `run` starts the program soon.
 */
import { createCommand } from './command-line.ts'
import { normalise } from './run-options.ts'

const program = createCommand()
await program.parseAsync(normalise(program, process.argv.slice(2)), { from: 'user' })
