/** A call of a replay: it answers the machine as the recording says. */
import { type Fd, hex, type UserVa } from '../abi/brands.ts'
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
import { Refusal, type Result } from '../engine/reason.ts'
import { bigintOf, contentIn, numberOf, textOf } from './answers.ts'
import type { ReplayedProcess, ReplayedWorld } from './replayed-world.ts'
import { Asked, bytesOf } from './served.ts'

/** Descriptors for what is only now installed, out of the way of those in the recording. */
const FIRST_MADE_UP_FD = 10_000

export class ReplayedCall implements Call {
  readonly process: ReplayedProcess
  readonly tid: number
  readonly memory: UserMemory
  readonly #world: ReplayedWorld
  readonly #eventfds: ReplayedEventfds
  readonly #failing: ReadonlySet<number>
  #steps = 0

  constructor(
    world: ReplayedWorld,
    eventfds: ReplayedEventfds,
    caller: { readonly process: ReplayedProcess; readonly tid: number },
  ) {
    this.#world = world
    this.#eventfds = eventfds
    this.process = caller.process
    this.tid = caller.tid
    this.memory = callerMemory(world)
    this.#failing = new Set(world.answers.all(Asked.FAILS).map(([step]) => numberOf(step)))
  }

  file(fd: Fd): OpenFile | ForeignFile | undefined {
    const found = this.#world.answers.nextOf([Asked.FILE, Asked.FOREIGN], [fd])
    if (found === undefined) {
      this.#world.complain(`only now it looked at descriptor ${fd}`)
      return undefined
    }
    const [number, name] = found.values
    if (found.asked === Asked.FOREIGN) return this.#foreign(numberOf(number), textOf(name))
    return this.#world.files.get(numberOf(number))
  }

  install(file: OpenFile, _options: { readonly closeOnExec: boolean }): Fd | Refusal {
    const found = this.#world.answers.next(Asked.INSTALL)
    if (found === undefined) {
      this.#world.complain(`only now it gave the caller a descriptor of ${file.kind}`)
      return FIRST_MADE_UP_FD as Fd
    }
    const [number, installed] = found
    this.#world.files.set(numberOf(number), file)
    // As the host answered it then.
    return installed instanceof Refusal ? installed : (numberOf(installed) as Fd)
  }

  fails(_step: FallibleStep): boolean {
    this.#steps += 1
    return this.#failing.has(this.#steps - 1)
  }

  #foreign(number: number, name: string): ForeignFile {
    const world = this.#world
    return {
      foreign: true,
      name,
      dup: () => this.#dup(number, name),
      eventfd: () => {
        const [eventfd] = world.answers.next(Asked.EVENTFD, number) ?? [-1]
        return numberOf(eventfd) < 0 ? undefined : this.#eventfds.of(numberOf(eventfd))
      },
    }
  }

  #dup(foreign: number, name: string): HeldFile {
    const world = this.#world
    const [held = -1, heldName = name] = world.answers.next(Asked.DUP, foreign) ?? []
    return {
      name: textOf(heldName),
      take: (firstPage, count) => takeHeld(world, numberOf(held), firstPage, count),
      close: () => {},
    }
  }
}

const takeHeld = (
  world: ReplayedWorld,
  held: number,
  firstPage: number,
  count: number,
): Result<PageRun[]> => {
  const [taken] = world.answers.next(Asked.HELD_TAKE, held, firstPage, count) ?? []
  if (taken !== undefined) return world.runs(taken)
  world.complain(`only now it took ${count} pages of a file`)
  return [{ object: world.pages(-1000 - held), page: firstPage, count }]
}

const callerMemory = (world: ReplayedWorld): UserMemory => ({
  read: (address, length) => {
    const [content] = world.answers.next(Asked.READ, address, length) ?? []
    if (content !== undefined) return bytesOf(contentIn(content))
    return withinAnother(world, address, length)
  },
  write: (address, bytes) => {
    const { length } = bytes
    const found = world.answers.next(Asked.WRITE, address, length)
    if (found === undefined) world.complain(`only now it wrote ${length} bytes at ${hex(address)}`)
    const [written, count] = found ?? [undefined, length]
    world.compareWritten(bytes, written, () => `at ${hex(address)}`)
    return numberOf(count)
  },
})

/** Memory that was read in another piece, where it was at all. */
const withinAnother = (world: ReplayedWorld, address: UserVa, length: number): Uint8Array => {
  for (const [at, , content] of world.answers.all(Asked.READ)) {
    const from = Number(address - bigintOf(at))
    const bytes = bytesOf(contentIn(content))
    if (from >= 0 && from + length <= bytes.length) return bytes.slice(from, from + length)
  }
  world.complain(`only now it read ${length} bytes at ${hex(address)}`)
  return new Uint8Array()
}

/** Eventfds that clients gave to devices, and who waits for them. */
export class ReplayedEventfds {
  readonly #world: ReplayedWorld
  readonly #listeners = new Map<number, () => void>()

  constructor(world: ReplayedWorld) {
    this.#world = world
  }

  of(number: number): HeldEventfd {
    const world = this.#world
    return {
      signal: () => {},
      drain: () => {
        const [counter] = world.answers.next(Asked.DRAIN, number) ?? []
        return typeof counter === 'bigint' ? counter : 0n
      },
      abandoned: () => world.answers.next(Asked.ABANDONED, number)?.[0] === true,
      onSignal: (listener) => this.#listen(number, listener),
      close: () => {},
    }
  }

  #listen(eventfd: number, listener: () => void): () => void {
    const [number = -1, atOnce = false] = this.#world.answers.next(Asked.LISTEN, eventfd) ?? []
    this.#listeners.set(numberOf(number), listener)
    if (atOnce === true) listener()
    return () => this.#listeners.delete(numberOf(number))
  }

  /** The listener was called then. */
  signal(listener: number): void {
    this.#listeners.get(listener)?.()
  }
}
