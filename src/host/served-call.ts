/** The call being served, as the engine sees it. One object, filled anew for each call. */
import type { Fd } from '../abi/brands.ts'
import type { CodePlace } from '../engine/events.ts'
import type { OpenFile } from '../engine/file.ts'
import type { Call, FallibleStep, ForeignFile } from '../engine/ports.ts'
import { type Refusal, reasonKind, refuse } from '../engine/reason.ts'
import type { CallerPlaces } from './caller-place.ts'
import type { ClientMemory } from './client-memory.ts'
import type { Eventfds } from './eventfds.ts'
import { foreignFile } from './foreign-file.ts'
import type { HostProcess } from './host-process.ts'
import { O } from './kernel.ts'
import type { Notifications } from './notifications.ts'
import type { OpenFiles } from './open-files.ts'
import type { SharedMemory } from './shared-memory.ts'
import type { Sys } from './sys.ts'
import type { Task, Tasks } from './tasks.ts'

const NoDescriptorLeft = reasonKind<{ name: string }>({
  code: 'no-descriptor-left',
  errno: 'EMFILE',
  cite: '04 §4.1',
  say: ({ name }) => `the process has no descriptor left for ${name} (RLIMIT_NOFILE)`,
  advice: 'Close descriptors, or raise the limit (ulimit -n).',
})

export class ServedCall implements Call {
  readonly #sys: Sys
  readonly #notifications: Notifications
  readonly #tasks: Tasks
  readonly #files: OpenFiles
  readonly #shared: SharedMemory
  readonly #eventfds: Eventfds
  readonly #fails: (tid: number, step: FallibleStep) => boolean
  readonly #places: CallerPlaces | undefined
  readonly memory: ClientMemory
  #task: Task | undefined
  tid = 0
  /** The descriptor through which it came, -1 if through none. */
  fd = -1

  constructor(parts: {
    sys: Sys
    notifications: Notifications
    tasks: Tasks
    files: OpenFiles
    shared: SharedMemory
    eventfds: Eventfds
    memory: ClientMemory
    fails: (tid: number, step: FallibleStep) => boolean
    /** Absent where nobody wants to know. */
    places: CallerPlaces | undefined
  }) {
    this.#sys = parts.sys
    this.#notifications = parts.notifications
    this.#tasks = parts.tasks
    this.#files = parts.files
    this.#shared = parts.shared
    this.#eventfds = parts.eventfds
    this.#fails = parts.fails
    this.#places = parts.places
    this.memory = parts.memory
    // By the file, write protection would not hold (client-memory.ts).
    if (parts.memory.access === 'process_vm') this.#shared.callerMemory = parts.memory
  }

  begin(tid: number): void {
    this.tid = tid
    this.fd = -1
    this.#task = undefined
    this.#shared.caller = undefined
    this.memory.begin(tid)
  }

  get process(): HostProcess {
    const task = this.#task ?? this.#tasks.get(this.tid)
    if (task === undefined)
      throw new Error(`thread ${this.tid} cannot be looked at: /proc/${this.tid} is closed to us`)
    if (this.#task === undefined) this.foundBy(task)
    return task.process
  }

  /** The calling thread is known to be the one that we know by its ID. */
  foundBy(task: Task): void {
    this.#task = task
    task.process.calls(task.tid)
    this.#shared.caller = task.process
  }

  file(fd: Fd): OpenFile | ForeignFile | undefined {
    const found = this.#tasks.descriptor(this.tid, fd)
    if (found === undefined || found.inode === 0) return undefined
    const ours = this.#files.find(found.device, found.inode)
    if (ours?.file !== undefined) return ours.file
    if (ours?.pathOnly) return undefined
    return foreignFile(
      this.#sys,
      { pid: this.process.pid, tid: this.tid },
      fd,
      this.#shared,
      this.#eventfds,
    )
  }

  install(file: OpenFile, options: { readonly closeOnExec: boolean }): Fd | Refusal {
    const known = this.#files.of(file)
    if (known !== undefined) throw new Error(`${file.kind} is installed twice`)
    const flags = file.mode === 'read' ? O.RDONLY : file.mode === 'write' ? O.WRONLY : O.RDWR
    const fd = this.#files.create({ file, name: file.linkText, flags })
    if (fd < 0) return refuse(NoDescriptorLeft, { name: file.linkText })
    const installed = this.#notifications.addFd(fd, {
      closeOnExec: options.closeOnExec,
      answer: false,
    })
    if (installed < 0) {
      this.#files.discard(fd, file)
      return refuse(NoDescriptorLeft, { name: file.linkText })
    }
    this.#sys.call('close', fd)
    return installed as Fd
  }

  place(): CodePlace | undefined {
    return this.#places?.of(this.process.pid, this.tid, this.memory)
  }

  fails(step: FallibleStep): boolean {
    return this.#fails(this.tid, step)
  }
}
