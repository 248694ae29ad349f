/** Calls on descriptors of ours: ioctl, fstat, mmap. On any other descriptor they go to the kernel. */
import { byteLength, type FileOffset, fileOffset, type UserVa } from '../abi/brands.ts'
import { Errno } from '../abi/errno.ts'
import { Refusal } from '../engine/reason.ts'
import type { SyscallName } from './arch.ts'
import { FileRegions } from './file-regions.ts'
import { hostedFile } from './hosted-file.ts'
import { answersForKvm } from './kvm.ts'
import type { HostedFile } from './open-files.ts'
import { mapOver } from './process-calls.ts'
import { type Handler, reportAnswered, type Server } from './server.ts'
import { hostedStat, writeStat } from './stat.ts'
import type { Held } from './streak.ts'
import type { Task } from './tasks.ts'

const onHostedFile =
  (handler: (server: Server, hosted: HostedFile) => void): Handler =>
  (server) => {
    const hosted = hostedFile(server, server.notifications.int(0))
    if (hosted === undefined) server.notifications.proceed()
    else handler(server, hosted)
  }

const answer = ({ notifications }: Server, result: number | Refusal): void => {
  notifications.return(result instanceof Refusal ? -result.errno : result)
}

const ioctl: Handler = (server) => {
  const { notifications, streak, call, memory } = server
  const fd = notifications.int(0)
  const hosted = hostedFile(server, fd)
  if (hosted === undefined) {
    if (!answersForKvm(server)) notifications.proceed()
  } else {
    streak.found(notifications.tid, fd, call.process.pid, hosted)
    const argument = notifications.argument(2)
    memory.readAhead(argument)
    ioctlOf(server, hosted, argument as UserVa)
  }
}

/** An ioctl that goes on with the streak (turn.ts). */
export const nextIoctl = (server: Server, { fd, file }: Held, task: Task): void => {
  const { notifications, streak, call, memory } = server
  streak.goesOn()
  call.fd = fd
  call.foundBy(task)
  const argument = notifications.argument(2)
  memory.readFirst(argument)
  ioctlOf(server, file, argument as UserVa)
}

const ioctlOf = (server: Server, hosted: HostedFile, argument: UserVa): void => {
  const { file, pathOnly, regions } = hosted
  const { notifications, call } = server
  if (file === undefined) {
    if (pathOnly) notifications.fail(Errno.EBADF)
    else notifications.proceed()
    return
  }
  if (file.ioctl === undefined) {
    notifications.fail(Errno.ENOTTY)
    return
  }
  if (regions !== undefined && file.mappingsOf !== undefined) countMappings(server, hosted, regions)
  answer(server, file.ioctl(call, notifications.int(1) >>> 0, argument))
  server.tree.changed()
}

/** How many areas map each region now: asked of the kernel when it may matter, since unmapping is not trapped. */
const countMappings = (
  { tasks, files }: Server,
  { file, inode }: HostedFile,
  regions: FileRegions,
): void => {
  const counts = new Map<number, number>()
  for (const vma of tasks.allAreas())
    if (files.find(vma.device, vma.inode)?.inode === inode)
      for (const offset of regions.overlapping(vma.offset, vma.end - vma.start))
        counts.set(offset, (counts.get(offset) ?? 0) + 1)
  for (const offset of regions.offsets())
    file?.mappingsOf?.(fileOffset(BigInt(offset)), counts.get(offset) ?? 0)
}

const MAP_FIXED = 0x10
const MAP_ANONYMOUS = 0x20

const mmap: Handler = (server) => {
  const { notifications } = server
  if ((notifications.int(3) & MAP_FIXED) !== 0) mapOver(server, 'mmap')
  if ((notifications.int(3) & MAP_ANONYMOUS) !== 0) {
    notifications.proceed()
    return
  }
  const hosted = hostedFile(server, notifications.int(4))
  if (hosted?.file === undefined) {
    if (hosted?.pathOnly) notifications.fail(Errno.EBADF)
    else notifications.proceed()
    return
  }
  const { file } = hosted
  if (file.mmap === undefined) {
    notifications.fail(Errno.ENODEV)
    return
  }
  const result = file.mmap(server.call, {
    length: byteLength(notifications.argument(1)),
    prot: notifications.int(2),
    flags: notifications.int(3),
    offset: notifications.argument(5) as FileOffset,
  })
  if (result instanceof Refusal) notifications.fail(result.errno)
  else {
    hosted.regions ??= new FileRegions(server.sys, notifications.tid, notifications.int(4))
    hosted.regions.back(result)
    notifications.proceed()
  }
  reportAnswered(server, {
    operation: 'mmap',
    file: file.linkText,
    argument: notifications.argument(1),
    offset: notifications.argument(5),
    result: result instanceof Refusal ? result : 0,
  })
}

const fstat = onHostedFile((server, hosted) => {
  writeStat(server, server.notifications.argument(1), hostedStat(hosted))
})

export const fileCalls: Partial<Record<SyscallName, Handler>> = { ioctl, mmap, fstat }
