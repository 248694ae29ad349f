/** The supervisor process of `run`: builds the machine that the options describe, and serves it. */
import { supervise } from '../host/supervise.ts'
import type { RunConfig } from './run-config.ts'

await supervise(async (config) => {
  // Loaded while the launcher starts, which takes as long.
  const { watchedSystem } = await import('./watched-system.ts')
  // The front that wrote it is the same version of the same program.
  return watchedSystem(config as RunConfig)
})
