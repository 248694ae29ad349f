/** How eventfds of clients come to be held by us (eventfds.ts); decided once. */
import type { Sys } from './sys.ts'

/**
 * `taken`: out of the client, when it gives one to a device. `made`: where pidfd_getfd is refused, as
 * Docker's default profile does, eventfd() is trapped and each eventfd is one of ours from the start.
 */
export type EventfdAccess = 'taken' | 'made'

/** Tried on ourselves: a container runtime that refuses the call refuses it for every process. */
export const eventfdAccess = (sys: Sys): EventfdAccess => {
  const pidfd = sys.call('pidfd_open', process.pid, 0)
  if (pidfd < 0) return 'made'
  const taken = sys.call('pidfd_getfd', pidfd, pidfd, 0)
  sys.call('close', pidfd)
  if (taken < 0) return 'made'
  sys.call('close', taken)
  return 'taken'
}
