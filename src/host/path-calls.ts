/** Calls on a path: open, stat, access, readlink and their relatives. */
import type { UserVa } from '../abi/brands.ts'
import { Errno } from '../abi/errno.ts'
import type { SyscallName } from './arch.ts'
import { hostedFile } from './hosted-file.ts'
import { AT_EACCESS, AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, O } from './kernel.ts'
import { openNode } from './open-node.ts'
import { type Destination, RESOLVE } from './paths.ts'
import { permits } from './permissions.ts'
import { accessReal, readLinkReal, statfsReal, statReal, statxReal } from './real-paths.ts'
import type { Handler, Server } from './server.ts'
import { hostedStat, nodeStat, type Stat, writeStat, writeStatx } from './stat.ts'

const PATH_MAX = 4096
const ENODATA = 61
const E2BIG = 7
const OPEN_HOW_SIZE = 24
const ALL_RESOLVE = 0x3f

export const pathArgument = (server: Server, index: number): string | undefined => {
  const bytes = server.memory.string(server.notifications.argument(index), PATH_MAX)
  return bytes && Buffer.from(bytes).toString('latin1')
}

export const resolve = (
  server: Server,
  directory: number,
  path: number,
  options: { follow: boolean; resolve?: number },
): Destination => {
  const text = pathArgument(server, path)
  return text === undefined
    ? { type: 'native' }
    : server.paths.resolve(server.notifications.tid, directory, text, options)
}

const openAt = (
  server: Server,
  directory: number,
  path: number,
  flags: number,
  resolveFlags = 0,
): void => {
  const { NOFOLLOW } = server.openFlags
  const destination = resolve(server, directory, path, {
    follow: (flags & NOFOLLOW) === 0 && (flags & (O.CREAT | O.EXCL)) !== (O.CREAT | O.EXCL),
    resolve: resolveFlags,
  })
  openNode(server, destination, flags)
}

const open: Handler = (server) => openAt(server, AT_FDCWD, 0, server.notifications.int(1))
const openat: Handler = (server) =>
  openAt(server, server.notifications.int(0), 1, server.notifications.int(2))
const creat: Handler = (server) => openAt(server, AT_FDCWD, 0, O.CREAT | O.WRONLY | O.TRUNC)

const openat2: Handler = (server) => {
  const { notifications, memory } = server
  const size = Number(notifications.argument(3))
  const how = memory.read(notifications.argument(2) as UserVa, Math.min(size, PATH_MAX))
  // What openat2 itself refuses, it refuses before it looks at the path.
  if (size < OPEN_HOW_SIZE || how.length < Math.min(size, PATH_MAX)) {
    notifications.proceed()
    return
  }
  const view = new DataView(how.buffer, how.byteOffset, how.length)
  const resolveFlags = view.getBigUint64(16, true)
  if (view.getBigUint64(0, true) > 0xffff_ffffn || resolveFlags > BigInt(ALL_RESOLVE)) {
    notifications.proceed()
    return
  }
  if (how.subarray(OPEN_HOW_SIZE).some((byte) => byte !== 0)) {
    notifications.fail(E2BIG)
    return
  }
  // Nothing of ours is in the kernel's cache of path look-ups.
  const cached = (Number(resolveFlags) & RESOLVE.CACHED) !== 0
  const flags = Number(view.getBigUint64(0, true))
  openAt(
    server,
    notifications.int(0),
    1,
    flags,
    cached ? Number(resolveFlags) & ~RESOLVE.CACHED : Number(resolveFlags),
  )
}

interface Describing {
  readonly write: (server: Server, stat: Stat) => void
  /** For a real file. */
  readonly real: (server: Server, path: string) => void
}

/** Answers with what is at a destination, or leaves it to the kernel. */
const describe = (server: Server, destination: Destination, { write, real }: Describing): void => {
  const { notifications } = server
  if (destination.type === 'node') write(server, nodeStat(destination.node))
  else if (destination.type === 'real') real(server, destination.path)
  else if (destination.type === 'descriptor') write(server, hostedStat(destination.hosted))
  else if (destination.type === 'error') notifications.fail(destination.errno)
  else notifications.proceed()
}

/** stat and lstat: path, buffer. */
const stat =
  (follow: boolean): Handler =>
  (server) => {
    const to = server.notifications.argument(1)
    describe(server, resolve(server, AT_FDCWD, 0, { follow }), {
      write: (_, found) => writeStat(server, to, found),
      real: (_, path) => statReal(server, path, to, follow ? 0 : AT_SYMLINK_NOFOLLOW),
    })
  }

/** newfstatat and statx: an empty path is the descriptor itself. */
const statAt =
  (flagsArgument: number, describing: Describing): Handler =>
  (server) => {
    const { notifications } = server
    const flags = notifications.int(flagsArgument)
    const path = pathArgument(server, 1)
    if ((flags & AT_EMPTY_PATH) !== 0 && (path === undefined || path === '')) {
      const hosted = hostedFile(server, notifications.int(0))
      if (hosted === undefined) notifications.proceed()
      else describing.write(server, hostedStat(hosted))
      return
    }
    describe(
      server,
      resolve(server, notifications.int(0), 1, { follow: (flags & AT_SYMLINK_NOFOLLOW) === 0 }),
      describing,
    )
  }

