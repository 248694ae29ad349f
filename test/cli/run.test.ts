import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { binary, type Ended, iommufdUser } from './program.ts'

let directory: string

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'iommufd-user-test-'))
})

afterAll(() => {
  rmSync(directory, { recursive: true })
})

const run = (...args: string[]): Promise<Ended> => iommufdUser(['run', ...args])

const runs = spawnSync(process.execPath, ['bin/iommufd-user', 'run', 'true']).status === 0
const whyNot = runs ? '' : ' (skipped: this machine cannot run programs under simulation)'

describe.skipIf(!runs)(`run is as invisible as env${whyNot}`, () => {
  test('exit status, standard streams, arguments and environment are those of the program', async () => {
    const script = 'cat; echo "$1:$VARIABLE"; echo error >&2; exit 7'
    const ended = await iommufdUser(['run', 'sh', '-c', script, 'sh', '--trace'], {
      stdin: 'in\n',
      env: { ...process.env, VARIABLE: 'value' },
    })
    expect(ended).toMatchObject({ status: 7, stdout: 'in\n--trace:value\n', stderr: 'error\n' })
  })

  test('descriptors, ignored signals and limits are those that run was started with', async () => {
    const show =
      'trap "" USR1; ulimit -n 300; exec 5</dev/null; COMMAND sh -c "ls /proc/self/fd; grep SigIgn /proc/self/status; ulimit -n"'
    const with_ = spawnSync('sh', ['-c', show.replace('COMMAND', `${binary} run`)])
    const without = spawnSync('sh', ['-c', show.replace('COMMAND', '')])
    expect(with_.stdout.toString()).toBe(without.stdout.toString())
    expect(without.stdout.toString()).toContain('300')
  })

  test('a process that the program leaves behind does not hold up whoever reads its output', async () => {
    const script = 'sleep 600 </dev/null >/dev/null 2>&1 & echo $!'
    const { status, stdout } = await run('sh', '-c', script)
    expect(status).toBe(0)
    process.kill(Number(stdout))
  })

  test('a program that is killed kills run by the same signal', async () => {
    expect(await run('sh', '-c', 'kill -TERM $$')).toMatchObject({
      status: null,
      signal: 'SIGTERM',
    })
  })

  test('no such program: 127 and one line; not executable: 126', async () => {
    const missing = await run('--', '/no/such/program')
    expect(missing).toMatchObject({ status: 127, stdout: '' })
    expect(missing.stderr).toMatch(/^iommufd-user: .*\/no\/such\/program.*\n$/)
    const file = join(directory, 'not-executable')
    writeFileSync(file, 'x', { mode: 0o644 })
    const denied = await run(file)
    expect(denied).toMatchObject({ status: 126, stdout: '' })
    expect(denied.stderr.split('\n')).toHaveLength(2)
  })
})

describe('run that cannot begin says why, with status 125', () => {
  test.each([
    [['--device', 'nonesuch', 'true'], "no device model 'nonesuch'"],
    [['--device', 'scratch,color=red', 'true'], 'has no option color'],
    [['--device', 'scratch,group=1', '--device', 'scratch,group=1', 'true'], 'group 1'],
    [['-e', 'NO_SUCH_CALL', 'true'], "no call named 'NO_SUCH_CALL'"],
    [['--trace=/no/such/directory/trace', 'true'], 'cannot be written'],
  ])('%j', async (args, message) => {
    const ended = await run(...args)
    expect(ended).toMatchObject({ status: 125, stdout: '' })
    expect(ended.stderr).toContain(message)
    expect(ended.stderr).toMatch(/^iommufd-user: [^\n]*\n$/)
  })
})

const hasPython = spawnSync('python3', ['-c', '']).status === 0
const noPython = hasPython ? '' : ' (skipped: no python3)'

/** Allocates an IOAS, destroys an object that there is not. */
const program = `
import fcntl, os, struct
fd = os.open('/dev/iommu', os.O_RDWR)
fcntl.ioctl(fd, 0x3b81, bytearray(struct.pack('=III', 12, 0, 0)))
try: fcntl.ioctl(fd, 0x3b80, struct.pack('=II', 8, 77))
except OSError as error: print(error.errno)
`

describe.skipIf(!runs || !hasPython)(`--trace${whyNot}${noPython}`, () => {
  test('prints each call, with what came back and why it failed', async () => {
    const { stdout, stderr } = await run('--trace', 'python3', '-c', program)
    expect(stdout).toBe('2\n')
    const lines = stderr.trimEnd().split('\n')
    expect(lines).toHaveLength(3)
    expect(lines[0]).toMatch(/^\d+ open\("\/dev\/iommu"\) = 3 <\d+\.\d{6}>$/)
    expect(lines[1]).toMatch(
      /^\d+ ioctl\(3<\/dev\/iommu>, IOMMU_IOAS_ALLOC, \{flags=0\}\) = 0 => \{out_ioas_id=1\} <\d+\.\d{6}>$/,
    )
    expect(lines[2]).toMatch(
      /^\d+ ioctl\(3<\/dev\/iommu>, IOMMU_DESTROY, \{id=77\}\) = -1 ENOENT \(.*77.*\) <\d+\.\d{6}>$/,
    )
  })

  test('to a file, filtered', async () => {
    const file = join(directory, 'trace')
    const { stderr } = await run(`--trace=${file}`, '-e', 'DESTROY', 'python3', '-c', program)
    expect(stderr).toBe('')
    expect(readFileSync(file, 'utf8')).toMatch(/^\d+ ioctl\([^\n]* IOMMU_DESTROY, [^\n]*\n$/)
  })

  test('-e alone asks for a trace', async () => {
    const { stderr } = await run('-e', 'status=failed', 'python3', '-c', program)
    expect(stderr).toMatch(/^\d+ ioctl\([^\n]* IOMMU_DESTROY, [^\n]*\n$/)
  })

  test('the test interface can be taken away', async () => {
    const ask = `import fcntl, os
fd = os.open('/dev/iommu', os.O_RDWR)
try: fcntl.ioctl(fd, 0x3ba0, 0)
except OSError as error: print(error.errno)`
    expect((await run('python3', '-c', ask)).stdout).toBe('14\n')
    expect((await run('--no-test-interface', 'python3', '-c', ask)).stdout).toBe('25\n')
  })

  test('--fail-nth fails one step of the run', async () => {
    const allocate = `import fcntl, os, struct
fd = os.open('/dev/iommu', os.O_RDWR)
for _ in range(9):
  try: fcntl.ioctl(fd, 0x3b81, bytearray(struct.pack('=III', 12, 0, 0))); print('0')
  except OSError as error: print(error.errno)`
    const { stdout } = await run('--fail-nth=2', 'python3', '-c', allocate)
    const failures = stdout
      .trimEnd()
      .split('\n')
      .filter((line) => line !== '0')
    expect(failures).toHaveLength(1)
  })
})
