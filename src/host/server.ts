/** Serves trapped calls: one handler per system call, chosen by its number. */
import type { FallibleStep } from '../engine/ports.ts'
import type { SyscallName } from './arch.ts'
import { CallerPlaces } from './caller-place.ts'
import { ClientMemory, type MemoryAccess } from './client-memory.ts'
import { directoryCalls, Listings } from './directories.ts'
import { directoryChanges } from './directory-changes.ts'
import type { EventfdAccess } from './eventfd-access.ts'
import { eventfdCalls } from './eventfd-calls.ts'
import { Eventfds } from './eventfds.ts'
import { fileCalls, nextIoctl } from './file-calls.ts'
import type { AnsweredCall, HostedSystem } from './hosted-system.ts'
import { InjectedCalls } from './injected-calls.ts'
import { openFlags } from './kernel.ts'
import { Notifications } from './notifications.ts'
import { OpenFiles } from './open-files.ts'
import { ownershipCalls } from './ownership-calls.ts'
import { pathCalls } from './path-calls.ts'
import { Paths } from './paths.ts'
import { ProcFiles } from './proc-files.ts'
import { processCalls } from './process-calls.ts'
import { ServedCall } from './served-call.ts'
import { SharedMemory } from './shared-memory.ts'
import { Streak } from './streak.ts'
import type { Sys } from './sys.ts'
import { Tasks } from './tasks.ts'
import { transferCalls } from './transfers.ts'
import { Tree } from './tree.ts'

/** Everything a handler may use. */
export interface Server {
  readonly sys: Sys
  readonly system: HostedSystem
  readonly tree: Tree
  readonly notifications: Notifications
  readonly memory: ClientMemory
  readonly tasks: Tasks
  readonly files: OpenFiles
  readonly shared: SharedMemory
  readonly eventfds: Eventfds
  readonly paths: Paths
  readonly injected: InjectedCalls
  readonly listings: Listings
  readonly openFlags: ReturnType<typeof openFlags>
  readonly streak: Streak
  readonly call: ServedCall
}

/** Answers the call that `server.notifications` has received, in exactly one way. */
export type Handler = (server: Server) => void

export const createServer = (
  sys: Sys,
  listener: number,
  system: HostedSystem,
  access: { readonly memory: MemoryAccess; readonly eventfds: EventfdAccess },
): Server => {
  const notifications = new Notifications(sys, listener)
  const memory = new ClientMemory(sys, access.memory)
  const files = new OpenFiles(sys)
  const shared = new SharedMemory(
    sys,
    files.device,
    (device, inode) => files.find(device, inode) !== undefined,
  )
  const fails = (tid: number, step: FallibleStep): boolean =>
    (system.faults?.fails(tid, step) ?? false) || (system.fails?.(tid, step) ?? false)
  const tasks = new Tasks(sys, shared)
  shared.mappers = () => tasks.addressSpaces()
  const eventfds = new Eventfds(sys, access.eventfds)
  eventfds.clients = () => tasks.family()
  const workers = system.deviceWorkers ?? []
  for (const worker of workers) eventfds.watch(worker.attention, () => worker.serve())
  shared.byProcess = access.memory === 'process_vm'
  if (workers.length > 0)
    shared.moving = () => {
      for (const worker of workers) worker.memoryMoving()
    }
  const places = system.placesCalls && sys.arch.name === 'x64' ? new CallerPlaces() : undefined
  const parts = { sys, notifications, tasks, files, shared, eventfds, memory, fails, places }
  const call = new ServedCall(parts)
  const tree = new Tree(system)
  return {
    sys,
    system,
    tree,
    notifications,
    memory,
    tasks,
    files,
    shared,
    eventfds,
    paths: new Paths(sys, tree, tasks, files, new ProcFiles(system, tasks)),
    injected: new InjectedCalls(sys),
    listings: new Listings(),
    openFlags: openFlags(sys.arch.name),
    streak: new Streak(sys),
    call,
  }
}

/** Tells whoever watches of a call that the engine does not report itself. */
export const reportAnswered = (
  { system, call, notifications }: Server,
  what: Omit<AnsweredCall, 'pid' | 'tid'>,
): void => {
  system.watch?.answered({ ...what, pid: call.process.pid, tid: notifications.tid })
}

/** Handlers by system call number. */
export const handlers = (sys: Sys): ReadonlyMap<number, Handler> => {
  const table = new Map<number, Handler>()
  const all: Partial<Record<SyscallName, Handler>> = {
    ...fileCalls,
    ...transferCalls,
    ...directoryCalls,
    ...directoryChanges,
    ...ownershipCalls,
    ...pathCalls,
    ...processCalls,
    ...eventfdCalls,
  }
  for (const [name, handler] of Object.entries(all)) {
    const nr = sys.arch.nr[name as SyscallName]
    if (nr !== undefined) table.set(nr, handler)
  }
  return table
}

/** Whoever has closed a file for the last time: it is released now. */
export const releaseClosed = ({ streak, files }: Server): void => {
  streak.letGo()
  files.drain()
}

/**
 * Serves one call; `goesOn` says that it goes on with the streak. A handler that throws leaves the call to
 * the kernel, and the supervisor alive.
 */
export const serve = (
  server: Server,
  table: ReadonlyMap<number, Handler>,
  goesOn: boolean,
  report: (error: unknown) => void,
): void => {
  const { notifications, streak, system, call } = server
  const held = goesOn ? streak.held : undefined
  const task = held && server.tasks.known(held.tid)
  if (task === undefined && streak.held !== undefined) releaseClosed(server)
  call.begin(notifications.tid)
  system.watch?.begins(call)
  try {
    const handler = table.get(notifications.nr)
    if (held !== undefined && task !== undefined) nextIoctl(server, held, task)
    else if (handler === undefined) notifications.proceed()
    else handler(server)
  } catch (error) {
    notifications.proceed()
    report(error)
  }
  system.watch?.ends()
}
