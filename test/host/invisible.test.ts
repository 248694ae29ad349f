/** `run` is as invisible as `env`: signals, terminals, process groups, children left behind. */
import { spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { describe, expect, test } from 'vitest'
import { binary, iommufdUser } from '../cli/program.ts'
import { PYTHON, python, RUNS, shown, unless } from './programs.ts'

const env = { ...process.env, PATH: `${dirname(process.execPath)}:${process.env['PATH'] ?? ''}` }

/** Starts a shell script under `run`; resolves when it has printed its first line. */
const started = (script: string) => {
  const child = spawn(binary, ['run', '--', 'sh', '-c', script], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env,
  })
  child.stdout.setEncoding('utf8')
  const ended = new Promise<{ status: number | null; signal: NodeJS.Signals | null }>((resolve) =>
    child.on('exit', (status, signal) => resolve({ status, signal })),
  )
  const line = new Promise<string>((resolve) => child.stdout.once('data', resolve))
  return { child, ended, line }
}

const isAlive = (pid: number): boolean => {
  try {
    return !/^State:\s*[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

/** Until it is so; the test's own limit of time ends it otherwise. */
const eventually = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 10))
}

describe.skipIf(!RUNS[0])(`run${unless(RUNS)}`, () => {
  test.each(['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGQUIT'] as const)(
    '%s goes to the program, which may handle it',
    async (signal) => {
      const name = signal.slice(3)
      const { child, ended, line } = started(
        `trap 'exit 42' ${name}; echo ready; while :; do sleep 0.05; done`,
      )
      await line
      child.kill(signal)
      expect(await ended).toEqual({ status: 42, signal: null })
    },
  )

  test('an unhandled signal ends both in the same way', async () => {
    const { child, ended, line } = started('echo ready; sleep 60 & wait')
    await line
    child.kill('SIGTERM')
    expect(await ended).toEqual({ status: null, signal: 'SIGTERM' })
  })

  test('when run is killed, so is the program', async () => {
    const { child, ended, line } = started('echo $$; sleep 60 & wait')
    const program = Number(await line)
    child.kill('SIGKILL')
    await ended
    await eventually(() => !isAlive(program))
  })

  test('run ends with the program; what that left behind is still served', async () => {
    const { ended, line, child } = started(
      'exec 4<&0; (read line <&4; stat -c %t:%T /dev/iommu) & echo left; exit 3',
    )
    const rest: string[] = []
    await line
    child.stdout.on('data', (text: string) => rest.push(text))
    expect(await ended).toEqual({ status: 3, signal: null })
    const closed = new Promise((resolve) => child.stdout.on('close', resolve))
    child.stdin.end('go\n')
    await closed
    expect(rest.join('')).toBe('a:100\n')
  })

  test('nobody holds the output open when the program is gone but a child without it is not', async () => {
    const { child, ended, line } = started('echo here; sleep 60 >/dev/null 2>&1 </dev/null &')
    const closed = new Promise((resolve) => child.stdout.on('close', resolve))
    await line
    expect(await ended).toEqual({ status: 0, signal: null })
    await closed
  })

  test('the program is in the process group and session of run', async () => {
    const { stdout } = await iommufdUser(['run', '--', 'sh', '-c', 'cat /proc/self/stat'])
    const fields = stdout.slice(stdout.lastIndexOf(')') + 2).split(' ')
    const { stdout: plain } = spawnSync('cat', ['/proc/self/stat'], { encoding: 'utf8' })
    const expected = plain.slice(plain.lastIndexOf(')') + 2).split(' ')
    // Fields 5 and 6: process group, session.
    expect(fields.slice(2, 4)).toEqual(expected.slice(2, 4))
  })

  test('arguments, environment and working directory keep every byte', async () => {
    const bytes = '\\377\\376'
    const show = 'printf %s "$1" | od -An -tx1; printf %s "$ODD" | od -An -tx1; pwd; umask'
    const script = `cd / && umask 027 && ODD=$(printf 'x${bytes}') && export ODD && COMMAND sh -c '${show}' sh "$(printf '${bytes}')"`
    const plain = spawnSync('sh', ['-c', script.replace('COMMAND', '')], { encoding: 'utf8' })
    const ours = spawnSync('sh', ['-c', script.replace('COMMAND', `${binary} run --`)], {
      encoding: 'utf8',
      env,
    })
    expect(ours.stdout).toBe(plain.stdout)
    expect(ours.stdout).toContain('ff fe')
  })

  test('when the supervisor dies, calls fail with ENOSYS and nothing hangs', async () => {
    const { child, ended, line } = started('echo $$; read line; cat /dev/iommu 2>&1; exec sleep 0')
    let stderr = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    const program = Number(await line)
    const parent = Number(
      /^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${program}/status`, 'utf8'))?.[1],
    )
    process.kill(parent, 'SIGKILL')
    child.stdin.end('go\n')
    expect((await ended).status).toBe(125)
    await eventually(() => !isAlive(program))
    expect(stderr).toContain('supervisor has ended unexpectedly')
  })
})

describe.skipIf(!RUNS[0] || !PYTHON[0])(`run on a terminal${unless(RUNS, PYTHON)}`, () => {
  /** Runs under a terminal of its own what `sh -c` is given; `keys` are typed when it has said "ready". */
  const terminal = (command: string, keys: string): string => {
    const program = `
import os, pty, sys, select
pid, fd = pty.fork()
if pid == 0: os.execvp('sh', ['sh', '-c', sys.argv[1]])
seen, typed = b'', False
while True:
    try: data = os.read(fd, 1024)
    except OSError: break
    if not data: break
    seen += data
    if b'ready' in seen and not typed:
        typed = True
        os.write(fd, sys.argv[2].encode().decode('unicode_escape').encode())
_, status = os.waitpid(pid, 0)
sys.stdout.write(seen.decode().replace('\\r', '') + 'status %d' % status)
`
    return spawnSync('python3', ['-c', program, command, keys], { encoding: 'utf8', env }).stdout
  }
  const count =
    "n=0; trap 'n=$((n+1)); echo caught $n' INT; test -t 0 && test -t 1 && echo ready; read a; sleep 0.2; echo n=$n"

  test('Ctrl-C reaches the program once', () => {
    const seen = terminal(
      `exec ${binary} run -- sh -c '${count.replaceAll("'", `'"'"'`)}'`,
      '\\x03\\n',
    )
    expect(seen).toContain('caught 1')
    expect(seen).toContain('n=1')
  })

  test('the size of the terminal and its foreground group are those of the program', () => {
    const seen = terminal(
      `stty rows 33 cols 77; exec ${binary} run -- sh -c 'stty size; ps -o pgid=,tpgid= -p $$ | { read a b; test $a = $b && echo foreground; }'`,
      '',
    )
    expect(seen).toContain('33 77')
    expect(seen).toContain('foreground')
  })
})

