/**
 * Real files that a path leads to through something of ours, a link or a directory that the kernel does
 * not know: the supervisor makes the call in the program's place, by the path that the walk ended at.
 */
import type { UserVa } from '../abi/brands.ts'
import { Errno } from '../abi/errno.ts'
import { pathAt } from './client-memory.ts'
import { AT_FDCWD, O } from './kernel.ts'
import type { Server } from './server.ts'

const STATX_SIZE = 256
const STATFS_SIZE = 120

/** What a call put into `scratch` goes to the program, or the errno. */
const answer = (server: Server, result: number, to?: bigint, length = 0): void => {
  const { sys, notifications, memory } = server
  if (result < 0) notifications.fail(-result)
  else if (to === undefined) notifications.succeed(result)
  else if (memory.write(to as UserVa, sys.scratch.bytes.slice(0, length)) < length)
    notifications.fail(Errno.EFAULT)
  else notifications.succeed(result)
}

/**
 * Opens it for the program. The kernel puts no O_PATH descriptor into another process: who asks for one
 * gets one for reading.
 */
export const openReal = (server: Server, path: string, flags: number): void => {
  const { sys, notifications, openFlags } = server
  // The directories in question, of /sys and /dev, take no new files in this way.
  const wanted = (flags & ~(O.CREAT | O.EXCL | openFlags.PATH)) | O.CLOEXEC
  const fd = sys.call('openat', AT_FDCWD, pathAt(sys, path), wanted, 0)
  if (fd < 0) {
    notifications.fail(-fd)
    return
  }
  const closeOnExec = (flags & O.CLOEXEC) !== 0
  const installed = notifications.addFd(fd, { closeOnExec, answer: true })
  sys.call('close', fd)
  if (installed < 0) notifications.fail(-installed)
}

/** The target of a real symbolic link. */
export const realLink = ({ sys }: Server, path: string): string | undefined => {
  const { bytes, address } = sys.scratch
  const length = sys.call('readlinkat', AT_FDCWD, pathAt(sys, path), address, bytes.length)
  return length < 0 ? undefined : Buffer.from(bytes.subarray(0, length)).toString('latin1')
}

/** stat, lstat and newfstatat: `flags` as the last one takes them. */
export const statReal = (server: Server, path: string, to: bigint, flags: number): void => {
  const { sys } = server
  const at = pathAt(sys, path)
  const result = sys.call('newfstatat', AT_FDCWD, at, sys.scratch.address, flags)
  answer(server, result, to, sys.arch.stat.size)
}

/** `mask` is the caller's, as is `flags`. */
export const statxReal = (server: Server, path: string, to: bigint): void => {
  const { sys, notifications } = server
  const [flags, mask] = [notifications.int(2), notifications.int(3)]
  const at = pathAt(sys, path)
  const result = sys.call('statx', AT_FDCWD, at, flags, mask, sys.scratch.address)
  answer(server, result, to, STATX_SIZE)
}

export const statfsReal = (server: Server, path: string, to: bigint): void => {
  const { sys } = server
  const result = sys.call('statfs', pathAt(sys, path), sys.scratch.address)
  answer(server, result, to, STATFS_SIZE)
}

export const accessReal = (server: Server, path: string, wanted: number): void => {
  const { sys } = server
  answer(server, sys.call('faccessat', AT_FDCWD, pathAt(sys, path), wanted))
}

export const readLinkReal = (server: Server, path: string, to: bigint, size: number): void => {
  const { sys } = server
  const { bytes, address } = sys.scratch
  const most = Math.min(size, bytes.length)
  const length = sys.call('readlinkat', AT_FDCWD, pathAt(sys, path), address, most)
  answer(server, length, to, Math.max(0, length))
}
