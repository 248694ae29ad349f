import { deviceModels } from './device-models.ts'
import { ExitStatus } from './exit-status.ts'

/** `devices`: the models that --device knows. */
export const devicesCommand = (): number => {
  for (const { name, summary } of deviceModels)
    process.stdout.write(`${name.padEnd(10)} ${summary}\n`)
  return ExitStatus.OK
}
