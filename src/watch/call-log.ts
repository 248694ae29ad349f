import type { CallNumber, CodePlace } from '../engine/events.ts'
import { callName } from './call-members.ts'
import type { CallEvent } from './trace-filter.ts'

/** Who made a call, and which. */
export interface Caller {
  readonly pid: number
  readonly tid: number
  /** `IOMMU_IOAS_MAP` */
  readonly name: string
  readonly place?: CodePlace
}

/** Beyond this many calls the first ones are forgotten. */
const REMEMBERED = 1 << 21

/** Who made which call: a number for each call, since most are made by the same few callers. */
export class CallLog {
  readonly #callers: Caller[] = []
  readonly #known = new Map<string, number>()
  #indices: number[] = []
  /** The call of the first index. */
  #first: CallNumber = 1
  /** Calls often come one after the other from the same place. */
  #last: CallEvent | undefined
  #lastIndex = -1

  note(event: CallEvent): void {
    const at = event.call - this.#first
    if (at < 0) return
    while (this.#indices.length < at) this.#indices.push(-1)
    if (this.#last === undefined || !sameCaller(this.#last, event))
      this.#lastIndex = this.#indexOf(event)
    this.#last = event
    this.#indices[at] = this.#lastIndex
    if (this.#indices.length <= REMEMBERED) return
    this.#indices = this.#indices.slice(REMEMBERED / 2)
    this.#first += REMEMBERED / 2
  }

  /** Undefined for a call that has not ended, or is long past. */
  of(call: CallNumber): Caller | undefined {
    return this.#callers[this.#indices[call - this.#first] ?? -1]
  }

  #indexOf(event: CallEvent): number {
    const { pid, tid, operation, request, file, place } = event
    const where = place === undefined ? '' : `${place.module}\0${place.symbol}\0${place.offset}`
    const key = `${pid} ${tid} ${operation} ${request} ${file} ${where}`
    const known = this.#known.get(key)
    if (known !== undefined) return known
    const index = this.#callers.length
    this.#callers.push({
      pid,
      tid,
      name: callName(event),
      ...(place === undefined ? {} : { place }),
    })
    this.#known.set(key, index)
    return index
  }
}

const sameCaller = (one: CallEvent, other: CallEvent): boolean =>
  one.request === other.request &&
  one.tid === other.tid &&
  one.pid === other.pid &&
  one.file === other.file &&
  one.operation === other.operation &&
  one.place === other.place
