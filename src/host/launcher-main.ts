/**
 * The thread that starts the program: it alone is put under the seccomp filter, and the program, its
 * child, inherits that. It then waits for the program and says how it ended.
 *
 * A thread rather than a process: the listener is then in the supervisor's own descriptor table.
 */
import { workerData } from 'node:worker_threads'
import { launch } from './launcher.ts'

launch(workerData)
