/** Calls that change what a process is, or what it has mapped. */

import type { UserVa } from '../abi/brands.ts'
import type { HostAddressSpace } from './address-space.ts'
import type { SyscallName } from './arch.ts'
import { PAGE_SIZE } from './kernel.ts'
import type { Handler, Server } from './server.ts'

/** The caller's address space, if the engine holds pages of any at all. */
const heldSpace = ({ shared, tasks, notifications }: Server): HostAddressSpace | undefined =>
  shared.heldPages === 0 ? undefined : tasks.get(notifications.tid)?.process.knownAddressSpace

/** The address space may be another one when the process is seen again. */
const execute: Handler = (server) => {
  const { tasks, notifications } = server
  heldSpace(server)?.ending()
  const process = tasks.known(notifications.tid)?.process
  process?.executed()
  process?.credentialsChange(notifications.tid)
  notifications.proceed()
}

const exitGroup: Handler = (server) => {
  heldSpace(server)?.ending()
  server.notifications.proceed()
}

/** munmap, madvise, mremap: what was at [argument 0, + argument 1) may not be there afterwards. */
const replaceRange: Handler = (server) => {
  mapOver(server)
  server.notifications.proceed()
}

/** The caller may be about to replace what it has at [argument 0, + argument 1). */
export const mapOver = (server: Server): void => {
  const space = heldSpace(server)
  if (space === undefined) return
  const start = server.notifications.argument(0)
  const length = server.notifications.argument(1)
  const end = start + length
  // A range that no process can have is the kernel's to refuse.
  if (start % BigInt(PAGE_SIZE) !== 0n || length === 0n || end > 1n << 47n) return
  space.replacing(Number(start), Number(end))
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
  munmap: replaceRange,
  madvise: replaceRange,
  mremap: replaceRange,
}
