/** The supervisor process: starts the program under the filter, serves its calls until nobody is left. */
import { closeSync, openSync } from 'node:fs'
import { commandCandidates, rawCommand } from './command-lookup.ts'
import { Control } from './control.ts'
import { eventfdAccess } from './eventfd-access.ts'
import type { HostedSystem } from './hosted-system.ts'
import { INHERITED_VARIABLE } from './inherited.ts'
import {
  EFD_CLOEXEC,
  EFD_NONBLOCK,
  POLLERR,
  POLLHUP,
  POLLIN,
  RLIMIT_CORE,
  SIGHUP,
  SIGINT,
  SIGKILL,
  SIGQUIT,
  SIGTERM,
  SIGTSTP,
  SIGTTIN,
  SIGTTOU,
} from './kernel.ts'
import { Go, type Launch, Word } from './launcher.ts'
import type { LauncherThread } from './launcher-thread.ts'
import { withMachineCode } from './machine-code.ts'
import { memoryAccess } from './memory-access.ts'
import { listenerRefused } from './refusals.ts'
import type { SupervisorOrder } from './run-protocol.ts'
import { createServer, handlers, releaseClosed, type Server, serve } from './server.ts'
import type { Sys } from './sys.ts'
import { koffiSys } from './sys-koffi.ts'
import { type Arrival, Turn } from './turn.ts'

/** Signals meant for the program's group or session, which the supervisor outlives. */
const OUTLIVED = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU]

/** The whole life of the supervisor process; `build` makes what it serves from the order's `config`. */
export const supervise = async (
  launcher: LauncherThread,
  build: (config: unknown) => HostedSystem | Promise<HostedSystem>,
): Promise<void> => {
  const sys = withMachineCode(koffiSys())
  sys.call('setpgid', 0, 0)
  for (const signal of OUTLIVED) sys.signal(signal, 'ignore')
  const control = new Control(sys, Number(process.argv[2]))
  const order = control.order()
  if (order === undefined) leave(sys)
  const { words } = launcher
  const wake = sys.call('eventfd2', 0, EFD_CLOEXEC | EFD_NONBLOCK)
  launcher.prepare(launchOf(sys, order, wake))
  let system: HostedSystem
  try {
    system = await build(order.config)
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    control.report({ type: 'failed', status: 125, message })
    leave(sys)
  }
  const access = { memory: memoryAccess(sys), eventfds: eventfdAccess(sys) }
  Atomics.store(
    words,
    Word.GO,
    Go.GO |
      (system.transfers === 'registers' ? Go.REGISTERS : 0) |
      (access.eventfds === 'made' ? Go.EVENTFDS : 0) |
      (system.hasControls === true ? Go.CONTROLS : 0),
  )
  Atomics.notify(words, Word.GO)
  Atomics.wait(words, Word.LISTENER, 0)
  const listener = Atomics.load(words, Word.LISTENER)
  if (listener < 0) {
    const { says, advice } = listenerRefused(-listener)
    control.report({ type: 'failed', status: 125, message: `${says} ${advice}` })
    leave(sys)
  }
  try {
    const server = createServer(sys, listener - 1, system, access)
    await new Supervisor(server, wake, words, control, order).run()
    system.ended?.()
  } catch (error) {
    control.report({ type: 'message', message: mistake(error) })
  }
  leave(sys)
}

/**
 * At once: Node's own way waits for the launcher thread, which may be waiting for us to answer a call of
 * its own that the filter has caught.
 */
const leave: (sys: Sys) => never = (sys) => {
  sys.call('exit_group', 0)
  throw new Error('unreachable')
}

const mistake = (error: unknown): string =>
  `A call could not be served, because of a mistake in iommufd-user: ${error instanceof Error ? error.stack : error}`

/** What the launcher needs to know; ignored signals are ignored here, for the program to inherit. */
const launchOf = (
  sys: Sys,
  { inherited, front, command, processGroup }: SupervisorOrder,
  wake: number,
): Launch => {
  const ignored = BigInt(`0x${inherited.ignoredSignals}`)
  for (let signal = 1; signal <= 64; signal++)
    if ((ignored & (1n << BigInt(signal - 1))) !== 0n) sys.signal(signal, 'ignore')
  const { argv, envp } = rawCommand(front, command, INHERITED_VARIABLE)
  const open = new Set(inherited.descriptors)
  return {
    wake,
    argv,
    envp,
    candidates: commandCandidates(argv[0] ?? new Uint8Array(), envp),
    processGroup,
    blockedSignals: BigInt(`0x${inherited.blockedSignals}`),
    defaultSignals: ~ignored & 0xffff_ffff_ffff_ffffn,
    descriptors: inherited.descriptors,
    openFiles: inherited.openFiles,
    closeFds: [0, 1, 2].filter((fd) => !open.has(fd)),
  }
}

const letGoOf = (fd: number): void => {
  closeSync(fd)
  // Nothing else may come to be standard input, output or error.
  if (fd <= 2) openSync('/dev/null', fd === 0 ? 'r' : 'w')
}

// What is waited for beside the listener (turn.ts).
const INOTIFY = 0
const WAKE = 1
const CONTROL = 2
const EVENTFDS = 3
const MOMENT = 4

class Supervisor {
  readonly #server: Server
  readonly #words: Int32Array
  readonly #wake: number
  readonly #control: Control
  readonly #order: SupervisorOrder
  readonly #turn: Turn
  readonly #timeout
  #started = false
  #reported = false

