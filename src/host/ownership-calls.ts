/** chmod and chown of our nodes, as scripts do that give a device to somebody. */
import { Errno } from '../abi/errno.ts'
import type { SyscallName } from './arch.ts'
import { hostedFile } from './hosted-file.ts'
import { AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW } from './kernel.ts'
import { resolve } from './path-calls.ts'
import type { Destination } from './paths.ts'
import { givesAway, ownsNode } from './permissions.ts'
import type { Handler, Server } from './server.ts'
import { changeOwnership, nodeStat } from './stat.ts'
import type { SyntheticNode } from './tree.ts'

type Change = (server: Server, node: SyntheticNode) => void

const PERMISSIONS = 0o7777
const UNCHANGED = -1

const withNode = (server: Server, destination: Destination, change: Change): void => {
  const { notifications } = server
  if (destination.type === 'node') change(server, destination.node)
  else if (destination.type === 'descriptor' && destination.hosted.node !== undefined)
    change(server, destination.hosted.node)
  else if (destination.type === 'error') notifications.fail(destination.errno)
  // What is real beyond our links is nobody's to change through them.
  else if (destination.type === 'real') notifications.fail(Errno.EPERM)
  else notifications.proceed()
}

const byPath =
  (follow: boolean, change: Change): Handler =>
  (server) =>
    withNode(server, resolve(server, AT_FDCWD, 0, { follow }), change)

/** `flags`: which argument has AT_* flags. */
const atPath =
  (flags: number | undefined, change: Change): Handler =>
  (server) => {
    const { notifications } = server
    const given = flags === undefined ? 0 : notifications.int(flags)
    const hosted =
      (given & AT_EMPTY_PATH) === 0 ? undefined : hostedFile(server, notifications.int(0))
    if (hosted?.node !== undefined) change(server, hosted.node)
    else {
      const follow = (given & AT_SYMLINK_NOFOLLOW) === 0
      withNode(server, resolve(server, notifications.int(0), 1, { follow }), change)
    }
  }

const byDescriptor =
  (change: Change): Handler =>
  (server) => {
    const hosted = hostedFile(server, server.notifications.int(0))
    if (hosted?.node === undefined) server.notifications.proceed()
    else change(server, hosted.node)
  }

const setMode =
  (argument: number): Change =>
  (server, node) => {
    const { notifications } = server
    if (!ownsNode(notifications.tid, nodeStat(node))) notifications.fail(Errno.EPERM)
    else {
      changeOwnership(node, { permissions: notifications.int(argument) & PERMISSIONS })
      notifications.succeed(0)
    }
  }

/** The user is argument `argument`, the group the next one; -1 leaves either as it is. */
const setOwner =
  (argument: number): Change =>
  (server, node) => {
    const { notifications } = server
    const uid = notifications.int(argument)
    const gid = notifications.int(argument + 1)
    const was = nodeStat(node)
    const asBefore =
      (uid === UNCHANGED || uid === was.uid) && (gid === UNCHANGED || gid === was.gid)
    if (!asBefore && !givesAway(notifications.tid)) notifications.fail(Errno.EPERM)
    else {
      changeOwnership(node, {
        ...(uid === UNCHANGED ? {} : { uid }),
        ...(gid === UNCHANGED ? {} : { gid }),
      })
      notifications.succeed(0)
    }
  }

export const ownershipCalls: Partial<Record<SyscallName, Handler>> = {
  chmod: byPath(true, setMode(1)),
  fchmod: byDescriptor(setMode(1)),
  fchmodat: atPath(undefined, setMode(2)),
  fchmodat2: atPath(3, setMode(2)),
  chown: byPath(true, setOwner(1)),
  lchown: byPath(false, setOwner(1)),
  fchown: byDescriptor(setOwner(1)),
  fchownat: atPath(4, setOwner(2)),
}
