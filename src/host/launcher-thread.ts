/** Starting the thread that will start the program (launcher-main.ts). It takes long to come up: start it first. */
import { Worker } from 'node:worker_threads'
import { builtFile } from './built-file.ts'
import type { Launch } from './launcher.ts'

export interface LauncherThread {
  /** See `Word` in launcher.ts. */
  readonly words: Int32Array
  /** What to do once it is told to go. */
  prepare(launch: Launch): void
}

const WORDS = 16

export const startLauncherThread = (): LauncherThread => {
  const words = new Int32Array(new SharedArrayBuffer(4 * WORDS))
  const worker = new Worker(builtFile('host/launcher-main.cjs'), {
    workerData: words,
    // Else Node opens our standard output for itself, which makes a pipe non-blocking for the program too.
    stdout: true,
    stderr: true,
  })
  worker.on('error', (error) => {
    throw error
  })
  return { words, prepare: (launch) => worker.postMessage(launch) }
}
