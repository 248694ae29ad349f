/**
 * The command. `run` is to start its program soon: its supervisor is started before anything else, and
 * loads while the command line is read.
 */
import { loadBuilt } from '../host/built-file.ts'
import { startSupervisor } from '../host/supervisor-process.ts'
import { SUPERVISOR } from './supervisor.ts'

const early =
  process.argv[2] === 'run' && process.platform === 'linux'
    ? startSupervisor(SUPERVISOR)
    : undefined

const { command }: typeof import('./command-main.ts') = loadBuilt('cli/command-main.cjs')
void command(early)
