/** Where frames are, as far as the worker has asked. What was told is good until the extent is given up or memory moves. */
import { IntervalMap } from '../engine/interval-map.ts'
import { DeviceWord, FrameAnswer, frameSlot, RequestKind } from './device-worker-words.ts'
import { addressIn, type FramePlace, framesOf } from './frame-place.ts'
import type { WorkerRequests } from './worker-requests.ts'

/** With what the slot of its extent counted when it was told. */
interface ToldPlace extends FramePlace {
  readonly given: number
}

export class WorkerFrames {
  readonly #words: Int32Array
  readonly #slots: Int32Array
  readonly #requests: WorkerRequests
  #places = new IntervalMap<ToldPlace>()
  #moved = 0
  #last: ToldPlace | undefined
  /** Found good since `look`. */
  #good: ToldPlace | undefined

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

  #isGood(place: ToldPlace): boolean {
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
    const place: ToldPlace = {
      extent,
      contiguity,
      firstPage,
      pages,
      descriptor: number(FrameAnswer.DESCRIPTOR),
      address: number(FrameAnswer.ADDRESS),
      process: number(FrameAnswer.PROCESS),
      given: number(FrameAnswer.GIVEN),
    }
    const { start, end } = framesOf(place)
    for (const other of this.#places.overlapping(start, end)) this.#places.delete(other.start)
    this.#places.insert(start, end, place)
    return true
  }
}
