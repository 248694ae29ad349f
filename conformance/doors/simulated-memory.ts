/**
 * Memory of a simulated process: enough of mmap, fork and copy-on-write to play conformance scripts in
 * one JavaScript process. Every page knows its memory object, so that the engine can pin it.
 */
import { type UserVa, userVa } from '../../src/abi/brands.ts'
import type { AddressSpace, PageObject, PageRun, Process } from '../../src/engine/ports.ts'
import { type Result, reasonKind, refuse } from '../../src/engine/reason.ts'

export const PAGE_BYTES = 4096

export const PageNotThere = reasonKind<{ page: number }>({
  code: 'simulated-page-not-there',
  errno: 'EFAULT',
  cite: '01 §17.2',
  say: ({ page }) => `page 0x${page.toString(16)} of the process cannot be pinned`,
})

/** Pages that exist once something is read from or written to them. */
export class Memory implements PageObject {
  readonly name: string
  readonly contiguity: number
  readonly #pages = new Map<number, Uint8Array>()

  constructor(name: string, contiguity = 1) {
    this.name = name
    this.contiguity = contiguity
  }

  page(number: number): Uint8Array {
    let bytes = this.#pages.get(number)
    if (bytes === undefined) {
      bytes = new Uint8Array(PAGE_BYTES)
      this.#pages.set(number, bytes)
    }
    return bytes
  }

  isPresent(number: number): boolean {
    return this.#pages.has(number)
  }

  get presentPages(): number {
    return this.#pages.size
  }

  /** Forgets the pages from `first` on. */
  truncate(first: number): void {
    for (const number of this.#pages.keys()) if (number >= first) this.#pages.delete(number)
  }

  read(page: number, offset: number, into: Uint8Array): boolean {
    return this.#walk(page, offset, into.length, (bytes, at, done) => {
      into.set(bytes.subarray(at, at + Math.min(PAGE_BYTES - at, into.length - done)), done)
    })
  }

  write(page: number, offset: number, bytes: Uint8Array): boolean {
    return this.#walk(page, offset, bytes.length, (target, at, done) => {
      target.set(bytes.subarray(done, done + PAGE_BYTES - at), at)
    })
  }

  #walk(
    page: number,
    offset: number,
    length: number,
    visit: (bytes: Uint8Array, at: number, done: number) => void,
  ): boolean {
    for (let done = 0; done < length; ) {
      const at = (offset + done) % PAGE_BYTES
      visit(this.page(page + Math.floor((offset + done) / PAGE_BYTES)), at, done)
      done += PAGE_BYTES - at
    }
    return true
  }
}

interface Mapped {
  object: Memory
  page: number
  readonly readable: boolean
  readonly writable: boolean
  /** A private mapping of a shared object: the first write makes the page the process's own. */
  readonly copyOnWrite: boolean
}

let lastId = 0

export class SimulatedMemory implements AddressSpace {
  readonly id: number
  gone = false
  #pages = new Map<number, Mapped>()

  constructor() {
    lastId += 1
    this.id = lastId
  }

