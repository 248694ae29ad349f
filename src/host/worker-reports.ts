/**
 * What a device worker says of its DMA to whoever watches: a sample, since there is more of it than anybody
 * could look at. Faults are not among it, they are the supervisor's (worker-memory.ts).
 */
import { DeviceWord, MAX_REPORTS, REPORT_NUMBERS } from './device-worker-words.ts'
import type { Sys } from './sys.ts'

/** The same 2 MiB, in the same direction, are reported once in so many milliseconds. */
const INTERVAL = 100
const CHUNK_PAGES = 512
const MOST_CHUNKS = 4096

export class WorkerReports {
  readonly #sys: Sys
  readonly #words: Int32Array
  readonly #ring: Float64Array
  readonly #attention: number
  readonly #one
  /** By chunk and direction: when it was reported. */
  readonly #reported = new Map<number, number>()

  constructor(sys: Sys, words: Int32Array, reports: SharedArrayBuffer, attention: number) {
    this.#sys = sys
    this.#words = words
    this.#ring = new Float64Array(reports)
    this.#attention = attention
    this.#one = sys.alloc(8)
    this.#one.view.setBigUint64(0, 1n, true)
  }

  /** `length` bytes from byte `offset` of an IOVA page have been moved. */
  moved(page: number, offset: number, length: number, write: boolean): void {
    const words = this.#words
    if (Atomics.load(words, DeviceWord.OBSERVED) === 0) return
    const chunk = Math.floor(page / CHUNK_PAGES) * 2 + (write ? 1 : 0)
    const now = performance.now()
    if (now - (this.#reported.get(chunk) ?? Number.NEGATIVE_INFINITY) < INTERVAL) return
    const written = Atomics.load(words, DeviceWord.REPORTS_WRITTEN)
    if (written - Atomics.load(words, DeviceWord.REPORTS_READ) >= MAX_REPORTS) return
    if (this.#reported.size >= MOST_CHUNKS) this.#reported.clear()
    this.#reported.set(chunk, now)
    const at = (written % MAX_REPORTS) * REPORT_NUMBERS
    this.#ring[at] = page
    this.#ring[at + 1] = offset
    this.#ring[at + 2] = length
    this.#ring[at + 3] = write ? 1 : 0
    Atomics.store(words, DeviceWord.REPORTS_WRITTEN, written + 1)
    this.#sys.call('write', this.#attention, this.#one.address, 8)
  }
}
