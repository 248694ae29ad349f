/** The process and its memory, as the machine sees them: what it learns about them is noted. */
import type { ByteLength, UserVa } from '../abi/brands.ts'
import type { AddressSpace, Capability, PageObject, PageRun, Process } from '../engine/ports.ts'
import { Refusal, type Result } from '../engine/reason.ts'
import type { Notes } from './notes.ts'
import { Asked, contentOf, writtenOf } from './served.ts'

/** What the machine knows of the world, each thing once. */
export class NotedThings {
  readonly notes: Notes
  readonly #processes = new WeakMap<Process, NotedProcess>()
  readonly #spaces = new WeakMap<AddressSpace, NotedSpace>()
  readonly #pages = new WeakMap<PageObject, NotedPages>()
  #processCount = 0
  #spaceCount = 0
  #pagesCount = 0

  constructor(notes: Notes) {
    this.notes = notes
  }

  process(inner: Process): NotedProcess {
    let noted = this.#processes.get(inner)
    if (noted === undefined) {
      noted = new NotedProcess(this, inner, this.#processCount++)
      this.#processes.set(inner, noted)
    }
    return noted
  }

  space(inner: AddressSpace): NotedSpace {
    let noted = this.#spaces.get(inner)
    if (noted === undefined) {
      noted = new NotedSpace(this, inner, this.#spaceCount++)
      this.#spaces.set(inner, noted)
    }
    return noted
  }

  pages(inner: PageObject): NotedPages {
    let noted = this.#pages.get(inner)
    if (noted === undefined) {
      noted = new NotedPages(this, inner, this.#pagesCount++)
      this.#pages.set(inner, noted)
    }
    return noted
  }

  /** Pages as the machine gets them, and the same in numbers. */
  runs(taken: Result<PageRun[]>): { result: Result<PageRun[]>; shown: unknown } {
    if (taken instanceof Refusal) return { result: taken, shown: taken }
    const shown: number[] = []
    const result = taken.map(({ object, page, count }) => {
      const pages = this.pages(object)
      shown.push(pages.introduced(), page, count)
      return { object: pages, page, count }
    })
    return { result, shown }
  }
}

export class NotedProcess implements Process {
  readonly inner: Process
  readonly number: number
  readonly #things: NotedThings
  readonly #said = new Map<string, unknown>()
  #space: NotedSpace | undefined
  #introduced = false

  constructor(things: NotedThings, inner: Process, number: number) {
    this.#things = things
    this.inner = inner
    this.number = number
  }

  get pid(): number {
    return this.inner.pid
  }

  /** Says which process it is, once. Only within an entry. */
  introduce(): void {
    if (this.#introduced) return
    this.#introduced = true
    this.#fact('pid', this.inner.pid)
  }

  get name(): string {
    return this.#fact('name', this.inner.name)
  }

  get uid(): number {
    return this.#fact('uid', this.inner.uid)
  }

  get addressSpace(): NotedSpace {
    const inner = this.inner.addressSpace
    let space = this.#space
    if (space?.inner !== inner) {
      space = this.#things.space(inner)
      this.#space = space
    }
    if (this.#things.notes.isOpen) this.#fact('space', space.introduced())
    return space
  }

  capable(capability: Capability): boolean {
    return this.#fact(capability, this.inner.capable(capability))
  }

  memlockLimit(): ByteLength {
    return this.#fact('memlock', this.inner.memlockLimit())
  }

  lockedBytes(): ByteLength {
    return this.#fact('locked', this.inner.lockedBytes())
  }

  #fact<T>(what: string, value: T): T {
    const { notes } = this.#things
    if (notes.isOpen && this.#said.get(what) !== value) {
      this.#said.set(what, value)
      notes.asked(Asked.FACT, this.number, what, value)
    }
    return value
  }
}

export class NotedSpace implements AddressSpace {
  readonly inner: AddressSpace
  readonly #number: number
  readonly #things: NotedThings
  #introduced = false
  #saidGone = false

  constructor(things: NotedThings, inner: AddressSpace, number: number) {
    this.#things = things
    this.inner = inner
    this.#number = number
  }

  /** Its number; the first time it is said what it stands for. Only within an entry. */
  introduced(): number {
    if (!this.#introduced) this.#things.notes.asked(Asked.SPACE, this.#number, this.id)
    this.#introduced = true
    return this.#number
  }

  get id(): number {
    return this.inner.id
  }

  get gone(): boolean {
    const { gone } = this.inner
    const { notes } = this.#things
    if (gone !== this.#saidGone && notes.isOpen) {
      this.#saidGone = gone
      notes.asked(Asked.GONE, this.introduced(), gone)
    }
    return gone
  }

  read(address: UserVa, length: number): Uint8Array {
    const bytes = this.inner.read(address, length)
    const { notes } = this.#things
    if (notes.isOpen) {
      const number = this.introduced()
      notes.asked(Asked.SPACE_READ, number, address, length, contentOf(bytes))
    }
    return bytes
  }

  write(address: UserVa, bytes: Uint8Array): number {
    const count = this.inner.write(address, bytes)
    const { notes } = this.#things
    if (notes.isOpen) {
      const number = this.introduced()
      notes.asked(Asked.SPACE_WRITE, number, address, bytes.length, writtenOf(bytes), count)
    }
    return count
  }

  take(
    firstPage: number,
    count: number,
    forWriting: boolean,
    caller: Process,
    deviceMemory = false,
  ): Result<PageRun[]> {
    const asking = caller instanceof NotedProcess ? caller.inner : caller
    const taken = this.inner.take(firstPage, count, forWriting, asking, deviceMemory)
    const { result, shown } = this.#things.runs(taken)
    const { notes } = this.#things
    if (notes.isOpen) {
      const number = this.introduced()
      notes.asked(Asked.TAKE, number, firstPage, count, forWriting, deviceMemory, shown)
    }
    return result
  }

  hold(runs: readonly PageRun[]): void {
    this.inner.hold?.(runs.map(innerRun))
  }

  release(runs: readonly PageRun[]): void {
    this.inner.release?.(runs.map(innerRun))
  }
}

const innerRun = (run: PageRun): PageRun =>
  run.object instanceof NotedPages ? { ...run, object: run.object.behind } : run

export class NotedPages implements PageObject {
  readonly behind: PageObject
  readonly name: string
  readonly contiguity: number
  readonly #number: number
  readonly #things: NotedThings
  #introduced = false

  constructor(things: NotedThings, inner: PageObject, number: number) {
    this.#things = things
    this.behind = inner
    this.#number = number
    this.name = inner.name
    this.contiguity = inner.contiguity
  }

  /** Its number; the first time it is said what it stands for. Only within an entry. */
  introduced(): number {
    const { notes } = this.#things
    if (!this.#introduced && notes.isOpen) {
      notes.asked(Asked.PAGES, this.#number, this.name, this.contiguity)
      this.#introduced = true
    }
    return this.#number
  }

  read(page: number, offset: number, into: Uint8Array): boolean {
    const reached = this.behind.read(page, offset, into)
    const { notes } = this.#things
    if (notes.isOpen) {
      const number = this.introduced()
      const content = reached && contentOf(into, true)
      notes.asked(Asked.PAGES_READ, number, page, offset, into.length, content)
    }
    return reached
  }

  write(page: number, offset: number, bytes: Uint8Array): boolean {
    const reached = this.behind.write(page, offset, bytes)
    const { notes } = this.#things
    if (notes.isOpen) {
      const number = this.introduced()
      const { length } = bytes
      notes.asked(Asked.PAGES_WRITE, number, page, offset, length, writtenOf(bytes), reached)
    }
    return reached
  }
}
