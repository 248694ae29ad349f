/** Which call last mapped or unmapped each range of an IOAS: kept only while somebody watches. */
import type { CallNumber } from './events.ts'
import { IntervalMap } from './interval-map.ts'

export interface Touch {
  readonly call: CallNumber
  readonly by: 'map' | 'unmap'
}

/** More ranges than this are not remembered; what is forgotten then is all that is older. */
const MOST = 4096

export class TouchedRanges {
  #ranges = new IntervalMap<Touch, bigint>()
  #count = 0

  note(start: bigint, end: bigint, touch: Touch): void {
    if (this.#count >= MOST) {
      this.#ranges = new IntervalMap()
      this.#count = 0
    }
    for (const old of this.#ranges.overlapping(start, end)) {
      this.#ranges.delete(old.start)
      this.#count -= 1
      if (old.start < start) this.#insert(old.start, start, old.value)
      if (old.end > end) this.#insert(end, old.end, old.value)
    }
    this.#insert(start, end, touch)
  }

  at(address: bigint): Touch | undefined {
    return this.#ranges.find(address)?.value
  }

  #insert(start: bigint, end: bigint, touch: Touch): void {
    this.#ranges.insert(start, end, touch)
    this.#count += 1
  }
}
