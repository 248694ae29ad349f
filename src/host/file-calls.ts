/** Calls on descriptors of ours: ioctl, fstat, mmap. On any other descriptor they go to the kernel. */
import { byteLength, type FileOffset, type UserVa } from '../abi/brands.ts'
import { Errno } from '../abi/errno.ts'
import { Refusal } from '../engine/reason.ts'
import type { SyscallName } from './arch.ts'
import type { HostedFile } from './open-files.ts'
import { type Handler, reportAnswered, type Server } from './server.ts'
import { hostedStat, writeStat } from './stat.ts'

/** The file of ours that the caller's descriptor refers to. */
export const hostedFile = ({ tasks, files, notifications, call }: Server, fd: number) => {
  if (files.size === 0) return undefined
  const found = tasks.descriptor(notifications.tid, fd)
  if (found === undefined || found.inode === 0) return undefined
  call.fd = fd
  return files.find(found.device, found.inode)
}

const onHostedFile =
  (handler: (server: Server, hosted: HostedFile) => void): Handler =>
  (server) => {
    const hosted = hostedFile(server, server.notifications.int(0))
    if (hosted === undefined) server.notifications.proceed()
    else handler(server, hosted)
  }

const answer = ({ notifications }: Server, result: number | Refusal): void => {
  if (result instanceof Refusal) notifications.fail(result.errno)
  else notifications.succeed(result)
}

const ioctl = onHostedFile((server, { file }) => {
  const { notifications, call, memory } = server
  if (file.ioctl === undefined) {
    notifications.fail(Errno.ENOTTY)
    return
  }
  const argument = notifications.argument(2)
  memory.readAhead(argument)
  answer(server, file.ioctl(call, notifications.int(1) >>> 0, argument as UserVa))
  server.tree.changed()
})

const mmap: Handler = (server) => {
  const { notifications } = server
  const hosted = hostedFile(server, notifications.int(4))
  if (hosted === undefined) {
    notifications.proceed()
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
  else notifications.proceed()
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
