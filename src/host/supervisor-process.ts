/** The supervisor as the front sees it: a child process and a channel to it. */
import { type ChildProcess, spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import { builtFile } from './built-file.ts'
import { inherited } from './inherited.ts'
import type { Inherited } from './run-protocol.ts'

export interface SupervisorProcess {
  readonly child: ChildProcess
  readonly channel: Socket
  readonly inherited: Inherited
}

const offered = new Map<string, SupervisorProcess>()

/** One that was started before it was known what it is to do. If it gets no order, it goes when we go. */
export const offerSupervisor = (file: string, started: SupervisorProcess): void => {
  offered.set(file, started)
}

/** The one that was offered, or a new one. `file` is a built program that calls `supervise`. */
export const supervisorProcess = (file: string): SupervisorProcess => {
  const started = offered.get(file)
  offered.delete(file)
  return started ?? startSupervisor(file)
}

export const startSupervisor = (file: string): SupervisorProcess => {
  const before = inherited()
  // All of ours at the same number, for the program to inherit; the channel behind them.
  const control = Math.max(2, ...before.descriptors) + 1
  const open = new Set(before.descriptors)
  const child = spawn(process.execPath, [builtFile(file), String(control)], {
    stdio: [
      ...Array.from({ length: control }, (_, fd) => (open.has(fd) ? fd : ('ignore' as const))),
      'pipe',
    ],
  })
  const channel = child.stdio[control] as Socket
  // It does not keep us here before it has an order.
  channel.unref()
  child.unref()
  channel.on('error', () => {})
  child.on('error', () => {})
  return { child, channel, inherited: before }
}
