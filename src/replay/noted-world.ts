/**
 * Stands between a machine and whoever serves it: everything passes through, and is noted for replay.
 * Neither side is told.
 */
import type { OpenFile, OpenMode } from '../engine/file.ts'
import type { DeviceNode } from '../engine/node.ts'
import type { AddressSpace, Process } from '../engine/ports.ts'
import { Refusal, type Result } from '../engine/reason.ts'
import { NotedFiles } from './noted-file.ts'
import { NotedThings } from './noted-process.ts'
import { Notes, type ServedSink } from './notes.ts'
import { Entry } from './served.ts'

/** Calls back once, after some milliseconds; returns how to cancel. */
export interface Timers {
  after(milliseconds: number, run: () => void): () => void
}

export class NotedWorld {
  readonly #notes: Notes
  readonly #things: NotedThings
  readonly #files: NotedFiles
  #timers = 0
  #calls = 0

  constructor(sink: ServedSink) {
    this.#notes = new Notes(sink)
    this.#things = new NotedThings(this.#notes)
    this.#files = new NotedFiles(this.#things)
  }

  /** A system call is about to be served. */
  callBegins(): void {
    this.#calls += 1
    this.#notes.systemCall = this.#calls
  }

  /** It has been served. */
  callEnds(): void {
    this.#notes.systemCall = 0
  }

  /** The machine's nodes as the host opens them. */
  nodes(nodes: readonly DeviceNode[]): DeviceNode[] {
    return nodes.map((node) => ({
      ...node,
      open: (process, mode) => this.#open(node, process, mode),
    }))
  }

  #open(node: DeviceNode, caller: Process, mode: OpenMode): Result<OpenFile> {
    const noted = this.#things.process(caller)
    const open = (): Result<OpenFile> => {
      noted.introduce()
      return node.open(noted, mode)
    }
    const file = this.#notes.enter(Entry.OPEN, [noted.number, node.path, mode], open, (result) =>
      result instanceof Refusal ? result : this.#files.numberOf(result),
    )
    return file instanceof Refusal ? file : this.#files.note(file)
  }

  /** The time of simulated devices. */
  timers(inner: Timers): Timers {
    return {
      after: (milliseconds, run) => {
        const number = this.#timers++
        return inner.after(milliseconds, () => this.#notes.enter(Entry.TIMER, [number], run))
      },
    }
  }

  /** An address space of the host as the machine knows it. */
  space(inner: AddressSpace): AddressSpace {
    return this.#things.space(inner)
  }
}
