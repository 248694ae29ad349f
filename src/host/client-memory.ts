/**
 * Memory of the thread whose call is served, read and written as the kernel would: as far as it is
 * mapped with the right protection.
 *
 * `process_vm_readv` where it is permitted (some container runtimes refuse it), else /proc/PID/mem.
 */
import type { UserVa } from '../abi/brands.ts'
import type { UserMemory } from '../engine/ports.ts'
import { O, PAGE_SIZE } from './kernel.ts'
import type { Block, Sys } from './sys.ts'

/** How many bytes are moved at once; longer transfers take several rounds. */
const WINDOW = 1 << 20
const IOVECS = WINDOW / PAGE_SIZE + 2
/** Bytes read ahead from the argument of an ioctl: most structures are shorter. */
const AHEAD = 256
/** Bytes read with the call itself in a streak (turn.ts). */
const FIRST = 64
/** User addresses end here (5-level paging); beyond, numbers would not be exact. */
const END_OF_USER = 1n << 56n
const PAGE_BITS = 12n
const PAGE_MASK = 0xfffn
const PAGES_PER_4_GIB = 0x10_0000

export type MemoryAccess = 'process_vm' | 'proc-mem'

export class ClientMemory implements UserMemory {
  readonly #sys: Sys
  readonly #window: Block
  readonly #local: Block
  readonly #remote: Block
  /** 32 bits each. */
  readonly #remoteWords: Uint32Array
  readonly access: MemoryAccess
  /** struct iovec of the first bytes of an argument: here, and there once its address is put in. */
  readonly first: { readonly here: Block; readonly there: Block }
  #firstCount = 0
  #tid = 0
  readonly #ahead: Block
  #aheadAt = 0n
  #aheadLength = 0
  /** How far the memory from `#aheadAt` on is known: `#aheadLength` bytes of it can be read. */
  #aheadKnown = 0
  #memFd = -1

