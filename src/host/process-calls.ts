/** Calls that change what a process is. */
import type { SyscallName } from './arch.ts'
import type { Handler } from './server.ts'

/** The address space may be another one when the thread is seen again. */
const execute: Handler = ({ tasks, notifications }) => {
  tasks.get(notifications.tid)?.process.executed()
  notifications.proceed()
}

export const processCalls: Partial<Record<SyscallName, Handler>> = {
  execve: execute,
  execveat: execute,
}
