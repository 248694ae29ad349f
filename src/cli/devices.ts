import { DEFAULT_PLATFORM, platforms } from '../iommu/platforms.ts'
import { deviceModels } from './device-models.ts'
import { ExitStatus } from './exit-status.ts'

/** `devices`: the models that --device knows, and the platforms that --platform knows. */
export const devicesCommand = (): number => {
  const print = (text: string): boolean => process.stdout.write(text)
  print('Devices (--device):\n')
  for (const { name, summary } of deviceModels) print(`  ${name.padEnd(18)} ${summary}\n`)
  print('\nPlatforms (--platform):\n')
  for (const { name, description } of platforms) {
    const usual = name === DEFAULT_PLATFORM ? ' [the usual one]' : ''
    print(`  ${name.padEnd(18)} ${description}${usual}\n`)
  }
  return ExitStatus.OK
}
