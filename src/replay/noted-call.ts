/** A call being served, as the machine sees it: what it asks is noted with the answers. */
import type { Fd, UserVa } from '../abi/brands.ts'
import type { CodePlace } from '../engine/events.ts'
import type { OpenFile } from '../engine/file.ts'
import type {
  Call,
  FallibleStep,
  ForeignFile,
  HeldEventfd,
  HeldFile,
  PageRun,
  UserMemory,
} from '../engine/ports.ts'
import type { Refusal, Result } from '../engine/reason.ts'
import type { NotedFiles } from './noted-file.ts'
import type { NotedProcess, NotedThings } from './noted-process.ts'
import type { Notes } from './notes.ts'
import { Asked, Entry } from './served.ts'

class NotedMemory implements UserMemory {
  readonly #notes: Notes
  inner: UserMemory | undefined

  constructor(notes: Notes) {
    this.#notes = notes
  }

  read(address: UserVa, length: number): Uint8Array {
    const bytes = this.#now.read(address, length)
    this.#notes.read(address, length, bytes)
    return bytes
  }

  write(address: UserVa, bytes: Uint8Array): number {
    const count = this.#now.write(address, bytes)
    this.#notes.written(address, bytes, count)
    return count
  }

  get #now(): UserMemory {
    if (this.inner === undefined) throw new Error('no call is being served')
    return this.inner
  }
}

/** One object, filled anew for each call: the machine keeps no call. */
export class NotedCall implements Call {
  readonly #things: NotedThings
  readonly #files: NotedFiles
  readonly #foreign: NotedForeignFiles
  readonly memory: NotedMemory
  #inner: Call | undefined
  #process: NotedProcess | undefined
  /** How often it was asked whether a step fails. */
  #steps = 0

  constructor(things: NotedThings, files: NotedFiles, foreign: NotedForeignFiles) {
    this.#things = things
    this.#files = files
    this.#foreign = foreign
    this.memory = new NotedMemory(things.notes)
  }

  begin(inner: Call): this {
    this.#inner = inner
    this.#steps = 0
    this.memory.inner = inner.memory
    return this
  }

  get #now(): Call {
    if (this.#inner === undefined) throw new Error('no call is being served')
    return this.#inner
  }

  get process(): NotedProcess {
    const inner = this.#now.process
    // Mostly that of the call before.
    if (this.#process?.inner !== inner) this.#process = this.#things.process(inner)
    return this.#process ?? this.#things.process(inner)
  }

  get tid(): number {
    return this.#now.tid
  }

  file(fd: Fd): OpenFile | ForeignFile | undefined {
    const { notes } = this.#things
    const found = this.#now.file(fd)
    if (found !== undefined && 'foreign' in found) return this.#foreign.note(fd, found)
    const ours = found && this.#files.inner(found)
    notes.asked(Asked.FILE, fd, ours === undefined ? -1 : this.#files.numberOf(ours))
    return ours
  }

  install(file: OpenFile, options: { readonly closeOnExec: boolean }): Fd | Refusal {
    const installed = this.#now.install(this.#files.note(file), options)
    this.#things.notes.asked(Asked.INSTALL, this.#files.numberOf(file), installed)
    return installed
  }

  fails(step: FallibleStep): boolean {
    const fails = this.#now.fails(step)
    if (fails) this.#things.notes.asked(Asked.FAILS, this.#steps)
    this.#steps += 1
    return fails
  }

  place(): CodePlace | undefined {
    return this.#now.place?.()
  }
}

/** Files of clients that are not ours, and what is held of them. */
export class NotedForeignFiles {
  readonly #things: NotedThings
  #eventfds = 0
  #foreign = 0
  #held = 0
  #listeners = 0

  constructor(things: NotedThings) {
    this.#things = things
  }

  note(fd: Fd, file: ForeignFile): ForeignFile {
    const { notes } = this.#things
    const number = this.#foreign++
    notes.asked(Asked.FOREIGN, fd, number, file.name)
    return {
      foreign: true,
      name: file.name,
      dup: () => this.#dup(number, file.dup()),
      eventfd: () => this.#eventfd(number, file.eventfd?.()),
    }
  }

  #dup(foreign: number, held: HeldFile): HeldFile {
    const { notes } = this.#things
    const number = this.#held++
    notes.asked(Asked.DUP, foreign, number, held.name)
    return {
      name: held.name,
      take: (firstPage, count) => this.#take(number, held, firstPage, count),
      close: () => held.close(),
    }
  }

  #take(number: number, held: HeldFile, firstPage: number, count: number): Result<PageRun[]> {
    const { result, shown } = this.#things.runs(held.take(firstPage, count))
    this.#things.notes.asked(Asked.HELD_TAKE, number, firstPage, count, shown)
    return result
  }

  #eventfd(foreign: number, eventfd: HeldEventfd | undefined): HeldEventfd | undefined {
    const { notes } = this.#things
    const number = eventfd === undefined ? -1 : this.#eventfds++
    notes.asked(Asked.EVENTFD, foreign, number)
    if (eventfd === undefined) return undefined
    return {
      ...eventfd,
      ...(eventfd.abandoned === undefined
        ? {}
        : { abandoned: () => this.#abandoned(number, eventfd) }),
      drain: () => {
        const counter = eventfd.drain()
        notes.asked(Asked.DRAIN, number, counter)
        return counter
      },
      onSignal: (listener) => this.#listen(number, eventfd, listener),
    }
  }

  #abandoned(number: number, eventfd: HeldEventfd): boolean {
    const abandoned = eventfd.abandoned?.() === true
    this.#things.notes.asked(Asked.ABANDONED, number, abandoned)
    return abandoned
  }

  #listen(eventfd: number, inner: HeldEventfd, listener: () => void): () => void {
    const { notes } = this.#things
    const number = this.#listeners++
    let atOnce = false
    let listening = false
    const stop = inner.onSignal(() => {
      if (!listening) {
        atOnce = true
        return
      }
      notes.enter(Entry.SIGNAL, [number], listener)
    })
    listening = true
    notes.asked(Asked.LISTEN, eventfd, number, atOnce)
    if (atOnce) listener()
    return stop
  }
}
