/** Running programs of the tests under `run`: Python ones, and C ones where there is a compiler. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { binary, type Ended, iommufdUser } from '../cli/program.ts'

export const runs = spawnSync(binary, ['run', 'true']).status === 0
export const hasPython = spawnSync('python3', ['-c', '']).status === 0
export const hasCompiler = spawnSync('cc', ['--version']).status === 0
export const hasStaticLibrary =
  hasCompiler &&
  spawnSync('cc', ['-static', '-xc', '-', '-o', '/dev/null'], { input: 'int main(){}' }).status ===
    0

/** Added to a suite's name, so that what is skipped says why. */
export const unless = (...needs: readonly (readonly [boolean, string])[]): string => {
  const missing = needs.filter(([there]) => !there).map(([, what]) => what)
  return missing.length === 0 ? '' : ` (skipped: needs ${missing.join(' and ')})`
}
export const RUNS = [runs, 'a machine that can run programs under simulation'] as const

const CAP_IPC_LOCK = 14

/** May a program lock so much memory, as mapping it for DMA does? Root may; others have a limit, on Linux too. */
const mayLock = (kibibytes: number): boolean => {
  if (process.platform !== 'linux') return false
  const status = readFileSync('/proc/self/status', 'utf8')
  const effective = BigInt(`0x${/^CapEff:\s*(\w+)/m.exec(status)?.[1] ?? '0'}`)
  if (((effective >> BigInt(CAP_IPC_LOCK)) & 1n) === 1n) return true
  const limit = spawnSync('sh', ['-c', 'ulimit -l'], { encoding: 'utf8' }).stdout.trim()
  return limit === 'unlimited' || Number(limit) >= kibibytes
}

/** For guests and other programs that map much memory at once. */
export const LOCKS_MUCH = [mayLock(1 << 20), 'ulimit -l of 1 GiB'] as const
export const PYTHON = [hasPython, 'python3'] as const
export const COMPILER = [hasCompiler, 'cc'] as const

const directory = mkdtempSync(join(tmpdir(), 'iommufd-user-host-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

/** A name in a directory that goes with the test. */
export const scratchPath = (name: string): string => join(directory, name)

/** What the Python programs have in common. `attempt` gives the value, or the name of the errno. */
const PRELUDE = `
import array, ctypes, errno, fcntl, json, mmap, os, select, signal, socket, stat, struct, sys, threading, time
def attempt(what):
    try: return what()
    except OSError as error: return errno.errorcode[error.errno]
def show(**values): print(json.dumps(values), flush=True)
IOAS_ALLOC, IOAS_MAP, DESTROY = 0x3b81, 0x3b85, 0x3b80
def ioas(fd):
    buffer = bytearray(struct.pack('=III', 12, 0, 0))
    fcntl.ioctl(fd, IOAS_ALLOC, buffer)
    return struct.unpack('=III', buffer)[2]
`

export const python = (
  program: string,
  options: readonly string[] = [],
  args: readonly string[] = [],
): Promise<Ended> =>
  iommufdUser(['run', ...options, '--', 'python3', '-c', PRELUDE + program, ...args])

/** The objects that a Python program showed, one line of JSON each; its complaint if it failed. */
export const shown = async (
  program: string,
  options: readonly string[] = [],
): Promise<Record<string, unknown>> => {
  const { stdout, stderr, status } = await python(program, options)
  if (status !== 0) throw new Error(`the program ended with ${status}: ${stderr}`)
  return Object.assign(
    {},
    ...stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)),
  )
}

/** Compiles a C program; returns its path. */
export const compile = (name: string, source: string, flags: readonly string[] = []): string => {
  const file = scratchPath(`${name}.c`)
  const program = scratchPath(name)
  writeFileSync(file, source)
  const { status, stderr } = spawnSync('cc', ['-O1', '-pthread', ...flags, file, '-o', program])
  if (status !== 0) throw new Error(`cc: ${stderr}`)
  return program
}
