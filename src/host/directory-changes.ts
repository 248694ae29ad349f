/** chdir, fchdir and getcwd, where a working directory is one of ours or is reached through one. */
import type { UserVa } from '../abi/brands.ts'
import { Errno } from '../abi/errno.ts'
import type { SyscallName } from './arch.ts'
import { openPath } from './client-memory.ts'
import { hostedFile } from './hosted-file.ts'
import { AT_FDCWD, O } from './kernel.ts'
import { pathArgument } from './path-calls.ts'
import type { Handler, Server } from './server.ts'
import type { SyntheticNode } from './tree.ts'

const chdir: Handler = (server) => {
  const { notifications, paths, sys, openFlags } = server
  const path = pathArgument(server, 0)
  const destination =
    path === undefined
      ? undefined
      : paths.resolve(notifications.tid, AT_FDCWD, path, { follow: true })
  if (destination?.type === 'node' && destination.native !== true)
    enterNode(server, destination.node)
  else if (destination?.type === 'descriptor' && destination.hosted.node !== undefined)
    enterNode(server, destination.hosted.node)
  else if (destination?.type === 'error') notifications.fail(destination.errno)
  else if (destination?.type === 'real') {
    const fd = openPath(sys, destination.path, O.RDONLY | openFlags.DIRECTORY)
    if (fd < 0) notifications.fail(-fd)
    else {
      enter(server, fd)
      sys.call('close', fd)
    }
  } else notifications.proceed()
}

const fchdir: Handler = (server) => {
  const hosted = hostedFile(server, server.notifications.int(0))
  if (hosted?.node === undefined) server.notifications.proceed()
  else enterNode(server, hosted.node)
}

const enterNode = (server: Server, node: SyntheticNode): void => {
  const { notifications, paths } = server
  if (node.kind !== 'directory') {
    notifications.fail(Errno.ENOTDIR)
    return
  }
  const fd = paths.workingDirectory(node)
  if (fd < 0) notifications.fail(Errno.EACCES)
  else enter(server, fd)
}

/** The caller's working directory becomes what is behind our descriptor `fd`. */
const enter = (server: Server, fd: number): void => {
  const { notifications, injected } = server
  const there = notifications.addFd(fd, { closeOnExec: true, answer: false })
  if (there < 0) notifications.fail(-there)
  else {
    const calls = [
      { name: 'fchdir', argument: there },
      { name: 'close', argument: there },
    ] as const
    if (!injected.answer(notifications, calls)) notifications.fail(Errno.EACCES)
  }
}

const getcwd: Handler = (server) => {
  const { notifications, paths, memory } = server
  const path = paths.ourWorkingDirectory(notifications.tid)
  if (path === undefined) {
    notifications.proceed()
    return
  }
  const bytes = Buffer.from(`${path === '' ? '/' : path}\0`, 'latin1')
  if (notifications.argument(1) < BigInt(bytes.length)) notifications.fail(Errno.ERANGE)
  else if (memory.write(notifications.argument(0) as UserVa, bytes) < bytes.length)
    notifications.fail(Errno.EFAULT)
  else notifications.succeed(bytes.length)
}

export const directoryChanges: Partial<Record<SyscallName, Handler>> = { chdir, fchdir, getcwd }
