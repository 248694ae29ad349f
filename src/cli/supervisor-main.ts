/** The supervisor process of `run`: what serving-main.ts does, loaded while the launcher comes up. */
import { loadBuilt } from '../host/built-file.ts'
import { startLauncherThread } from '../host/launcher-thread.ts'

const launcher = startLauncherThread()
const { serve }: typeof import('./serving-main.ts') = loadBuilt('cli/serving-main.cjs')
void serve(launcher)
