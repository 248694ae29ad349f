/**
 * A small Linux guest for tests with virtual machine monitors: Debian's kernel for cloud machines, as apt
 * has it, and an initial RAM disk of our own with busybox and a job to do.
 */
import { execFileSync, spawnSync } from 'node:child_process'
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
import { packageRoot } from '../../src/host/built-file.ts'

const BUSYBOX = '/bin/busybox'

/** What a guest boots with. */
export interface GuestKernel {
  readonly image: string
  /** The file of a module, by its name without `.ko`. */
  module(name: string): string
}

/** A directory of the user's cache that `fill` makes once, whole or not at all; or why it could not. */
export const cached = (name: string, fill: (directory: string) => void): string | Error => {
  const root = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache')
  const directory = join(root, 'iommufd-user', name)
  if (existsSync(directory)) return directory
  const partial = `${directory}.${process.pid}`
  try {
    mkdirSync(partial, { recursive: true })
    fill(partial)
    renameSync(partial, directory)
    return directory
  } catch (error) {
    // Another process may have been faster.
    if (existsSync(directory)) return directory
    return error instanceof Error ? error : new Error(String(error))
  } finally {
    rmSync(partial, { recursive: true, force: true })
  }
}

/** The kernel, or why there is none. */
export const guestKernel = (): GuestKernel | string => {
  const directory = cached('guest-kernel', fetchKernel)
  if (directory instanceof Error)
    return `a guest kernel (${directory.message.split('\n')[0] ?? directory.message})`
  const version = readdirSync(join(directory, 'lib/modules'))[0] ?? ''
  const modules = join(directory, 'lib/modules', version)
  return {
    image: join(directory, 'boot', `vmlinuz-${version}`),
    module: (name) => {
      const found = readdirSync(modules, { recursive: true, encoding: 'utf8' }).find((file) =>
        file.endsWith(`/${name}.ko`),
      )
      if (found === undefined) throw new Error(`the guest's kernel has no module ${name}`)
      return join(modules, found)
    },
  }
}

const fetchKernel = (directory: string): void => {
  const run = (command: string, args: readonly string[]): string =>
    execFileSync(command, args, {
      cwd: directory,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
  const depends = run('apt-cache', ['depends', 'linux-image-cloud-amd64'])
  const name = /Depends: (linux-image-\S+)/.exec(depends)?.[1]
  if (name === undefined) throw new Error('apt knows no linux-image-cloud-amd64')
  run('apt-get', ['download', name])
  const archive = readdirSync(directory).find((file) => file.endsWith('.deb')) ?? ''
  run('dpkg', ['-x', archive, '.'])
  rmSync(join(directory, archive))
}

export const hasBusybox = spawnSync(BUSYBOX, ['true']).status === 0

/** Text of a file in guest/. */
export const guestFile = (name: string): string =>
  readFileSync(join(packageRoot(), 'test/integration/guest', name), 'utf8')

/** Writes an initial RAM disk in which `job`, a shell script, is run; `files` by their absolute paths in it. */
export const writeInitramfs = (
  path: string,
  kernel: GuestKernel,
  guest: {
    readonly job: string
    readonly modules?: readonly string[]
    readonly files?: Readonly<Record<string, Uint8Array>>
  },
): void => {
  const modules = (guest.modules ?? []).map((name, i) => [
    `/modules/${i}-${name}.ko`,
    readFileSync(kernel.module(name)),
  ])
  const files: Record<string, Uint8Array> = {
    '/init': Buffer.from(guestFile('init.sh')),
    '/bin/busybox': readFileSync(BUSYBOX),
    '/job': Buffer.from(guest.job),
    ...Object.fromEntries(modules),
    ...guest.files,
  }
  writeFileSync(path, archive(files))
}

/** On a busy machine an emulated timer can be too slow for the kernel's check that it works at all. */
export const GUEST_COMMAND_LINE = 'console=ttyS0 quiet panic=-1 no_timer_check'

/** QEMU's arguments for such a guest; its console is QEMU's standard output. */
export const guestArguments = (kernel: GuestKernel, initramfs: string): readonly string[] => [
  ...['-machine', 'q35,accel=tcg', '-m', '256', '-nodefaults', '-display', 'none', '-no-reboot'],
  ...['-serial', 'stdio', '-kernel', kernel.image, '-initrd', initramfs],
  ...['-append', GUEST_COMMAND_LINE],
]

const DIRECTORY = 0o040755
const EXECUTABLE = 0o100755

/** A cpio archive of the kind that Linux takes (`newc`), of executable files and their directories. */
const archive = (files: Readonly<Record<string, Uint8Array>>): Uint8Array => {
  const names = Object.keys(files).map((name) => name.slice(1))
  const directories = new Set(
    names.flatMap((name) => (name.includes('/') ? [name.slice(0, name.indexOf('/'))] : [])),
  )
  const parts: Uint8Array[] = []
  const add = (name: string, mode: number, content: Uint8Array): void => {
    const fields = [0, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, name.length + 1, 0]
    const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`
    for (const part of [Buffer.from(`${header}${name}\0`), content])
      parts.push(part, new Uint8Array(-part.length & 3))
  }
  for (const name of directories) add(name, DIRECTORY, new Uint8Array())
  for (const name of names) add(name, EXECUTABLE, files[`/${name}`] ?? new Uint8Array())
  add('TRAILER!!!', 0, new Uint8Array())
  return Buffer.concat(parts)
}
