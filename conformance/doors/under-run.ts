/** The second door: plays a script in a real client process under `iommufd-user run`. */
import { execFile, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { packageRoot } from '../../src/host/built-file.ts'
import { pciDevices, scratchDevices } from '../places.ts'
import { builtClient } from './native-client.ts'

/** A client: the command to which the path of a script is added. */
export interface Client {
  readonly name: string
  readonly command: readonly string[]
}

export const cClient = (): Client | undefined => {
  const program = builtClient({ isStatic: false })
  return program === undefined ? undefined : { name: 'C', command: [program] }
}

export const pythonClient = (): Client | undefined =>
  spawnSync('python3', ['--version']).status === 0
    ? { name: 'Python', command: ['python3', join(packageRoot(), 'conformance/client.py')] }
    : undefined

/** `iommufd-user run OPTIONS --`. */
export const runPrefix = (options: readonly string[] = []): string[] => [
  process.execPath,
  join(packageRoot(), 'bin/iommufd-user'),
  'run',
  ...options,
  '--',
]

/** Why `run` does not work on this machine, in its own words; undefined if it does. */
export const runMissing = (): string | undefined => {
  const [program = '', ...rest] = [...runPrefix(), 'sh', '-c', 'exit 7']
  const { status, stderr } = spawnSync(program, rest, { encoding: 'utf8' })
  return status === 7 ? undefined : stderr.trim() || `status ${status}`
}

/** The emulated devices that some examples need. */
const deviceOptions = scratchDevices.flatMap(({ name, group }) => [
  '--device',
  `scratch,name=${name},group=${group}`,
])

/** The machine of examples that need 'vfio-devices': as the real kernel's that is asked. */
export const physicalOptions = [
  '--platform=intel-qemu-48',
  '--container=type1',
  ...pciDevices.flatMap(({ address, group }) => ['--device', `edu,addr=${address},group=${group}`]),
]

/** Plays a script with a client, under `run` or (with an empty prefix) as it is. */
export const playWithClient = (
  script: string,
  client: Client,
  prefix: readonly string[] = runPrefix(deviceOptions),
): Promise<string> => {
  const directory = mkdtempSync(join(tmpdir(), 'iommufd-user-script-'))
  const file = join(directory, 'script')
  writeFileSync(file, script)
  const [program = '', ...rest] = [...prefix, ...client.command, file]
  return new Promise((resolve, reject) => {
    const options = { maxBuffer: 1 << 30, timeout: 600_000 }
    execFile(program, rest, options, (error, stdout, stderr) => {
      rmSync(directory, { recursive: true, force: true })
      if (error === null) resolve(stdout)
      else reject(new Error(`${client.name} client: ${error.message}\n${stderr}`))
    })
  })
}
