/** `Sys` by the koffi FFI library. */
import koffi, { type LibraryHandle } from 'koffi'
import { thisArch } from './arch.ts'
import type { Block, Sys } from './sys.ts'
import { newTable, plainSequence } from './syscall-sequence.ts'

const ENOSYS = 38

type Syscall = (nr: number, ...args: number[]) => number

/** Throws if the architecture is not supported or the C library lacks what is needed. */
export const koffiSys = (): Sys => {
  const arch = thisArch()
  if (arch === undefined)
    throw new Error(
      `The processor architecture ${process.arch} is not supported; x64 and arm64 are.`,
    )
  const libc = koffi.load(null)
  // Fewer arguments cost less to convert; the kernel ignores those that a call does not take.
  const syscall3 = libc.func('syscall', 'int64', Array(4).fill('int64')) as unknown as Syscall
  const syscall6 = libc.func('syscall', 'int64', Array(7).fill('int64')) as unknown as Syscall

  const sys: Sys = {
    arch,
    call: (name, a = 0, b = 0, c = 0, d, e = 0, f = 0) => {
      const nr = arch.nr[name]
      if (nr === undefined) return -ENOSYS
      const result = d === undefined ? syscall3(nr, a, b, c) : syscall6(nr, a, b, c, d, e, f)
      return result === -1 ? -koffi.errno() : result
    },
    sequence: (length, steps) => {
      const table = newTable(sys, length)
      return plainSequence(sys, steps(table), table)
    },
    code: functionAt,
    alloc,
    at: (address, length) => new Uint8Array(koffi.view(BigInt(address), length)),
    scratch: alloc(4096),
    spawn: spawner(libc),
    signal: signaller(libc),
  }
  return sys
}

const functionAt: Sys['code'] = (address) =>
  koffi.decode(BigInt(address), koffi.proto('int32', ['int64']))

const alloc = (size: number): Block => {
  const pointer = koffi.alloc('uint8_t', size)
  const buffer = koffi.view(pointer, size)
  const bytes = new Uint8Array(buffer)
  bytes.fill(0)
  return { address: Number(koffi.address(pointer)), bytes, view: new DataView(buffer) }
}

const signaller = (libc: LibraryHandle): Sys['signal'] => {
  const signal = libc.func('signal', 'int64', ['int', 'int64'])
  return (number, disposition) => signal(number, disposition === 'ignore' ? 1 : 0)
}

const SPAWN_SETPGROUP = 0x02
const SPAWN_SETSIGDEF = 0x04
const SPAWN_SETSIGMASK = 0x08
/** Larger than posix_spawnattr_t, posix_spawn_file_actions_t and sigset_t of glibc and musl. */
const OPAQUE_SIZE = 512

const spawner = (libc: LibraryHandle): Sys['spawn'] => {
  const take = (name: string, ...types: string[]): ((...args: number[]) => number) =>
    libc.func(name, 'int', types) as unknown as (...args: number[]) => number
  return (request) => {
    const attr = alloc(OPAQUE_SIZE)
    const actions = alloc(OPAQUE_SIZE)
    const signals = alloc(128)
    const pid = alloc(8)
    take('posix_spawnattr_init', 'int64')(attr.address)
    take('posix_spawn_file_actions_init', 'int64')(actions.address)
    take(
      'posix_spawnattr_setflags',
      'int64',
      'short',
    )(attr.address, SPAWN_SETPGROUP | SPAWN_SETSIGDEF | SPAWN_SETSIGMASK)
    take('posix_spawnattr_setpgroup', 'int64', 'int')(attr.address, request.processGroup)
    signals.view.setBigUint64(0, request.blockedSignals, true)
    take('posix_spawnattr_setsigmask', 'int64', 'int64')(attr.address, signals.address)
    signals.view.setBigUint64(0, request.defaultSignals, true)
    take('posix_spawnattr_setsigdefault', 'int64', 'int64')(attr.address, signals.address)
    const addClose = take('posix_spawn_file_actions_addclose', 'int64', 'int')
    for (const fd of request.closeFds) addClose(actions.address, fd)
    const path = cString(request.path)
    const argv = stringArray(request.argv)
    const envp = stringArray(request.envp)
    const spawn = take('posix_spawn', ...Array<string>(6).fill('int64'))
    const failed = spawn(
      pid.address,
      path.address,
      actions.address,
      attr.address,
      argv.address,
      envp.address,
    )
    return failed === 0 ? pid.view.getInt32(0, true) : -failed
  }
}

const cString = (bytes: Uint8Array): Block => {
  const block = alloc(bytes.length + 1)
  block.bytes.set(bytes)
  return block
}

const stringArray = (strings: readonly Uint8Array[]): Block => {
  const pointers = alloc(8 * (strings.length + 1))
  const length = strings.reduce((sum, string) => sum + string.length + 1, 0)
  const text = alloc(Math.max(1, length))
  let at = 0
  for (const [i, string] of strings.entries()) {
    pointers.view.setBigUint64(8 * i, BigInt(text.address + at), true)
    text.bytes.set(string, at)
    at += string.length + 1
  }
  return pointers
}
