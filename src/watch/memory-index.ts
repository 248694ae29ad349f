import type { AreaHistory } from './history.ts'

/** Addresses of one bucket have all but these lower bits in common. */
const BUCKET = 2 ** 21
/** Mappings that span more buckets are few; they are kept apart. */
const MOST_BUCKETS = 64

interface Indexed {
  /** Addresses of a process are exact as numbers. */
  readonly first: number
  readonly last: number
  readonly area: AreaHistory
}

/** The mappings that show memory of one address space. */
class SpaceIndex {
  readonly #buckets = new Map<number, Set<Indexed>>()
  readonly #large = new Set<Indexed>()
  #count = 0

  add(indexed: Indexed): void {
    this.#count += 1
    for (const set of this.#sets(indexed, true)) set.add(indexed)
  }

  remove(indexed: Indexed): void {
    this.#count -= 1
    for (const set of this.#sets(indexed, false)) set.delete(indexed)
  }

  within(first: number, last: number): ReadonlySet<Indexed> {
    const found = new Set<Indexed>()
    const take = (set: ReadonlySet<Indexed> | undefined): void => {
      for (const one of set ?? []) if (one.first <= last && one.last >= first) found.add(one)
    }
    take(this.#large)
    const from = Math.floor(first / BUCKET)
    const to = Math.floor(last / BUCKET)
    if (to - from > this.#buckets.size) for (const set of this.#buckets.values()) take(set)
    else for (let bucket = from; bucket <= to; bucket += 1) take(this.#buckets.get(bucket))
    return found
  }

  get isEmpty(): boolean {
    return this.#count === 0
  }

  #sets({ first, last }: Indexed, make: boolean): readonly Set<Indexed>[] {
    const from = Math.floor(first / BUCKET)
    const to = Math.floor(last / BUCKET)
    if (to - from >= MOST_BUCKETS) return [this.#large]
    const sets: Set<Indexed>[] = []
    for (let bucket = from; bucket <= to; bucket += 1) {
      const set = this.#buckets.get(bucket) ?? new Set<Indexed>()
      if (make) this.#buckets.set(bucket, set)
      sets.push(set)
    }
    return sets
  }
}

/** Mappings by the memory behind them: which of them show an address of a process? */
export class MemoryIndex {
  readonly #spaces = new Map<number, SpaceIndex>()
  /** By IOAS, then by IOVA: what is unmapped is known by that. */
  readonly #byIova = new Map<string, Map<bigint, Indexed>>()

  add(area: AreaHistory): void {
    const { memory, start, last } = area
    if (memory === undefined) return
    const first = Number(memory.address)
    const indexed = { first, last: first + Number(last - start), area }
    const space = this.#spaces.get(memory.space) ?? new SpaceIndex()
    this.#spaces.set(memory.space, space)
    space.add(indexed)
    const key = ioasKey(area)
    const ofIoas = this.#byIova.get(key) ?? new Map<bigint, Indexed>()
    this.#byIova.set(key, ofIoas)
    ofIoas.set(start, indexed)
  }

  /** A mapping, or the first part of one that a cut left. */
  remove(area: Pick<AreaHistory, 'context' | 'ioas' | 'start'>): void {
    const key = ioasKey(area)
    const ofIoas = this.#byIova.get(key)
    const indexed = ofIoas?.get(area.start)
    if (ofIoas === undefined || indexed === undefined) return
    ofIoas.delete(area.start)
    if (ofIoas.size === 0) this.#byIova.delete(key)
    const id = indexed.area.memory?.space ?? 0
    const space = this.#spaces.get(id)
    space?.remove(indexed)
    if (space?.isEmpty) this.#spaces.delete(id)
  }

  /** Mappings that show an address of [start, end) of an address space, each once. */
  within(space: number, start: bigint, end: bigint): readonly AreaHistory[] {
    const found = this.#spaces.get(space)?.within(Number(start), Number(end) - 1) ?? []
    return [...found].map(({ area }) => area)
  }
}

const ioasKey = ({ context, ioas }: Pick<AreaHistory, 'context' | 'ioas'>): string =>
  `${context} ${ioas}`
