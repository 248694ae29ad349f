/** The memory of the program that uses the library: what it allocates, at addresses of its own. */
import { type UserVa, userVa } from '../abi/brands.ts'
import type { AddressSpace, PageObject, PageRun } from '../engine/ports.ts'
import { type Result, reasonKind, refuse } from '../engine/reason.ts'

const PAGE = 4096

/** Memory that can be mapped for DMA: the same bytes for the program and for devices. */
export interface Buffer {
  /** Address of the first byte, for `userVa` of a mapping. A multiple of 4096. */
  readonly address: UserVa
  /** Its content. */
  readonly bytes: Uint8Array
}

export const NoMemoryThere = reasonKind<{ page: number }>({
  code: 'no-memory-there',
  errno: 'EFAULT',
  cite: '01 §17.2',
  say: ({ page }) => `nothing was allocated at page 0x${page.toString(16)} of the program's memory`,
  advice: 'Map buffers that memory.allocate() returned, within their length.',
})

/** One allocation, as pages. */
class Allocation implements PageObject {
  readonly name = 'memory of the program'
  readonly contiguity = 1
  readonly firstPage: number
  readonly bytes: Uint8Array

  constructor(firstPage: number, length: number) {
    this.firstPage = firstPage
    this.bytes = new Uint8Array(Math.ceil(length / PAGE) * PAGE)
  }

  get endPage(): number {
    return this.firstPage + this.bytes.length / PAGE
  }

  read(page: number, offset: number, into: Uint8Array): boolean {
    const at = page * PAGE + offset
    if (at + into.length > this.bytes.length) return false
    into.set(this.bytes.subarray(at, at + into.length))
    return true
  }

  write(page: number, offset: number, bytes: Uint8Array): boolean {
    const at = page * PAGE + offset
    if (at + bytes.length > this.bytes.length) return false
    this.bytes.set(bytes, at)
    return true
  }
}

/** Where allocations begin, as with mmap on x86-64. */
const FIRST_PAGE = 0x7f00_0000_0000 / PAGE

export class ProgramMemory implements AddressSpace {
  readonly id: number
  readonly gone = false
  /** Ascending; a page is left free between two, so that running over the end faults. */
  readonly #allocations: Allocation[] = []
  #nextPage = FIRST_PAGE

  constructor(id: number) {
    this.id = id
  }

  /** New memory, zero, at least `length` bytes (1 to 2^31), beginning on a page. */
  allocate(length: number): Buffer {
    if (!Number.isInteger(length) || length < 1 || length > 2 ** 31)
      throw new RangeError(`cannot allocate ${length} bytes: the length must be from 1 to 2^31`)
    const allocation = new Allocation(this.#nextPage, length)
    this.#allocations.push(allocation)
    this.#nextPage = allocation.endPage + 1
    return {
      address: userVa(BigInt(allocation.firstPage) * BigInt(PAGE)),
      bytes: allocation.bytes.subarray(0, length),
    }
  }

  /** As munmap: the address is not valid any more; what is pinned for DMA stays alive. */
  free(buffer: Buffer): void {
    const index = this.#allocations.findIndex(
      ({ firstPage }) => BigInt(firstPage) * BigInt(PAGE) === buffer.address,
    )
    if (index >= 0) this.#allocations.splice(index, 1)
  }

  read(address: UserVa, length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    const done = this.#walk(address, length, (memory, at) => bytes.set(memory, at))
    return bytes.subarray(0, done)
  }

  write(address: UserVa, bytes: Uint8Array): number {
    return this.#walk(address, bytes.length, (memory, at) =>
      memory.set(bytes.subarray(at, at + memory.length)),
    )
  }

  take(firstPage: number, count: number): Result<PageRun[]> {
    const runs: PageRun[] = []
    for (let page = firstPage; page < firstPage + count; ) {
      const allocation = this.#at(page)
      if (allocation === undefined) return refuse(NoMemoryThere, { page })
      const pages = Math.min(allocation.endPage, firstPage + count) - page
      runs.push({ object: allocation, page: page - allocation.firstPage, count: pages })
      page += pages
    }
    return runs
  }

  /** Visits the memory from `address` on, up to the first byte that is not there; returns how far. */
  #walk(address: UserVa, length: number, visit: (memory: Uint8Array, at: number) => void): number {
    // User addresses fit a double exactly; what does not is nobody's memory.
    if (address + BigInt(length) > BigInt(Number.MAX_SAFE_INTEGER)) return 0
    const start = Number(address)
    let done = 0
    while (done < length) {
      const allocation = this.#at(Math.floor((start + done) / PAGE))
      if (allocation === undefined) break
      const from = start + done - allocation.firstPage * PAGE
      const part = allocation.bytes.subarray(from, from + length - done)
      visit(part, done)
      done += part.length
    }
    return done
  }

  #at(page: number): Allocation | undefined {
    let low = 0
    let high = this.#allocations.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#allocations[middle]?.endPage ?? 0) > page) high = middle
      else low = middle + 1
    }
    const found = this.#allocations[low]
    return found !== undefined && found.firstPage <= page ? found : undefined
  }
}