  constructor(sys: Sys, access: MemoryAccess) {
    this.#sys = sys
    this.access = access
    this.#window = sys.alloc(WINDOW)
    this.#local = sys.alloc(16)
    this.#remote = sys.alloc(16 * IOVECS)
    this.#ahead = sys.alloc(AHEAD)
    this.first = { here: sys.alloc(16), there: sys.alloc(16) }
    this.first.here.view.setBigUint64(0, BigInt(this.#ahead.address), true)
    this.first.here.view.setBigUint64(8, BigInt(FIRST), true)
    this.first.there.view.setBigUint64(8, BigInt(FIRST), true)
    this.#remoteWords = new Uint32Array(this.#remote.bytes.buffer, 0, 4 * IOVECS)
    this.#local.view.setBigUint64(0, BigInt(this.#window.address), true)
  }

  /** From now on, the memory of this thread. */
  begin(tid: number): void {
    this.#tid = tid
    this.#aheadKnown = 0
    if (this.#memFd >= 0) {
      this.#sys.call('close', this.#memFd)
      this.#memFd = -1
    }
  }

  /** Expects that the caller is about to read here: reads a little more than a structure at once. */
  readAhead(address: bigint): void {
    this.#aheadKnown = AHEAD
    this.#aheadAt = address
    this.#aheadLength = this.#readWindow(address, AHEAD)
    this.#ahead.bytes.set(this.#window.bytes.subarray(0, this.#aheadLength))
  }

  /** So many bytes of the next call's argument have been read into `first.here`. */
  firstRead(count: number): void {
    this.#firstCount = count
  }

  /** The same as `readAhead`, if the beginning has been read with the call. */
  readFirst(address: bigint): void {
    if (this.#firstCount < FIRST) this.readAhead(address)
    else {
      this.#aheadKnown = FIRST
      this.#aheadLength = FIRST
      this.#aheadAt = address
    }
  }

  read(address: UserVa, length: number): Uint8Array {
    const at = Number(address - this.#aheadAt)
    // Where the reading ahead came to an end, there is no more.
    if (at >= 0 && at + length <= this.#aheadKnown)
      return this.#ahead.bytes.slice(
        Math.min(at, this.#aheadLength),
        Math.min(at + length, this.#aheadLength),
      )
    if (length <= WINDOW) {
      const count = this.#readWindow(address, length)
      return this.#window.bytes.slice(0, count)
    }
    const all = new Uint8Array(length)
    for (let done = 0; done < length; ) {
      const part = Math.min(WINDOW, length - done)
      const count = this.#readWindow(address + BigInt(done), part)
      all.set(this.#window.bytes.subarray(0, count), done)
      done += count
      if (count < part) return all.slice(0, done)
    }
    return all
  }

  write(address: UserVa, bytes: Uint8Array): number {
    this.#aheadKnown = 0
    if (bytes.length <= WINDOW) {
      this.#window.bytes.set(bytes)
      return this.#move('process_vm_writev', address, bytes.length)
    }
    for (let done = 0; done < bytes.length; ) {
      const part = Math.min(WINDOW, bytes.length - done)
      this.#window.bytes.set(bytes.subarray(done, done + part))
      const count = this.#move('process_vm_writev', address + BigInt(done), part)
      done += count
      if (count < part) return done
    }
    return bytes.length
  }

  /**
   * The NUL-terminated string at `address` without its NUL, valid until the next access; undefined if a
   * byte before the NUL cannot be read; cut at `limit` if there is no NUL.
   */
  string(address: bigint, limit: number): Uint8Array | undefined {
    let length = 0
    while (length < limit) {
      const at = address + BigInt(length)
      // To the end of the page: the next one may not be there, and need not.
      const part = Math.min(limit - length, PAGE_SIZE - Number(at % BigInt(PAGE_SIZE)), 256)
      const count = this.#moveTo(length, at, part)
      const end = this.#window.bytes.subarray(0, length + count).indexOf(0, length)
      if (end >= 0) return this.#window.bytes.subarray(0, end)
      if (count < part) return undefined
      length += count
    }
    return this.#window.bytes.subarray(0, limit)
  }

  #readWindow(address: bigint, length: number): number {
    return this.#move('process_vm_readv', address, length)
  }

  #moveTo(offset: number, address: bigint, length: number): number {
    this.#local.view.setBigUint64(0, BigInt(this.#window.address + offset), true)
    const count = this.#readWindow(address, length)
    this.#local.view.setBigUint64(0, BigInt(this.#window.address), true)
    return count
  }

  #move(call: 'process_vm_readv' | 'process_vm_writev', address: bigint, length: number): number {
    if (length === 0 || address >= END_OF_USER) return 0
    if (this.access === 'proc-mem') return this.#moveByFile(call, address, length)
    this.#local.view.setUint32(8, length, true)
    const elements = this.#describe(address, length)
    const moved = this.#sys.call(
      call,
      this.#tid,
      this.#local.address,
      1,
      this.#remote.address,
      elements,
      0,
    )
    return Math.max(moved, 0)
  }

  /** Fills `#remote`: one element per page, since an element that faults is not moved in part. */
  #describe(address: bigint, length: number): number {
    const words = this.#remoteWords
    // The upper part as a number, so that no bigint is made per page: it is below 2^44.
    const offset = Number(address & PAGE_MASK)
    let page = Number(address >> PAGE_BITS)
    let elements = 0
    let from = offset
    for (let left = length; left > 0; page++) {
      const part = Math.min(left, PAGE_SIZE - from)
      words[4 * elements] = (page % PAGES_PER_4_GIB) * PAGE_SIZE + from
      words[4 * elements + 1] = page / PAGES_PER_4_GIB
      words[4 * elements + 2] = part
      elements += 1
      left -= part
      from = 0
    }
    return elements
  }

  /** Writes through the file ignore a page's write protection: the price of this way. */
  #moveByFile(
    call: 'process_vm_readv' | 'process_vm_writev',
    address: bigint,
    length: number,
  ): number {
    if (this.#memFd < 0) {
      this.#memFd = openPath(this.#sys, `/proc/${this.#tid}/mem`, O.RDWR)
      if (this.#memFd < 0) return 0
    }
    const offset = Number(this.#local.view.getBigUint64(0, true))
    const moved = this.#sys.call(
      call === 'process_vm_readv' ? 'pread64' : 'pwrite64',
      this.#memFd,
      offset,
      length,
      Number(address),
    )
    return Math.max(moved, 0)
  }
}

const paths = new WeakMap<Sys, Block>()
const encoder = new TextEncoder()

/** Puts a path into a block kept for that; returns its address, good until the next use. */
export const pathAt = (sys: Sys, path: string): number => {
  let block = paths.get(sys)
  if (block === undefined) {
    block = sys.alloc(PAGE_SIZE + 1)
    paths.set(sys, block)
  }
  const { written } = encoder.encodeInto(path, block.bytes.subarray(0, PAGE_SIZE))
  block.bytes[written] = 0
  return block.address
}

/** Opens a path of our own, close-on-exec; an errno negated if it cannot be. */
export const openPath = (sys: Sys, path: string, flags: number, directory = -100): number =>
  sys.call('openat', directory, pathAt(sys, path), flags | O.CLOEXEC)
