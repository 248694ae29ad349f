/** eventfd(), where eventfds have to be ours from the start (eventfd-access.ts). */
import type { SyscallName } from './arch.ts'
import { EFD_CLOEXEC } from './kernel.ts'
import type { Handler, Server } from './server.ts'

const make = (server: Server, flags: number): void => {
  const { notifications, eventfds } = server
  const { made } = eventfds
  const fd = made?.make(notifications.int(0), flags) ?? -1
  if (made === undefined || fd < 0) {
    // The kernel says what is wrong; or we have no descriptor left, and the client may have one.
    notifications.proceed()
    return
  }
  const closeOnExec = (flags & EFD_CLOEXEC) !== 0
  const installed = notifications.addFd(fd, { closeOnExec, answer: true })
  if (installed >= 0) return
  made.discard(fd)
  notifications.fail(-installed)
}

export const eventfdCalls: Partial<Record<SyscallName, Handler>> = {
  eventfd2: (server) => make(server, server.notifications.int(1)),
  eventfd: (server) => make(server, 0),
}
