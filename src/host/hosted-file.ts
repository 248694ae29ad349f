/** Finding the file of ours that a descriptor of the caller refers to. */
import type { HostedFile } from './open-files.ts'
import type { Server } from './server.ts'

export const hostedFile = (
  { tasks, files, notifications, call }: Server,
  fd: number,
): HostedFile | undefined => {
  if (files.size === 0) return undefined
  const found = tasks.descriptor(notifications.tid, fd)
  if (found === undefined || found.inode === 0) return undefined
  call.foundBy(found.task)
  call.fd = fd
  return files.find(found.device, found.inode)
}
