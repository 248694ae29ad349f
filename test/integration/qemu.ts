/** Which QEMU there is, and booting a guest with it. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cached } from './guest.ts'

export interface Qemu {
  readonly program: string
  /** Where it has its firmware, if that is not where it looks. */
  readonly options: readonly string[]
}

const SYSTEM = 'qemu-system-x86_64'

const hasIommufd = ({ program, options }: Qemu): boolean =>
  /^\s*iommufd$/m.test(
    spawnSync(program, [...options, '-object', 'help'], { encoding: 'utf8' }).stdout ?? '',
  )

const starts = ({ program }: Qemu): boolean => spawnSync(program, ['--version']).status === 0

/** The one that is installed. */
export const installedQemu = (): Qemu | string => {
  const qemu = { program: SYSTEM, options: [] }
  return starts(qemu) ? qemu : SYSTEM
}

/** One that knows `-object iommufd` (8.2 and newer): installed, or of Debian's backports; or why there is none. */
export const iommufdQemu = (): Qemu | string => {
  const installed = installedQemu()
  if (typeof installed === 'string' || hasIommufd(installed)) return installed
  const directory = cached('qemu-backports', fetchBackport)
  if (directory instanceof Error) return `a QEMU with -object iommufd (${directory.message})`
  const share = join(directory, 'usr/share')
  const qemu = {
    program: join(directory, 'usr/bin', SYSTEM),
    options: ['-L', join(share, 'qemu'), '-L', join(share, 'seabios')],
  }
  return hasIommufd(qemu) ? qemu : 'a QEMU with -object iommufd that starts here'
}

/** Debian's packages, unpacked and not installed; apt is given lists of its own. */
const fetchBackport = (directory: string): void => {
  const release = /^VERSION_CODENAME=(\S+)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1]
  const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg'
  const apt = join(directory, 'apt')
  for (const name of ['parts', 'lists/partial', 'cache/archives/partial'])
    mkdirSync(join(apt, name), { recursive: true })
  writeFileSync(
    join(apt, 'parts/backports.sources'),
    `Types: deb\nURIs: http://deb.debian.org/debian\nSuites: ${release}-backports\nComponents: main\nSigned-By: ${keyring}\n`,
  )
  const settings = [
    'Dir::Etc::sourcelist=/dev/null',
    `Dir::Etc::sourceparts=${apt}/parts`,
    `Dir::State::lists=${apt}/lists`,
    `Dir::Cache=${apt}/cache`,
  ].flatMap((setting) => ['-o', setting])
  const run = (command: string, args: readonly string[]): void => {
    const { status, stderr } = spawnSync(command, args, { cwd: directory, encoding: 'utf8' })
    if (status !== 0) throw new Error(`${command} ${args.at(-1)} failed: ${stderr.split('\n')[0]}`)
  }
  run('apt-get', [...settings, 'update'])
  const packages = [SYSTEM.replace('_64', ''), 'qemu-system-common', 'qemu-system-data', 'seabios']
  const of = packages.map((name) => `${name}/${release}-backports`)
  run('apt-get', [...settings, 'download', ...of])
  for (const file of readdirSync(directory).filter((name) => name.endsWith('.deb'))) {
    run('dpkg', ['-x', file, '.'])
    rmSync(join(directory, file))
  }
  rmSync(apt, { recursive: true })
}