describe.skipIf(!RUNS[0] || !PYTHON[0])(
  `programs that do unusual things${unless(RUNS, PYTHON)}`,
  () => {
    test('a seccomp filter of its own, and dropped privileges', async () => {
      const { stdout, stderr } = await python(`
libc = ctypes.CDLL(None, use_errno=True)
before = ioas(os.open('/dev/vfio/vfio', os.O_RDWR))
filter = struct.pack('=HBBI', 6, 0, 0, 0x7fff0000)
code = ctypes.create_string_buffer(filter)
program = struct.pack('=HxxxxxxQ', 1, ctypes.addressof(code))
assert libc.syscall(317, 1, 0, program) == 0, ctypes.get_errno()
if os.getuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)
print(before, ioas(os.open('/dev/vfio/vfio', os.O_RDWR)), attempt(lambda: os.open('/dev/iommu', os.O_RDWR)))
`)
      const root = process.getuid?.() === 0
      expect(stderr).toBe('')
      expect(stdout).toMatch(root ? /^1 1 EACCES\n$/ : /^1 1 \d+\n$/)
    })

    test('credentials count as they are at each call, whoever changed them and how', async () => {
      if (process.getuid?.() !== 0) return
      // RLIMIT_MODE may be set with CAP_SYS_RESOURCE only (01 §8.1 step 3.1).
      const found = await shown(`
libc = ctypes.CDLL(None, use_errno=True)
iommu = os.open('/dev/iommu', os.O_RDWR)
def may():
    return attempt(lambda: fcntl.ioctl(iommu, 0x3b87, bytearray(struct.pack('=IIHHIQ', 24, 0, 0, 0, 0, 0))))
def in_child(change):
    pid = os.fork()
    if pid == 0:
        change()
        os._exit(0 if may() == 'EPERM' else 1)
    return os.waitpid(pid, 0)[1] == 0
states = [may()]
os.setresuid(65534, 65534, 0); states.append(may())
os.setresuid(0, 0, 0); states.append(may())
os.seteuid(65534); states.append(may())
os.seteuid(0); states.append(may())
states.append(in_child(lambda: libc.unshare(0x10000000) and os._exit(0)))
states.append(in_child(lambda: os.setuid(65534)))
def thread():
    # Of this thread alone: glibc's setresuid would change all.
    libc.syscall(117, 65534, 65534, 0)
if os.uname().machine == 'x86_64':
    t = threading.Thread(target=thread); t.start(); t.join()
show(states=states + [may()])
`)
      const [first, ...then] = found['states'] as unknown[]
      expect(first).toBe(0)
      expect(then).toEqual(['EPERM', 0, 'EPERM', 0, true, true, 0])
    })
  },
)
