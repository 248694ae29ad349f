/**
 * Where the test programs come from. They are Linux's, under its licence, and never in this repository:
 *
 * 1. SELFTESTS_BIN=DIR: built already;
 * 2. LINUX_SRC=DIR: built from that source tree, which stays as it is;
 * 3. built already by an earlier run, or in ORACLE_DIR/bin (default ~/.cache/linux-oracle/bin);
 * 4. built from Debian's linux-source package, fetched with apt through a configuration of our own, so
 *    that the machine's package sources stay as they are.
 */
import { spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { oracleDirectory } from '../doors/real-kernel.ts'
import { type SelftestProgram, selftestPrograms } from './programs.ts'

export class CannotObtain extends Error {}

const cache = (): string =>
  join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'iommufd-user')

/** Directory with all of the programs. */
export const obtainSelftests = (): string => {
  const given = process.env['SELFTESTS_BIN']
  if (given !== undefined) return checked(given)
  const source = process.env['LINUX_SRC']
  const built = join(cache(), 'selftests')
  if (source !== undefined) return build(source, built)
  for (const directory of [built, join(oracleDirectory(), 'bin')])
    if (isComplete(directory)) return directory
  return build(fetchSource(), built)
}

const isComplete = (directory: string): boolean =>
  selftestPrograms.every(({ name }) => existsSync(join(directory, name)))

const checked = (directory: string): string => {
  if (isComplete(directory)) return directory
  const missing = selftestPrograms.filter(({ name }) => !existsSync(join(directory, name)))
  throw new CannotObtain(
    `${directory} (SELFTESTS_BIN) lacks ${missing.map(({ name }) => name).join(', ')}.`,
  )
}

const run = (command: string, args: readonly string[], cwd?: string): void => {
  const { status, stderr, error } = spawnSync(command, args, {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    ...(cwd === undefined ? {} : { cwd }),
  })
  if (status === 0) return
  const why = error?.message ?? stderr.trim().split('\n').slice(-5).join('\n')
  throw new CannotObtain(`${command} ${args.slice(0, 3).join(' ')} ... failed: ${why}`)
}

/** Compiles every program from a Linux source tree. */
const build = (linux: string, into: string): string => {
  if (!existsSync(join(linux, 'tools/testing/selftests/iommu')))
    throw new CannotObtain(`${linux} is not a Linux source tree.`)
  const headers = join(cache(), 'uapi')
  console.error(`Building Linux's test programs from ${linux} ...`)
  run('make', ['-s', '-C', linux, 'headers_install', `INSTALL_HDR_PATH=${headers}`])
  mkdirSync(into, { recursive: true })
  const programs = new Map(selftestPrograms.map((program) => [program.name, program]))
  for (const program of programs.values()) compile(program, linux, join(headers, 'include'), into)
  return into
}

const compile = (
  { name, suite }: SelftestProgram,
  linux: string,
  headers: string,
  into: string,
): void => {
  const directory = join(linux, 'tools/testing/selftests', suite)
  const common = ['-O2', '-w', '-static', '-D_GNU_SOURCE', '-isystem', headers, '-I..']
  const output = ['-o', join(into, name)]
  const specific =
    suite === 'iommu'
      ? ['-I../../../include', `${name}.c`, ...output, '-lcap']
      : [
          ...['-Dcalloc_assert=calloc', '-Ilib/include', '-I../../../include'],
          ...['-I../../../arch/x86/include', '-pthread', `${name}.c`],
          ...cFilesBelow(join(directory, 'lib')),
          ...[...output, '-luuid'],
        ]
  run('cc', [...common, ...specific], directory)
}

const cFilesBelow = (directory: string): string[] =>
  readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.c'))
    .map((file) => join(directory, file))

/** Fetches and unpacks the oldest linux-source package of Debian unstable that has what is tested. */
const fetchSource = (): string => {
  const linux = join(cache(), 'linux')
  if (existsSync(join(linux, 'Makefile'))) return linux
  const apt = join(cache(), 'apt')
  for (const directory of ['lists/partial', 'cache/archives/partial'])
    mkdirSync(join(apt, directory), { recursive: true })
  const configuration = join(apt, 'apt.conf')
  writeFileSync(
    join(apt, 'sources.list'),
    `deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${debianMirror()} sid main\n`,
  )
  writeFileSync(
    configuration,
    [
      `Dir::Etc::sourcelist "${apt}/sources.list";`,
      'Dir::Etc::sourceparts "-";',
      `Dir::State::lists "${apt}/lists";`,
      `Dir::Cache "${apt}/cache";`,
      '',
    ].join('\n'),
  )
  console.error("Fetching Linux's source with apt (some 150 MB, once) ...")
  const environment = ['env', `APT_CONFIG=${configuration}`]
  run('/usr/bin/env', [...environment.slice(1), 'apt-get', 'update', '-q'])
  const name = newestSource(configuration)
  run('/usr/bin/env', [...environment.slice(1), 'apt-get', 'download', '-q', name], apt)
  const archive = readdirSync(apt).find((file) => file.startsWith(`${name}_`))
  if (archive === undefined) throw new CannotObtain(`apt did not download ${name}.`)
  run('dpkg', ['-x', archive, 'unpacked'], apt)
  run('tar', ['-xf', join(apt, 'unpacked/usr/src', `${name}.tar.xz`)], apt)
  renameSync(join(apt, name), linux)
  rmSync(apt, { recursive: true, force: true })
  return linux
}

/** The first that is Linux 7.2 or newer. */
const newestSource = (configuration: string): string => {
  const { stdout } = spawnSync('apt-cache', ['search', '--names-only', '^linux-source-[0-9.]+$'], {
    encoding: 'utf8',
    env: { ...process.env, APT_CONFIG: configuration },
  })
  const names = stdout
    .split('\n')
    .map((line) => line.split(' ')[0] ?? '')
    .filter((name) => atLeast72(name))
    .sort(new Intl.Collator('en', { numeric: true }).compare)
  const [name] = names
  if (name === undefined) throw new CannotObtain('Debian offers no linux-source from 7.2 on.')
  return name
}

const atLeast72 = (name: string): boolean => {
  const version = /^linux-source-(\d+)\.(\d+)$/.exec(name)
  const [major, minor] = [Number(version?.[1] ?? 0), Number(version?.[2] ?? 0)]
  return major > 7 || (major === 7 && minor >= 2)
}

const debianMirror = (): string => {
  for (const file of ['/etc/apt/sources.list', ...sourceParts()]) {
    if (!existsSync(file)) continue
    const found = /https?:\/\/\S+\/debian\/?(?=\s|$)/m.exec(readFileSync(file, 'utf8'))
    if (found !== null) return found[0]
  }
  throw new CannotObtain(
    'This machine has no Debian package sources. Give LINUX_SRC=DIR (a source tree of Linux 7.2 or newer) or SELFTESTS_BIN=DIR (the programs, built).',
  )
}

const sourceParts = (): string[] => {
  const directory = '/etc/apt/sources.list.d'
  return existsSync(directory) ? readdirSync(directory).map((file) => join(directory, file)) : []
}