const checkAccess = (server: Server, destination: Destination, wanted: number): void => {
  const { notifications } = server
  if (destination.type === 'error') notifications.fail(destination.errno)
  else if (destination.type === 'native' || destination.type === 'descriptor-link')
    notifications.proceed()
  else if (destination.type === 'real') accessReal(server, destination.path, wanted)
  else {
    const found =
      destination.type === 'node' ? nodeStat(destination.node) : hostedStat(destination.hosted)
    if ((wanted & ~7) !== 0) notifications.fail(Errno.EINVAL)
    else if (permits(notifications.tid, found, wanted)) notifications.succeed(0)
    else notifications.fail(Errno.EACCES)
  }
}

const access: Handler = (server) =>
  checkAccess(server, resolve(server, AT_FDCWD, 0, { follow: true }), server.notifications.int(1))

/** faccessat has no flags argument; faccessat2 has. */
const accessAt =
  (hasFlags: boolean): Handler =>
  (server) => {
    const { notifications } = server
    const flags = hasFlags ? notifications.int(3) : 0
    if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_EACCESS | AT_EMPTY_PATH)) !== 0) {
      notifications.proceed()
      return
    }
    const follow = (flags & AT_SYMLINK_NOFOLLOW) === 0
    checkAccess(server, resolve(server, notifications.int(0), 1, { follow }), notifications.int(2))
  }

const readLinkOf = (
  server: Server,
  destination: Destination,
  buffer: bigint,
  size: number,
): void => {
  const { notifications, memory } = server
  if (destination.type === 'error') notifications.fail(destination.errno)
  else if (destination.type === 'native' || destination.type === 'descriptor')
    notifications.proceed()
  else if (size <= 0) notifications.fail(Errno.EINVAL)
  else if (destination.type === 'real') readLinkReal(server, destination.path, buffer, size)
  else {
    const target =
      destination.type === 'node'
        ? destination.node.kind === 'link'
          ? destination.node.target
          : undefined
        : descriptorLink(destination.hosted)
    if (target === undefined) {
      notifications.fail(Errno.EINVAL)
      return
    }
    const bytes = Buffer.from(target, 'latin1').subarray(0, size)
    if (memory.write(buffer as UserVa, bytes) < bytes.length) notifications.fail(Errno.EFAULT)
    else notifications.succeed(bytes.length)
  }
}

/** What /proc/PID/fd/N says of a file of ours. */
const descriptorLink = ({
  file,
  path,
}: {
  file?: { linkText: string } | undefined
  path: string
}) => file?.linkText ?? path

const readlink: Handler = (server) => {
  const { notifications } = server
  readLinkOf(
    server,
    resolve(server, AT_FDCWD, 0, { follow: false }),
    notifications.argument(1),
    notifications.int(2),
  )
}

const readlinkat: Handler = (server) => {
  const { notifications } = server
  readLinkOf(
    server,
    resolve(server, notifications.int(0), 1, { follow: false }),
    notifications.argument(2),
    notifications.int(3),
  )
}

/** Extended attributes: our nodes have none. */
const attribute =
  (follow: boolean, none: (server: Server) => void): Handler =>
  (server) => {
    const destination = resolve(server, AT_FDCWD, 0, { follow })
    if (destination.type === 'native') server.notifications.proceed()
    else if (destination.type === 'error') server.notifications.fail(destination.errno)
    else none(server)
  }
const noData = (server: Server): void => server.notifications.fail(ENODATA)
const noNames = (server: Server): void => server.notifications.succeed(0)

/** A node seems to be on the file system that is mounted at the top of its path. */
const statfsAt = (server: Server, path: string): void =>
  statfsReal(server, path.slice(0, path.indexOf('/', 1) >>> 0), server.notifications.argument(1))

const statfs: Handler = (server) => {
  const destination = resolve(server, AT_FDCWD, 0, { follow: true })
  const to = server.notifications.argument(1)
  if (destination.type === 'real') statfsReal(server, destination.path, to)
  else if (destination.type === 'node') statfsAt(server, destination.path)
  else if (destination.type === 'error') server.notifications.fail(destination.errno)
  else server.notifications.proceed()
}

const fstatfs: Handler = (server) => {
  const hosted = hostedFile(server, server.notifications.int(0))
  if (hosted?.node === undefined) server.notifications.proceed()
  else statfsAt(server, hosted.path)
}

export const pathCalls: Partial<Record<SyscallName, Handler>> = {
  open,
  openat,
  openat2,
  creat,
  stat: stat(true),
  lstat: stat(false),
  newfstatat: statAt(3, {
    write: (server, found) => writeStat(server, server.notifications.argument(2), found),
    real: (server, path) => {
      const { notifications } = server
      statReal(server, path, notifications.argument(2), notifications.int(3))
    },
  }),
  statx: statAt(2, {
    write: (server, found) => writeStatx(server, server.notifications.argument(4), found),
    real: (server, path) => statxReal(server, path, server.notifications.argument(4)),
  }),
  access,
  faccessat: accessAt(false),
  faccessat2: accessAt(true),
  readlink,
  readlinkat,
  getxattr: attribute(true, noData),
  lgetxattr: attribute(false, noData),
  listxattr: attribute(true, noNames),
  llistxattr: attribute(false, noNames),
  statfs,
  fstatfs,
}
