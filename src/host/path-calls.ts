/** Calls on a path: open, stat, access, readlink and their relatives. */
import { Errno } from '../abi/errno.ts'
import type { OpenMode } from '../engine/file.ts'
import { Refusal } from '../engine/reason.ts'
import type { SyscallName } from './arch.ts'
import { hostedFile } from './file-calls.ts'
import { AT_EMPTY_PATH, AT_FDCWD, O } from './kernel.ts'
import { type Handler, reportAnswered, type Server } from './server.ts'
import { hostedStat, nodeStat, writeStat, writeStatx } from './stat.ts'
import type { Device, SyntheticNode } from './tree.ts'

const PATH_MAX = 4096

const lookUp = (server: Server, _directory: number, address: bigint): SyntheticNode | undefined => {
  const bytes = server.memory.string(address, PATH_MAX)
  if (bytes === undefined) return undefined
  const path = Buffer.from(bytes).toString('utf8')
  if (!path.startsWith('/')) return undefined
  let node: SyntheticNode | undefined = server.tree.root
  for (const name of path.split('/')) {
    if (name === '') continue
    if (node?.kind !== 'directory') return undefined
    node = node.entries.get(name)
  }
  return node
}

const open = (server: Server, directory: number, address: bigint, flags: number): void => {
  const node = lookUp(server, directory, address)
  if (node?.kind !== 'device') {
    server.notifications.proceed()
    return
  }
  openDevice(server, node, flags)
}

const openDevice = (server: Server, node: Device, flags: number): void => {
  const { notifications, call, files, sys } = server
  const access = flags & O.ACCMODE
  const mode: OpenMode = access === O.RDONLY ? 'read' : access === O.WRONLY ? 'write' : 'read-write'
  const file = node.device.open(call.process, mode)
  if (file instanceof Refusal) {
    notifications.fail(file.errno)
    reportAnswered(server, { operation: 'open', file: node.device.path, result: file })
    return
  }
  const fd = files.create(file, node, flags & ~(O.CREAT | O.EXCL | O.TRUNC))
  if (fd < 0) {
    file.release()
    notifications.fail(-fd)
    return
  }
  const installed = notifications.addFd(fd, {
    closeOnExec: (flags & O.CLOEXEC) !== 0,
    answer: true,
  })
  sys.call('close', fd)
  if (installed < 0) notifications.fail(-installed)
  else reportAnswered(server, { operation: 'open', file: node.device.path, result: installed })
}

const at =
  (path: number, flags: number): Handler =>
  (server) => {
    const { notifications } = server
    const directory = path === 0 ? AT_FDCWD : notifications.int(0)
    open(server, directory, notifications.argument(path), notifications.int(flags))
  }

const newfstatat: Handler = (server) => {
  const { notifications } = server
  if ((notifications.int(3) & AT_EMPTY_PATH) !== 0) {
    const hosted = hostedFile(server, notifications.int(0))
    if (hosted === undefined) notifications.proceed()
    else writeStat(server, notifications.argument(2), hostedStat(hosted))
    return
  }
  const node = lookUp(server, notifications.int(0), notifications.argument(1))
  if (node === undefined || node.kind === 'directory') notifications.proceed()
  else writeStat(server, notifications.argument(2), nodeStat(node))
}

const statx: Handler = (server) => {
  const { notifications } = server
  if ((notifications.int(2) & AT_EMPTY_PATH) !== 0) {
    const hosted = hostedFile(server, notifications.int(0))
    if (hosted === undefined) notifications.proceed()
    else writeStatx(server, notifications.argument(4), hostedStat(hosted))
    return
  }
  const node = lookUp(server, notifications.int(0), notifications.argument(1))
  if (node === undefined || node.kind === 'directory') notifications.proceed()
  else writeStatx(server, notifications.argument(4), nodeStat(node))
}

const stat: Handler = (server) => {
  const { notifications } = server
  const node = lookUp(server, AT_FDCWD, notifications.argument(0))
  if (node === undefined || node.kind === 'directory') notifications.proceed()
  else writeStat(server, notifications.argument(1), nodeStat(node))
}

const access =
  (path: number): Handler =>
  (server) => {
    const { notifications } = server
    const node = lookUp(server, AT_FDCWD, notifications.argument(path))
    if (node === undefined || node.kind === 'directory') notifications.proceed()
    else if ((notifications.int(path + 1) & 1) !== 0) notifications.fail(Errno.EACCES)
    else notifications.succeed(0)
  }

export const pathCalls: Partial<Record<SyscallName, Handler>> = {
  open: at(0, 1),
  openat: at(1, 2),
  newfstatat,
  statx,
  stat,
  lstat: stat,
  access: access(0),
  faccessat: access(1),
  faccessat2: access(1),
}
