/** Whether this machine has what `run` needs, and what to do where it has not. */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { release } from 'node:os'
import { builtFile } from './built-file.ts'
import type { ProbeName } from './probe-name.ts'

export interface Finding {
  /** Stable: `seccomp-listener`. */
  readonly id: string
  /** `missing`: programs cannot be run. `note`: they can, with what is said. */
  readonly status: 'ok' | 'note' | 'missing'
  /** What was found: a sentence. */
  readonly found: string
  /** What to do about it: sentences. */
  readonly advice?: string
}

/** What the kernel answered to each thing tried; undefined where it was not come to. */
type Answers = Readonly<Partial<Record<ProbeName, number>>>

interface Probed {
  readonly answers: Answers
  /** What the probing process said when it could not go on. */
  readonly complaint: string
}

/** Looks at everything. Takes a tenth of a second or two; leaves nothing behind. */
export const checkMachine = async (): Promise<readonly Finding[]> => {
  const findings = [platform(), node()]
  if (findings.some(({ status }) => status === 'missing')) return findings
  const probed = await probe()
  const { answers } = probed
  findings.push(container(), ffi(probed))
  if (answers.ffi === undefined) return findings
  return [
    ...findings,
    notifications(answers),
    listener(answers),
    memory(answers),
    files(answers),
  ].filter((finding) => finding !== undefined)
}

const ok = (id: string, found: string): Finding => ({ id, status: 'ok', found })
const note = (id: string, found: string, advice: string): Finding => ({
  id,
  status: 'note',
  found,
  advice,
})
const missing = (id: string, found: string, advice: string): Finding => ({
  id,
  status: 'missing',
  found,
  advice,
})

const platform = (): Finding => {
  const found = `This is ${process.platform} ${release()} on ${process.arch}.`
  if (process.platform !== 'linux')
    return missing(
      'platform',
      `${found} Programs can be run on Linux only.`,
      'Run it in a Linux container or virtual machine. The library works here as well.',
    )
  return process.arch === 'x64' || process.arch === 'arm64'
    ? ok('platform', found)
    : missing(
        'platform',
        `${found} Programs can be run on x64 and arm64 only.`,
        'The library works here as well.',
      )
}

const node = (): Finding => ok('node', `Node.js ${process.version}, ${cLibrary()}.`)

const cLibrary = (): string => {
  const { header } = process.report.getReport() as unknown as {
    header: { glibcVersionRuntime?: string }
  }
  return header.glibcVersionRuntime === undefined ? 'musl' : `glibc ${header.glibcVersionRuntime}`
}

/** gVisor says it is this version of Linux, whatever it runs on. */
const GVISOR_RELEASE = '4.4.0'

const container = (): Finding => {
  const runtime =
    release() === GVISOR_RELEASE
      ? 'gVisor'
      : existsSync('/.dockerenv')
        ? 'Docker'
        : existsSync('/run/.containerenv')
          ? 'Podman'
          : process.env['KUBERNETES_SERVICE_HOST'] !== undefined
            ? 'Kubernetes'
            : undefined
  const filters = /^Seccomp_filters:\s*(\d+)/m.exec(statusOfThis())?.[1] ?? '0'
  return ok(
    'container',
    `${runtime === undefined ? 'No container runtime was recognised' : `The container runtime is ${runtime}`}; ${filters} seccomp ${filters === '1' ? 'filter is' : 'filters are'} in force already.`,
  )
}

const statusOfThis = (): string => {
  try {
    return readFileSync('/proc/self/status', 'latin1')
  } catch {
    return ''
  }
}

const ffi = ({ answers, complaint }: Probed): Finding =>
  answers.ffi === undefined
    ? missing(
        'ffi',
        `The FFI library koffi cannot be used: ${complaint === '' ? 'it ended without a word' : complaint}.`,
        'Install the packages again on this very kind of machine (npm ci): they contain machine code for one processor and C library.',
      )
    : ok('ffi', 'The FFI library koffi works.')

const ENOSYS = -38
const EBUSY = -16
const EPERM = -1
const EACCES = -13

