/** Files of ours, as the host sees them: each call on one is an entry into the machine. */
import type { FileOffset, UserVa } from '../abi/brands.ts'
import type { MmapRegion, MmapRequest, OpenFile, SharedRegion } from '../engine/file.ts'
import type { Call } from '../engine/ports.ts'
import { Refusal, type Result } from '../engine/reason.ts'
import { NotedCall, NotedForeignFiles } from './noted-call.ts'
import type { NotedThings } from './noted-process.ts'
import { NotedRegion } from './noted-region.ts'
import { Entry, type EntryCode } from './served.ts'

export class NotedFiles {
  readonly #things: NotedThings
  readonly #call: NotedCall
  /** Ours to what the host has, and back. */
  readonly #noted = new WeakMap<OpenFile, OpenFile>()
  readonly #inner = new WeakMap<OpenFile, OpenFile>()
  readonly #numbers = new WeakMap<OpenFile, number>()
  #count = 0
  readonly #regions = new WeakMap<SharedRegion, NotedRegion>()
  #regionCount = 0

  constructor(things: NotedThings) {
    this.#things = things
    this.#call = new NotedCall(things, this, new NotedForeignFiles(things))
  }

  /** The machine's file behind one that the host has. */
  inner(noted: OpenFile): OpenFile | undefined {
    return this.#inner.get(noted)
  }

  /** The number of one of the machine's files. */
  numberOf(inner: OpenFile): number {
    let number = this.#numbers.get(inner)
    if (number === undefined) {
      number = this.#count++
      this.#numbers.set(inner, number)
    }
    return number
  }

  /** What the host gets in its place: it has the same operations. */
  note(inner: OpenFile): OpenFile {
    const known = this.#noted.get(inner)
    if (known !== undefined) return known
    const noted = this.#make(inner, this.numberOf(inner))
    this.#noted.set(inner, noted)
    this.#inner.set(noted, inner)
    return noted
  }

  #make(inner: OpenFile, number: number): OpenFile {
    const noted: { -readonly [Name in keyof OpenFile]: OpenFile[Name] } = {
      kind: inner.kind,
      linkText: inner.linkText,
      mode: inner.mode,
      isDevice: inner.isDevice,
      release: () => this.#things.notes.enter(Entry.RELEASE, [number], () => inner.release()),
    }
    if (inner.ioctl !== undefined)
      noted.ioctl = (call, request, argument) => this.#ioctl(inner, number, call, request, argument)
    for (const name of ['read', 'write'] as const)
      if (inner[name] !== undefined)
        noted[name] = (call, buffer, count) =>
          this.#transfer(name === 'read' ? Entry.READ : Entry.WRITE, inner, number, call, [
            buffer,
            count,
          ])
    for (const name of ['pread', 'pwrite'] as const)
      if (inner[name] !== undefined)
        noted[name] = (call, buffer, count, offset) =>
          this.#transfer(name === 'pread' ? Entry.PREAD : Entry.PWRITE, inner, number, call, [
            buffer,
            count,
            offset,
          ])
    if (inner.poll !== undefined) noted.poll = () => inner.poll?.() ?? 0
    if (inner.onPollChange !== undefined)
      noted.onPollChange = (listener) => inner.onPollChange?.(listener) ?? (() => {})
    if (inner.mmap !== undefined)
      noted.mmap = (call, request) => this.#mmap(inner, number, call, request)
    if (inner.mappingsOf !== undefined)
      noted.mappingsOf = (offset, vmas) =>
        this.#things.notes.enter(Entry.MAPPINGS, [number, offset, vmas], () =>
          inner.mappingsOf?.(offset, vmas),
        )
    return noted
  }

  #ioctl(
    inner: OpenFile,
    number: number,
    served: Call,
    request: number,
    argument: UserVa,
  ): Result<number> {
    const { notes } = this.#things
    if (notes.isOpen) return inner.ioctl?.(served, request, argument) ?? 0
    const call = this.#call.begin(served)
    // By far the commonest entry: what it takes counts.
    const values = notes.begin(Entry.IOCTL)
    const { process } = call
    values.number(process.number)
    values.number(call.tid)
    values.number(number)
    values.number(request)
    values.bigint(argument)
    try {
      process.introduce()
      const result = inner.ioctl?.(call, request, argument) ?? 0
      notes.end(result)
      return result
    } finally {
      notes.endThrown()
    }
  }

  #transfer(
    entry: EntryCode,
    inner: OpenFile,
    number: number,
    served: Call,
    [buffer, count, offset]: readonly [UserVa, number, FileOffset?],
  ): Result<number> {
    const args = offset === undefined ? [buffer, count] : [buffer, count, offset]
    const transfer = (call: Call): Result<number> | undefined => {
      if (entry === Entry.READ) return inner.read?.(call, buffer, count)
      if (entry === Entry.WRITE) return inner.write?.(call, buffer, count)
      if (offset === undefined) return undefined
      return entry === Entry.PREAD
        ? inner.pread?.(call, buffer, count, offset)
        : inner.pwrite?.(call, buffer, count, offset)
    }
    return this.#called(
      entry,
      number,
      served,
      args,
      (call) => transfer(call) ?? 0,
      (result) => result,
    )
  }

  #mmap(inner: OpenFile, number: number, served: Call, request: MmapRequest): Result<MmapRegion> {
    const { length, prot, flags, offset } = request
    const map = (call: Call): Result<NotedMmap> => {
      const result = inner.mmap?.(call, request)
      if (result === undefined) throw new Error(`${inner.kind} cannot be mapped`)
      return result instanceof Refusal ? result : { ...result, memory: this.#region(result.memory) }
    }
    return this.#called(Entry.MMAP, number, served, [length, prot, flags, offset], map, (result) =>
      result instanceof Refusal ? result : [result.memory.number, result.offset, result.length],
    )
  }

  #called<T>(
    entry: EntryCode,
    number: number,
    served: Call,
    args: readonly unknown[],
    run: (call: Call) => T,
    shown: (result: T) => unknown,
  ): T {
    const { notes } = this.#things
    const call = this.#call.begin(served)
    const { process, tid } = call
    return notes.enter(
      entry,
      [process.number, tid, number, ...args],
      () => {
        process.introduce()
        return run(call)
      },
      shown,
    )
  }

  #region(inner: SharedRegion): NotedRegion {
    let noted = this.#regions.get(inner)
    if (noted === undefined) {
      noted = new NotedRegion(this.#things.notes, inner, this.#regionCount++)
      this.#regions.set(inner, noted)
    }
    return noted
  }
}

interface NotedMmap extends MmapRegion {
  readonly memory: NotedRegion
}
