/** Builds the machine that the options of `run` describe, and serves it. */
import type { LauncherThread } from '../host/launcher-thread.ts'
import { supervise } from '../host/supervise.ts'
import type { RunConfig } from './run-config.ts'
import { watchedSystem } from './watched-system.ts'

// The front that wrote the configuration is the same version of the same program.
export const serve = (launcher: LauncherThread): Promise<void> =>
  supervise(launcher, (config) => watchedSystem(config as RunConfig))
