/** Open files of simulated processes: ours, files of memory, and others. */
import { type OpenFile, type OpenMode, Poll } from '../../src/engine/file.ts'
import type { ForeignFile, HeldFile, PageRun } from '../../src/engine/ports.ts'
import { type Result, reasonKind, refuse } from '../../src/engine/reason.ts'
import { type Memory, PAGE_BYTES, sharedMemory } from './simulated-memory.ts'

export const NotMemoryFile = reasonKind<{ name: string }>({
  code: 'simulated-not-a-memory-file',
  errno: 'EINVAL',
  cite: '01 §13.1',
  say: ({ name }) => `${name} is not a file of shared memory`,
})

export const BeyondFileEnd = reasonKind<{ name: string; size: number }>({
  code: 'simulated-beyond-file-end',
  errno: 'EINVAL',
  cite: '01 §13.1',
  say: ({ name, size }) => `the range does not lie inside ${name}, which has ${size} bytes`,
})

class Foreign implements ForeignFile {
  readonly foreign = true
  readonly name: string
  constructor(name: string) {
    this.name = name
  }
  dup(): HeldFile {
    const { name } = this
    return { name, take: () => refuse(NotMemoryFile, { name }), close: () => undefined }
  }
}

export class MemoryFile extends Foreign {
  readonly memory: Memory
  size: number
  constructor(size: number) {
    super('memfd:conformance')
    this.memory = sharedMemory('memfd:conformance')
    this.size = size
  }
  override dup(): HeldFile {
    return {
      name: this.name,
      take: (firstPage, count) => this.#take(firstPage, count),
      close: () => undefined,
    }
  }
  #take(firstPage: number, count: number): Result<PageRun[]> {
    if ((firstPage + count) * PAGE_BYTES > this.size)
      return refuse(BeyondFileEnd, { name: this.name, size: this.size })
    for (let page = firstPage; page < firstPage + count; page++) this.memory.page(page)
    return [{ object: this.memory, page: firstPage, count }]
  }
}

/** One open file description; the descriptors of all processes count as references. */
export class Description {
  readonly ours: OpenFile | undefined
  readonly foreign: Foreign | undefined
  readonly mode: OpenMode
  #references = 0

  constructor(file: OpenFile | Foreign, mode: OpenMode) {
    this.ours = file instanceof Foreign ? undefined : file
    this.foreign = file instanceof Foreign ? file : undefined
    this.mode = mode
  }

  hold(): this {
    this.#references += 1
    return this
  }

  drop(): void {
    this.#references -= 1
    if (this.#references === 0) this.ours?.release()
  }

  get mayRead(): boolean {
    return this.mode !== 'write'
  }

  get mayWrite(): boolean {
    return this.mode !== 'read'
  }

  /** Files without poll are always ready, as Linux has it. */
  ready(): number {
    return this.ours?.poll?.() ?? Poll.IN | Poll.OUT | Poll.RDNORM | Poll.WRNORM
  }
}

export const foreignFile = (path: string): Foreign => new Foreign(path)
