/** Calls that change what a process is, or what it has mapped. */

import type { UserVa } from '../abi/brands.ts'
import type { HostAddressSpace } from './address-space.ts'
import type { SyscallName } from './arch.ts'
import type { MemoryReplaced } from './hosted-system.ts'
import { PAGE_SIZE } from './kernel.ts'
import type { Handler, Server } from './server.ts'

const END_OF_USER = 1n << 47n

/** The caller's address space, if the engine holds pages of any at all. */
const heldSpace = ({ shared, tasks, notifications }: Server): HostAddressSpace | undefined =>
  shared.heldPages === 0 ? undefined : tasks.get(notifications.tid)?.process.knownAddressSpace

/** The address space may be another one when the process is seen again. */
const execute: Handler = (server) => {
  const { tasks, notifications } = server
  ending(server, 'execve')
  const process = tasks.known(notifications.tid)?.process
  process?.executed()
  process?.credentialsChange(notifications.tid)
  notifications.proceed()
}

const exitGroup: Handler = (server) => {
  ending(server, 'exit')
  server.notifications.proceed()
}

const ending = (server: Server, by: 'exit' | 'execve'): void => {
  const space = heldSpace(server)
  if (space === undefined) return
  space.ending()
  reportReplaced(server, space, 0n, END_OF_USER, by)
}

/** What was at [argument 0, + argument 1) may not be there afterwards. */
const replaceRange =
  (by: 'munmap' | 'mremap' | 'madvise'): Handler =>
  (server) => {
    mapOver(server, by)
    server.notifications.proceed()
  }

/** The caller may be about to replace what it has at [argument 0, + argument 1). */
export const mapOver = (server: Server, by: MemoryReplaced['by']): void => {
  const space = heldSpace(server)
  if (space === undefined) return
  const start = server.notifications.argument(0)
  const length = server.notifications.argument(1)
  const end = start + length
  // A range that no process can have is the kernel's to refuse.
  if (start % BigInt(PAGE_SIZE) !== 0n || length === 0n || end > END_OF_USER) return
  space.replacing(Number(start), Number(end))
  reportReplaced(server, space, start, end, by)
}

const reportReplaced = (
  { system, call, notifications }: Server,
  { id }: HostAddressSpace,
  start: bigint,
  end: bigint,
  by: MemoryReplaced['by'],
): void => {
  if (system.watch === undefined) return
  const { pid } = call.process
  const range = { start: start as UserVa, end: end as UserVa }
  const place = call.place()
  const where = place === undefined ? {} : { place }
  system.watch.replaces({ pid, tid: notifications.tid, space: id, ...range, by, ...where })
}

/** setuid and its relatives, and unshare into a user namespace of its own. */
const changeCredentials: Handler = ({ tasks, notifications }) => {
  tasks.get(notifications.tid)?.process.credentialsChange(notifications.tid)
  notifications.proceed()
}

const capset: Handler = ({ tasks, notifications, memory }) => {
  const sets = memory.read(notifications.argument(1) as UserVa, 4)
  const process = tasks.get(notifications.tid)?.process
  if (sets.length === 4)
    process?.setsCapabilities(new DataView(sets.buffer, sets.byteOffset).getInt32(0, true))
  process?.credentialsChange(notifications.tid)
  notifications.proceed()
}

/** From now on, paths may begin elsewhere than ours. */
const changeRoot: Handler = ({ paths, tasks, notifications }) => {
  paths.rootsMayDiffer = true
  // setns can change the user namespace as well.
  tasks.get(notifications.tid)?.process.credentialsChange(notifications.tid)
  notifications.proceed()
}

export const processCalls: Partial<Record<SyscallName, Handler>> = {
  execve: execute,
  execveat: execute,
  exit_group: exitGroup,
  capset,
  setuid: changeCredentials,
  setreuid: changeCredentials,
  setresuid: changeCredentials,
  unshare: changeCredentials,
  chroot: changeRoot,
  pivot_root: changeRoot,
  setns: changeRoot,
  munmap: replaceRange('munmap'),
  madvise: replaceRange('madvise'),
  mremap: replaceRange('mremap'),
}
