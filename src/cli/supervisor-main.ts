/** The supervisor process of `run`: builds the machine that the options describe, and serves it. */
import { supervise } from '../host/supervise.ts'
import type { RunConfig } from './run-config.ts'
import { watchedSystem } from './watched-system.ts'

// The front that wrote it is the same version of the same program.
await supervise((config) => watchedSystem(config as RunConfig))
