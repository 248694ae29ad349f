/** open() of a node of ours, with every flag. */
import type { FileOffset, UserVa } from '../abi/brands.ts'
import { Errno } from '../abi/errno.ts'
import type { OpenFile, OpenMode } from '../engine/file.ts'
import type { Call } from '../engine/ports.ts'
import { Refusal, type Result } from '../engine/reason.ts'
import type { TextFile } from './hosted-system.ts'
import { O } from './kernel.ts'
import type { FileToCreate } from './open-files.ts'
import type { Destination } from './paths.ts'
import { permits } from './permissions.ts'
import { openReal, realLink } from './real-paths.ts'
import { reportAnswered, type Server } from './server.ts'
import { nodeStat } from './stat.ts'
import type { SyntheticNode } from './tree.ts'

/** Flags that only open() looks at: F_GETFL does not show them. */
const OPEN_ONLY = O.CREAT | O.EXCL | O.TRUNC | O.CLOEXEC | 0o400

export const openNode = (server: Server, destination: Destination, flags: number): void => {
  const { notifications } = server
  if (destination.type === 'native' || destination.type === 'descriptor-link')
    notifications.proceed()
  else if (destination.type === 'error') notifications.fail(destination.errno)
  else if (destination.type === 'real') openThrough(server, destination.path, flags)
  else if (destination.type === 'descriptor') {
    // Through /proc/PID/fd the node is opened anew; an anonymous file has none.
    const { node } = destination.hosted
    if (node === undefined) notifications.fail(Errno.ENXIO)
    else openSynthetic(server, node, destination.hosted.path, flags)
  } else openSynthetic(server, destination.node, destination.path, flags)
}

/** A real file behind something of ours. A link itself, by O_PATH and O_NOFOLLOW, is as one of ours. */
const openThrough = (server: Server, path: string, flags: number): void => {
  const { PATH, NOFOLLOW } = server.openFlags
  const itself = PATH | NOFOLLOW
  const target = (flags & itself) === itself ? realLink(server, path) : undefined
  if (target === undefined) openReal(server, path, flags)
  else openSynthetic(server, { kind: 'link', target }, path, flags)
}

const openSynthetic = (server: Server, node: SyntheticNode, path: string, flags: number): void => {
  const refused = refusal(server, node, flags)
  if (refused !== undefined) {
    server.notifications.fail(refused)
    return
  }
  const { PATH } = server.openFlags
  if ((flags & PATH) !== 0)
    install(server, { node, name: path, flags: O.RDONLY, pathOnly: true }, flags)
  else if (node.kind === 'device') openDevice(server, node, path, flags)
  else if (node.kind === 'text') openText(server, node, path, flags)
  else install(server, { node, name: path, flags: O.RDONLY }, flags)
}

/** The checks of open(2), in its order; an errno. */
const refusal = (server: Server, node: SyntheticNode, flags: number): number | undefined => {
  const { PATH, DIRECTORY, DIRECT } = server.openFlags
  const isDirectory = node.kind === 'directory'
  if ((flags & PATH) !== 0)
    return (flags & DIRECTORY) !== 0 && !isDirectory ? Errno.ENOTDIR : undefined
  if ((flags & (O.CREAT | O.EXCL)) === (O.CREAT | O.EXCL)) return Errno.EEXIST
  if (node.kind === 'link') return Errno.ELOOP
  if ((flags & DIRECTORY) !== 0 && !isDirectory) return Errno.ENOTDIR
  const access = flags & O.ACCMODE
  if (isDirectory && (access !== O.RDONLY || (flags & O.CREAT) !== 0)) return Errno.EISDIR
  const wanted = access === O.RDONLY ? 4 : access === O.WRONLY ? 2 : 6
  if (!permits(server.notifications.tid, nodeStat(node), wanted)) return Errno.EACCES
  // A file of sysfs that takes no writing cannot be opened for it, by root neither.
  if (node.kind === 'text' && access !== O.RDONLY && node.write === undefined) return Errno.EACCES
  return (flags & DIRECT) !== 0 ? Errno.EINVAL : undefined
}

const openDevice = (
  server: Server,
  node: Extract<SyntheticNode, { kind: 'device' }>,
  path: string,
  flags: number,
): void => {
  const access = flags & O.ACCMODE
  const mode: OpenMode = access === O.RDONLY ? 'read' : access === O.WRONLY ? 'write' : 'read-write'
  const file = node.device.open(server.call.process, mode)
  server.tree.changed()
  if (file instanceof Refusal) {
    server.notifications.fail(file.errno)
    reportAnswered(server, { operation: 'open', file: node.device.path, result: file })
    return
  }
  const shown = access === 3 ? (flags & ~O.ACCMODE) | O.RDWR : flags
  const fd = install(server, { file, node, name: path, flags: shown }, flags)
  if (fd >= 0) reportAnswered(server, { operation: 'open', file: node.device.path, result: fd })
}

const openText = (server: Server, node: TextFile, path: string, flags: number): void => {
  const content = node.content()
  install(
    server,
    {
      file: node.write === undefined ? undefined : textFile(node, path, flags),
      node,
      name: path,
      flags,
      content: typeof content === 'string' ? Buffer.from(content) : content,
    },
    flags,
  )
}

/**
 * Reads are the kernel's, of the content at the time of open, except of a file whose content changes
 * while it is open. Writes come to the node.
 */
const textFile = (node: TextFile, path: string, flags: number): OpenFile => {
  const access = flags & O.ACCMODE
  // Writing is transfers.ts's, which knows the node.
  const write = (): Result<number> => 0
  const read = (call: Call, buffer: UserVa, count: number, offset: number): number => {
    const content = node.content()
    const bytes = typeof content === 'string' ? Buffer.from(content) : content
    return call.memory.write(buffer, bytes.subarray(offset, offset + count))
  }
  let position = 0
  return {
    kind: 'file',
    linkText: path,
    mode: access === O.RDONLY ? 'read' : access === O.WRONLY ? 'write' : 'read-write',
    isDevice: false,
    write,
    pwrite: write,
    ...(node.live
      ? {
          read: (call: Call, buffer: UserVa, count: number) => {
            const done = read(call, buffer, count, position)
            position += done
            return done
          },
          pread: (call: Call, buffer: UserVa, count: number, offset: FileOffset) =>
            read(call, buffer, count, Number(offset)),
        }
      : {}),
    release: () => {},
  }
}

/** Puts the new file into the caller; the descriptor there, or a negative number. */
const install = (server: Server, wanted: FileToCreate, flags: number): number => {
  const { notifications, files, sys } = server
  // The memfd behind it is opened through a link in /proc.
  const kept = wanted.flags & ~(OPEN_ONLY | server.openFlags.NOFOLLOW)
  const fd = files.create({ ...wanted, flags: kept })
  if (fd < 0) {
    wanted.file?.release()
    notifications.fail(-fd)
    return fd
  }
  const installed = notifications.addFd(fd, {
    closeOnExec: (flags & O.CLOEXEC) !== 0,
    answer: true,
  })
  // If the caller could not take it, this is the last close, and releases it.
  sys.call('close', fd)
  if (installed < 0) notifications.fail(-installed)
  return installed
}