const unconfined =
  'In Docker or Podman add --security-opt seccomp=unconfined, or a profile that allows seccomp(2); in Kubernetes set seccompProfile to Unconfined or RuntimeDefault.'

const notifications = ({ notifications: answer = ENOSYS }: Answers): Finding => {
  if (answer >= 0) return ok('seccomp-notification', 'The kernel has seccomp user notification.')
  if (answer === EPERM || answer === EACCES)
    return missing(
      'seccomp-notification',
      'The system call seccomp(2) is refused here, by the container’s own seccomp profile most likely.',
      unconfined,
    )
  return missing(
    'seccomp-notification',
    'The kernel has no seccomp user notification.',
    'Linux 5.14 or newer has what is needed. gVisor has not: choose another runtime there (docker run --runtime=runc).',
  )
}

const listener = ({
  listener: answer,
  notifications: sizes = ENOSYS,
}: Answers): Finding | undefined => {
  if (answer === undefined || sizes < 0) return undefined
  if (answer >= 0) return ok('seccomp-listener', 'A filter with a listener can be installed.')
  if (answer === EBUSY)
    return missing(
      'seccomp-listener',
      'A seccomp listener is already in force for this process, and the kernel permits one only.',
      'Do not run it inside itself. Some sandboxes and system containers (LXD, Incus) install a listener: run outside of them, or turn their system call interception off.',
    )
  if (answer === EPERM || answer === EACCES)
    return missing('seccomp-listener', 'Installing a seccomp filter is refused here.', unconfined)
  return missing(
    'seccomp-listener',
    `The kernel refuses a filter with a listener (errno ${-answer}).`,
    'Linux 5.14 or newer is needed; gVisor does not have it.',
  )
}

const memory = ({ 'process-vm': vm = -1, 'proc-mem': mem = -1 }: Answers): Finding => {
  if (vm === 1) return ok('memory', 'The memory of a child process can be read and written.')
  if (mem === 1)
    return note(
      'memory',
      'process_vm_readv(2) is refused here; /proc/PID/mem serves instead, a little slower.',
      'Newer container runtimes permit it; docker run --cap-add=SYS_PTRACE does, too.',
    )
  return missing(
    'memory',
    `The memory of a child process cannot be reached${ptraceScope()}.`,
    'In a container add --cap-add=SYS_PTRACE; outside, set kernel.yama.ptrace_scope to 0 or 1 (sysctl).',
  )
}

const ptraceScope = (): string => {
  try {
    const scope = readFileSync('/proc/sys/kernel/yama/ptrace_scope', 'latin1').trim()
    return ` (kernel.yama.ptrace_scope is ${scope})`
  } catch {
    return ''
  }
}

const files = ({ memfd = -1, inotify = -1, eventfd = -1 }: Answers): Finding => {
  if (memfd >= 0 && inotify >= 0 && eventfd >= 0)
    return ok('files', 'Memory files, their close events and event counters are there.')
  if (memfd >= 0 && eventfd >= 0)
    return missing(
      'files',
      `inotify cannot watch a memory file (errno ${-inotify}).`,
      'Perhaps this user has used up its inotify instances: raise fs.inotify.max_user_instances (sysctl).',
    )
  return missing('files', 'memfd_create(2) or eventfd(2) is refused here.', unconfined)
}

const probe = (): Promise<Probed> =>
  new Promise((resolve) => {
    const child = spawn(process.execPath, [builtFile('host/probe-main.cjs')], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    child.on('error', ({ message }) => resolve({ answers: {}, complaint: message }))
    child.on('close', () => resolve({ answers: answersIn(stdout), complaint: firstError(stderr) }))
  })

const answersIn = (lines: string): Answers => {
  const answers: Partial<Record<ProbeName, number>> = {}
  for (const line of lines.split('\n')) {
    if (line === '') continue
    // Written by probe-main.ts.
    const { probe, value } = JSON.parse(line) as { probe: ProbeName; value: number }
    answers[probe] = value
  }
  return answers
}

/** The line of a Node crash that says what happened. */
const firstError = (stderr: string): string =>
  /^(?:\w*Error(?: \[\w+\])?: )(.*)$/m.exec(stderr)?.[1] ?? stderr.trim().split('\n')[0] ?? ''
