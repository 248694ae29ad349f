/**
 * What fault queues and virtual event queues have in common as files (04 §4.2, §7.5): anonymous inodes
 * that never block, are no place to seek in, and hold their object and the context while open.
 */
import type { FileOffset, UserVa } from '../abi/brands.ts'
import type { OpenFile } from './file.ts'
import type { KernelObject } from './objects.ts'
import type { Call } from './ports.ts'
import { type Refusal, type Result, reasonKind, refuse } from './reason.ts'

export const EventFileNotSeekable = reasonKind<{ file: string }>({
  code: 'event-file-not-seekable',
  errno: 'ESPIPE',
  cite: '04 §4.2, §7.5',
  say: ({ file }) => `the ${file} is a stream: it has no offset to read or write at`,
  advice: 'Use read() and write().',
})

/** No more than this is transferred by one read or write, as everywhere in Linux. */
export const MAX_TRANSFER = 0x7fff_f000

export abstract class EventFile implements OpenFile {
  abstract readonly kind: string
  abstract readonly linkText: string
  readonly mode = 'read-write'
  readonly isDevice = false
  readonly #object: KernelObject
  readonly #listeners = new Set<() => void>()
  #open = true

  constructor(object: KernelObject) {
    this.#object = object
    object.users++
    object.context.hold()
  }

  abstract read(call: Call, buffer: UserVa, count: number): Result<number>
  abstract write(call: Call, buffer: UserVa, count: number): Result<number>
  abstract poll(): number

  pread(_call: Call, _buffer: UserVa, _count: number, _offset: FileOffset): Refusal {
    return refuse(EventFileNotSeekable, { file: this.kind })
  }

  pwrite(_call: Call, _buffer: UserVa, _count: number, _offset: FileOffset): Refusal {
    return refuse(EventFileNotSeekable, { file: this.kind })
  }

  onPollChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => {
      this.#listeners.delete(listener)
    }
  }

  /** Something was queued or taken: whoever waits in poll looks again. */
  changed(): void {
    for (const listener of this.#listeners) listener()
  }

  get isOpen(): boolean {
    return this.#open
  }

  release(): void {
    if (!this.#open) return
    this.#open = false
    this.#listeners.clear()
    this.#object.users--
    this.#object.context.drop()
  }
}