  constructor(
    server: Server,
    wake: number,
    words: Int32Array,
    control: Control,
    order: SupervisorOrder,
  ) {
    this.#server = server
    this.#words = words
    this.#wake = wake
    this.#control = control
    this.#order = order
    this.#timeout = server.sys.alloc(16)
    const { sys, notifications, memory, files, eventfds, streak } = server
    this.#turn = new Turn(sys, notifications, memory, [
      files.inotify,
      wake,
      control.fd,
      eventfds.epoll,
      streak.timer,
    ])
  }

  /**
   * Until no process under the filter is left. A client may count on close() having taken effect when
   * its next call is served: the kernel queues the close event before the call can arrive, and poll
   * looks at the listener before it looks at the events, so closes are always seen in time.
   */
  async run(): Promise<void> {
    const { files, notifications, system, streak } = this.#server
    const turn = this.#turn
    const table = handlers(this.#server.sys)
    const report = (error: unknown): void => this.#reportBug(error)
    const serveArrived = (arrival: Arrival): void => {
      if (arrival !== 'nothing') serve(this.#server, table, arrival === 'goes-on', report)
    }
    for (;;) {
      turn.follow(streak.held)
      const arrival = turn.next(this.#untilNextTimer())
      if (arrival === 'look') {
        if (turn.ready(MOMENT) !== 0 && streak.isOver()) {
          streak.pause()
          files.drain()
        } else if (turn.ready(INOTIFY) !== 0) files.drain()
        const { listener } = turn
        if ((listener & POLLIN) !== 0) {
          turn.follow(streak.held)
          serveArrived(turn.receive())
        } else if ((listener & (POLLHUP | POLLERR)) !== 0) break
        await this.#attend()
      } else serveArrived(arrival)
      if (system.timers?.untilNext() === 0) {
        notifications.send()
        system.timers.runDue()
      }
    }
    releaseClosed(this.#server)
    files.releaseAll()
    await this.#node()
  }

  /** Whatever else is ready. */
  async #attend(): Promise<void> {
    this.#server.notifications.send()
    if (this.#turn.ready(CONTROL) !== 0) this.#obey()
    if (this.#turn.ready(EVENTFDS) !== 0) this.#server.eventfds.dispatch()
    if (this.#turn.ready(WAKE) !== 0) await this.#node()
  }

  /** Address of a timeout; 0 if nobody waits for a time. */
  #untilNextTimer(): number {
    const nanoseconds = this.#server.system.timers?.untilNext()
    return nanoseconds === undefined ? 0 : this.#waitFor(nanoseconds)
  }

  #waitFor(nanoseconds: number): number {
    const { view, address } = this.#timeout
    const seconds = Math.floor(nanoseconds / 1e9)
    view.setUint32(0, seconds, true)
    view.setUint32(8, nanoseconds - seconds * 1e9, true)
    return address
  }

  /** Words from the launcher, and one turn of Node's event loop for whoever else runs here. */
  async #node(): Promise<void> {
    const { sys } = this.#server
    sys.call('read', this.#wake, sys.scratch.address, 8)
    await new Promise(setImmediate)
    const pid = Atomics.load(this.#words, Word.PID)
    if (pid < 0 && !this.#reported) this.#reportNotStarted(-pid)
    if (pid > 0 && !this.#started) {
      this.#started = true
      this.#letGoOfDescriptors()
    }
    const stopped = Atomics.exchange(this.#words, Word.STOPPED, 0)
    if (stopped !== 0) this.#control.report({ type: 'stopped', signal: stopped })
    if (Atomics.load(this.#words, Word.ENDED) === 1 && !this.#reported) this.#reportEnd()
  }

  /** The program has them; ours would keep a pipe's reader waiting. */
  #letGoOfDescriptors(): void {
    const { inherited, keepStderr } = this.#order
    for (const fd of inherited.descriptors) {
      if (fd !== 2 || keepStderr === 'not') letGoOf(fd)
    }
  }

  #reportNotStarted(errno: number): void {
    this.#reported = true
    const name = this.#order.command[0]
    this.#control.report(
      errno === 2
        ? { type: 'failed', status: 127, message: `There is no program ${name}.` }
        : {
            type: 'failed',
            status: 126,
            message: `${name} cannot be executed (errno ${errno}).`,
          },
    )
  }

  #reportEnd(): void {
    this.#reported = true
    releaseClosed(this.#server)
    const status = Atomics.load(this.#words, Word.STATUS)
    const instead = this.#server.system.programEnded?.(status)
    if (this.#order.keepStderr === 'until-program-ends') letGoOf(2)
    if (status < 0x100) this.#control.report({ type: 'exited', status: instead ?? status })
    else {
      // The front dies by the same signal, and must not leave a core file of its own.
      const { sys } = this.#server
      sys.scratch.view.setBigUint64(0, 0n, true)
      sys.scratch.view.setBigUint64(8, 0n, true)
      sys.call('prlimit64', this.#order.front, RLIMIT_CORE, sys.scratch.address, 0)
      this.#control.report({ type: 'killed', signal: status - 0x100 })
    }
  }

  /** The front is told to pass a signal on; or it has been killed, and the program goes with it. */
  #obey(): void {
    const signals = this.#control.receive()
    const pid = Atomics.load(this.#words, Word.PID)
    const running = pid > 0 && Atomics.load(this.#words, Word.ENDED) === 0
    for (const signal of signals === 'gone' ? [SIGKILL] : signals)
      if (running) this.#server.sys.call('kill', pid, signal)
    if (signals === 'gone') this.#turn.forget(CONTROL)
  }

  #reportBug(error: unknown): void {
    this.#control.report({ type: 'message', message: mistake(error) })
  }
}
