/**
 * Tries what `run` needs of this machine, in a process of its own: an FFI library that cannot be loaded
 * or a filter that stays must not reach whoever asks. Prints a line of JSON for each finding as it is
 * made, so that what came before a crash is known. See check-machine.ts.
 */
import { spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { filterProgram } from './bpf.ts'
import {
  EFD_CLOEXEC,
  IN_CLOEXEC,
  IN_CLOSE,
  MFD_CLOEXEC,
  PR_SET_NO_NEW_PRIVS,
  SECCOMP_FILTER_FLAG_NEW_LISTENER,
  SECCOMP_GET_NOTIF_SIZES,
  SECCOMP_SET_MODE_FILTER,
} from './kernel.ts'
import type { ProbeName } from './probe-name.ts'
import type { Sys } from './sys.ts'
import { koffiSys } from './sys-koffi.ts'

/** `value` is what the kernel returned: negative for an errno. */
const tell = (probe: ProbeName, value: number): void => {
  process.stdout.write(`${JSON.stringify({ probe, value })}\n`)
}

const probeFiles = (sys: Sys): void => {
  const { bytes, address } = sys.scratch
  bytes.set(Buffer.from('iommufd-user\0'))
  const memfd = sys.call('memfd_create', address, MFD_CLOEXEC)
  tell('memfd', memfd)
  const inotify = sys.call('inotify_init1', IN_CLOEXEC)
  if (inotify < 0 || memfd < 0) {
    tell('inotify', inotify)
    return
  }
  bytes.set(Buffer.from(`/proc/self/fd/${memfd}\0`))
  tell('inotify', sys.call('inotify_add_watch', inotify, address, IN_CLOSE))
}

/** Reads a byte of a child of ours, in both ways that there are. */
const probeMemory = async (sys: Sys): Promise<void> => {
  const child = spawn(process.execPath, ['-e', 'process.stdin.resume(); console.log()'], {
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  await new Promise((resolve, reject) => {
    child.stdout.once('data', resolve)
    child.once('error', reject)
  })
  try {
    const pid = child.pid ?? 0
    const readable = firstReadable(pid)
    tell('process-vm', readable === undefined ? -1 : processVmRead(sys, pid, readable))
    tell('proc-mem', readable === undefined ? -1 : procMemRead(pid, readable))
  } finally {
    child.kill()
  }
}

const firstReadable = (pid: number): number | undefined => {
  try {
    const start = /^([0-9a-f]+)-[0-9a-f]+ r/m.exec(readFileSync(`/proc/${pid}/maps`, 'latin1'))?.[1]
    return start === undefined ? undefined : Number.parseInt(start, 16)
  } catch {
    return undefined
  }
}

const processVmRead = (sys: Sys, pid: number, from: number): number => {
  const { view, address } = sys.scratch
  view.setBigUint64(0, BigInt(address + 64), true)
  view.setBigUint64(8, 1n, true)
  view.setBigUint64(16, BigInt(from), true)
  view.setBigUint64(24, 1n, true)
  return sys.call('process_vm_readv', pid, address, 1, address + 16, 1, 0)
}

const procMemRead = (pid: number, from: number): number => {
  try {
    const fd = openSync(`/proc/${pid}/mem`, 'r+')
    try {
      return readSync(fd, new Uint8Array(1), 0, 1, from)
    } finally {
      closeSync(fd)
    }
  } catch {
    return -1
  }
}

/** Last, since it stays with this process: a filter that lets everything through, with a listener. */
const probeListener = (sys: Sys): void => {
  tell('notifications', sys.call('seccomp', SECCOMP_GET_NOTIF_SIZES, 0, sys.scratch.address))
  const program = filterProgram(sys.arch, [])
  const code = sys.alloc(program.length)
  code.bytes.set(program)
  const { view, address } = sys.alloc(16)
  view.setUint16(0, program.length / 8, true)
  view.setBigUint64(8, BigInt(code.address), true)
  tell('no-new-privs', sys.call('prctl', PR_SET_NO_NEW_PRIVS, 1))
  tell(
    'listener',
    sys.call('seccomp', SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, address),
  )
}

const sys = koffiSys()
tell('ffi', 0)
tell('eventfd', sys.call('eventfd2', 0, EFD_CLOEXEC))
probeFiles(sys)
void probeMemory(sys).then(() => {
  probeListener(sys)
  process.exit(0)
})
