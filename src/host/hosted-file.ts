/** Finding the file of ours that a descriptor of the caller refers to. */
import type { HostedFile } from './open-files.ts'
import type { Server } from './server.ts'

/** Asks the kernel, which takes a third of a whole call's time. */
export const hostedFile = (
  { tasks, files, notifications, call }: Server,
  fd: number,
): HostedFile | undefined => {
  if (files.size === 0) return undefined
  const found = tasks.descriptor(notifications.tid, fd)
  if (found === undefined || found.inode === 0) return undefined
  const { task } = found
  call.fd = fd
  call.task = task
  const hosted = files.find(found.device, found.inode)
  if (hosted === undefined || hosted.shared) task.descriptors.delete(fd)
  else task.descriptors.set(fd, hosted)
  return hosted
}

/**
 * Remembers what was found, for as long as nobody else can have the file: then only its last close makes
 * the descriptor free for another file, and that is reported to us. A descriptor that was sent over a
 * socket escapes this; so it serves only for calls that make sense on files of ours alone.
 */
export const knownHostedFile = (server: Server, fd: number): HostedFile | undefined => {
  const task = server.tasks.known(server.notifications.tid)
  const hosted = task?.descriptors.get(fd)
  if (hosted === undefined || hosted.shared || hosted.released) return hostedFile(server, fd)
  server.call.fd = fd
  server.call.task = task
  return hosted
}