  /** Replaces whatever is mapped there. */
  map(
    firstPage: number,
    count: number,
    protection: string,
    object: Memory,
    objectPage: number,
    copyOnWrite = false,
  ): void {
    const readable = protection.includes('r')
    const writable = protection.includes('w')
    for (let i = 0; i < count; i++)
      this.#pages.set(firstPage + i, {
        object,
        page: objectPage + i,
        readable,
        writable,
        copyOnWrite,
      })
  }

  unmap(firstPage: number, count: number): void {
    for (let i = 0; i < count; i++) this.#pages.delete(firstPage + i)
  }

  /** False if some page is not mapped. */
  protect(firstPage: number, count: number, protection: string): boolean {
    for (let i = 0; i < count; i++) {
      const mapped = this.#pages.get(firstPage + i)
      if (mapped === undefined) return false
      this.#pages.set(firstPage + i, {
        ...mapped,
        readable: protection.includes('r'),
        writable: protection.includes('w'),
      })
    }
    return true
  }

  /** Private pages become new, empty ones. */
  discard(firstPage: number, count: number): void {
    for (let i = 0; i < count; i++) {
      const mapped = this.#pages.get(firstPage + i)
      if (mapped !== undefined && !isShared(mapped.object))
        this.#pages.set(firstPage + i, { ...mapped, object: anonymous(), page: 0 })
    }
  }

  /** What a forked child has: shared memory is shared, private memory is copied. */
  fork(): SimulatedMemory {
    const child = new SimulatedMemory()
    const copies = new Map<Memory, Memory>()
    for (const [number, mapped] of this.#pages) {
      if (isShared(mapped.object)) {
        child.#pages.set(number, { ...mapped })
        continue
      }
      let copy = copies.get(mapped.object)
      if (copy === undefined) {
        copy = anonymous(mapped.object.contiguity)
        copies.set(mapped.object, copy)
      }
      if (mapped.object.isPresent(mapped.page))
        copy.page(mapped.page).set(mapped.object.page(mapped.page))
      child.#pages.set(number, { ...mapped, object: copy })
    }
    return child
  }

  read(address: UserVa, length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    let done = 0
    while (done < length) {
      const { page, offset } = split(address, done)
      const mapped = this.#pages.get(page)
      if (mapped === undefined || !mapped.readable || this.gone) break
      const part = Math.min(PAGE_BYTES - offset, length - done)
      bytes.set(mapped.object.page(mapped.page).subarray(offset, offset + part), done)
      done += part
    }
    return bytes.subarray(0, done)
  }

  write(address: UserVa, bytes: Uint8Array): number {
    let done = 0
    while (done < bytes.length) {
      const { page, offset } = split(address, done)
      const mapped = this.#pages.get(page)
      if (mapped === undefined || !mapped.writable || this.gone) break
      const part = Math.min(PAGE_BYTES - offset, bytes.length - done)
      this.#own(page, mapped)
      mapped.object.write(mapped.page, offset, bytes.subarray(done, done + part))
      done += part
    }
    return done
  }

  take(firstPage: number, count: number, forWriting: boolean, caller: Process): Result<PageRun[]> {
    const runs: { object: Memory; page: number; count: number }[] = []
    for (let page = firstPage; page < firstPage + count; page++) {
      const mapped = this.#pages.get(page)
      if (mapped === undefined || this.gone || !this.#takeable(mapped, forWriting, caller))
        return refuse(PageNotThere, { page })
      this.#own(page, mapped)
      mapped.object.page(mapped.page)
      const last = runs.at(-1)
      if (last?.object === mapped.object && last.page + last.count === mapped.page) last.count += 1
      else runs.push({ object: mapped.object, page: mapped.page, count: 1 })
    }
    return runs
  }

  #takeable(mapped: Mapped, forWriting: boolean, caller: Process): boolean {
    if (forWriting) return mapped.writable
    if (mapped.readable) return true
    const present = mapped.object.isPresent(mapped.page)
    return mapped.writable && present && caller.addressSpace === this
  }

  /** Breaks copy-on-write. */
  #own(page: number, mapped: Mapped): void {
    if (!mapped.copyOnWrite) return
    const own = anonymous()
    own.page(0).set(mapped.object.page(mapped.page))
    mapped.object = own
    mapped.page = 0
    this.#pages.set(page, { ...mapped, copyOnWrite: false })
  }
}

const shared = new WeakSet<Memory>()

const isShared = (object: Memory): boolean => shared.has(object)

export const anonymous = (contiguity = 1): Memory => new Memory('anonymous memory', contiguity)

/** A forked child maps the same memory, not a copy. */
export const share = <M extends Memory>(object: M): M => {
  shared.add(object)
  return object
}

/** Memory that several processes can map: shared anonymous memory or a file of memory. */
export const sharedMemory = (name: string): Memory => share(new Memory(name))

const split = (address: UserVa, done: number): { page: number; offset: number } => {
  const at = userVa(BigInt.asUintN(64, address + BigInt(done)))
  return { page: Number(at >> 12n), offset: Number(at & 0xfffn) }
}
