/** Where frames are, as far as the worker has asked. What was told is good until the extent is given up or memory moves. */
import { IntervalMap } from '../engine/interval-map.ts'
import { DeviceWord, FrameAnswer, frameSlot, RequestKind } from './device-worker-words.ts'
import { PAGE_SIZE } from './kernel.ts'
import type { WorkerRequests } from './worker-requests.ts'

export interface FramePlace {
  readonly extent: number
  readonly contiguity: number
  readonly firstPage: number
  readonly pages: number
  readonly descriptor: number
  readonly address: number
  readonly process: number
  /** Of the slot of the extent, when it was told. */
  readonly given: number
}

export class WorkerFrames {
  readonly #words: Int32Array
  readonly #slots: Int32Array
  readonly #requests: WorkerRequests
  #places = new IntervalMap<FramePlace>()
  #moved = 0
  #last: FramePlace | undefined
  /** Found good since `look`. */
  #good: FramePlace | undefined

  constructor(words: Int32Array, slots: Int32Array, requests: WorkerRequests) {
    this.#words = words
    this.#slots = slots
    this.#requests = requests
  }

  /**
   * Before frames are asked for, and after each beginning of a step. Within it no extent is given up and no
   * memory moves: whoever does that waits for its end.
   */
  look(): void {
    this.#good = undefined
    const moved = Atomics.load(this.#words, DeviceWord.MOVED)
    if (moved === this.#moved) return
    this.#moved = moved
    this.#places = new IntervalMap()
    this.#last = undefined
  }

  /** The memory that a frame is known to be in, and is still. */
  known(frame: number): FramePlace | undefined {
    const last = this.#last
    if (last !== undefined && addressIn(last, frame) !== undefined && this.#isGood(last))
      return last
    const found = this.#places.find(frame)?.value
    if (found === undefined || addressIn(found, frame) === undefined || !this.#isGood(found))
      return undefined
    this.#last = found
    return found
  }

  #isGood(place: FramePlace): boolean {
    if (place === this.#good) return true
    if (Atomics.load(this.#slots, frameSlot(place.extent)) !== place.given) return false
    this.#good = place
    return true
  }

  /** Asks; the step is another one afterwards. False: only the supervisor reaches it. */
  learn(frame: number): boolean {
    const moved = Atomics.load(this.#words, DeviceWord.MOVED)
    const answer = this.#requests.ask(RequestKind.FRAME, frame)
    const number = (index: number): number => answer[index] ?? 0
    const pages = number(FrameAnswer.PAGES)
    // What moved since is not what was told of; next time it is asked again.
    if (pages === 0 || moved !== Atomics.load(this.#words, DeviceWord.MOVED)) return false
    const extent = number(FrameAnswer.EXTENT)
    const contiguity = number(FrameAnswer.CONTIGUITY)
    const firstPage = number(FrameAnswer.FIRST_PAGE)
    const place: FramePlace = {
      extent,
      contiguity,
      firstPage,
      pages,
      descriptor: number(FrameAnswer.DESCRIPTOR),
      address: number(FrameAnswer.ADDRESS),
      process: number(FrameAnswer.PROCESS),
      given: number(FrameAnswer.GIVEN),
    }
    const start = frameOf(place, firstPage)
    const end = frameOf(place, firstPage + pages - 1) + 1
    for (const other of this.#places.overlapping(start, end)) this.#places.delete(other.start)
    this.#places.insert(start, end, place)
    return true
  }
}

const frameOf = ({ extent, contiguity }: FramePlace, page: number): number => {
  const inBlock = page % contiguity
  return extent + (page - inBlock) * 2 + inBlock
}

/** Where the frame begins in the memory of the place, if it is one of its. */
export const addressIn = (place: FramePlace, frame: number): number | undefined => {
  const inExtent = frame - place.extent
  if (inExtent < 0) return undefined
  const { contiguity } = place
  const inBlock = inExtent % (2 * contiguity)
  if (inBlock >= contiguity) return undefined
  const page = ((inExtent - inBlock) / (2 * contiguity)) * contiguity + inBlock - place.firstPage
  return page >= 0 && page < place.pages ? place.address + page * PAGE_SIZE : undefined
}
