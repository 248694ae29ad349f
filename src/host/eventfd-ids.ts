/** Which eventfd a descriptor of a process is: all share one inode, fdinfo tells them apart. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** The kernel's number of the eventfd behind a descriptor; undefined before Linux 5.2, and for what is none. */
export const eventfdId = (pid: number | 'self', fd: number | string): string | undefined =>
  /^eventfd-id: *(\d+)/m.exec(
    attempt(() => readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'latin1')) ?? '',
  )?.[1]

/** Those that a process has open, as far as it can be looked into. */
export function* eventfdsOf(pid: number): Generator<string> {
  for (const fd of attempt(() => readdirSync(`/proc/${pid}/fd`)) ?? []) {
    if (attempt(() => readlinkSync(`/proc/${pid}/fd/${fd}`)) !== 'anon_inode:[eventfd]') continue
    const id = eventfdId(pid, fd)
    if (id !== undefined) yield id
  }
}

const attempt = <T>(what: () => T): T | undefined => {
  try {
    return what()
  } catch {
    // The process is gone, or has closed it, or is another user's.
    return undefined
  }
}
