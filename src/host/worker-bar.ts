/** BAR memory that a device worker reads and writes beside the clients that map it. */
import type { SharedRegion } from '../engine/file.ts'
import { DeviceWord } from './device-worker-words.ts'
import type { WorkerHold } from './worker-hold.ts'

export class WorkerBar implements SharedRegion {
  readonly length: number
  /** Where the registers are while nobody has mapped them. */
  readonly home: SharedArrayBuffer
  readonly #bytes: Uint8Array
  readonly #words: Int32Array
  readonly #hold: WorkerHold
  #pages: SharedRegion | undefined
  #accessible = true

  constructor(length: number, words: Int32Array, hold: WorkerHold) {
    this.length = length
    this.home = new SharedArrayBuffer(length)
    this.#bytes = new Uint8Array(this.home)
    this.#words = words
    this.#hold = hold
  }

  read(offset: number, into: Uint8Array): void {
    if (this.#pages !== undefined) this.#pages.read(offset, into)
    else into.set(this.#bytes.subarray(offset, offset + into.length))
  }

  /** A trapped store: the worker is to look at once. */
  write(offset: number, bytes: Uint8Array): void {
    if (this.#pages !== undefined) this.#pages.write(offset, bytes)
    else this.#bytes.set(bytes, offset)
    Atomics.add(this.#words, DeviceWord.WAKE, 1)
    Atomics.notify(this.#words, DeviceWord.WAKE)
  }

  backBy(pages: SharedRegion): void {
    this.#hold.during(() => {
      const content = new Uint8Array(this.length)
      this.read(0, content)
      pages.write(0, content)
      this.#point(pages)
      pages.setAccessible?.(this.#accessible)
    })
  }

  pagesGo(pages: SharedRegion): void {
    if (pages !== this.#pages) return
    this.#hold.during(() => {
      pages.read(0, this.#bytes)
      this.#point(undefined)
    })
  }

  /** While clients may not touch their mappings, neither may the worker: the pages are not there. */
  setAccessible(accessible: boolean): void {
    if (accessible === this.#accessible) return
    this.#accessible = accessible
    if (!accessible) this.#hold.begin()
    this.#pages?.setAccessible?.(accessible)
    if (accessible) this.#hold.release()
  }

  #point(pages: SharedRegion | undefined): void {
    this.#pages = pages
    const address = BigInt(pages?.address ?? 0)
    Atomics.store(this.#words, DeviceWord.BAR_LOW, Number(address & 0xffff_ffffn) | 0)
    Atomics.store(this.#words, DeviceWord.BAR_HIGH, Number(address >> 32n) | 0)
    Atomics.add(this.#words, DeviceWord.WAKE, 1)
    Atomics.notify(this.#words, DeviceWord.WAKE)
  }
}
