/** Which mapping an IOVA belongs to, for the flow that follows it from map to DMA to unmap. */
import type { ContextNumber } from '../engine/events.ts'

/** IOVAs of one bucket have all but these lower bits in common. */
const BUCKET_BITS = 21n
/** Mappings that span more buckets are few; they are kept apart. */
const MOST_BUCKETS = 64n

interface Area {
  readonly start: bigint
  readonly last: bigint
  readonly flow: number
}

class IoasFlows {
  readonly byStart = new Map<bigint, Area>()
  readonly #buckets = new Map<bigint, Set<Area>>()
  readonly #large = new Set<Area>()

  add(area: Area): void {
    this.byStart.set(area.start, area)
    for (const set of this.#sets(area)) set.add(area)
  }

  delete(area: Area): void {
    this.byStart.delete(area.start)
    for (const set of this.#sets(area)) set.delete(area)
  }

  at(iova: bigint): Area | undefined {
    for (const set of [this.#buckets.get(iova >> BUCKET_BITS), this.#large])
      for (const area of set ?? []) if (area.start <= iova && iova <= area.last) return area
    return undefined
  }

  #sets({ start, last }: Area): Set<Area>[] {
    const from = start >> BUCKET_BITS
    const to = last >> BUCKET_BITS
    if (to - from >= MOST_BUCKETS) return [this.#large]
    const sets: Set<Area>[] = []
    for (let bucket = from; bucket <= to; bucket += 1n) {
      const set = this.#buckets.get(bucket) ?? new Set<Area>()
      this.#buckets.set(bucket, set)
      sets.push(set)
    }
    return sets
  }
}

export class AreaFlows {
  readonly #ioases = new Map<string, IoasFlows>()
  /** In how many parts what was mapped as one is still mapped. */
  readonly #parts = new Map<number, number>()
  #count = 0

  /** What the nth mapping from now on, counted from 0, will get for its flow. */
  upcoming(n: number): number {
    return this.#count + 1 + n
  }

  /** A new mapping; returns its flow. */
  mapped(context: ContextNumber, ioas: number, start: bigint, length: bigint): number {
    this.#count += 1
    this.#of(context, ioas).add({ start, last: start + length - 1n, flow: this.#count })
    this.#parts.set(this.#count, 1)
    return this.#count
  }

  /** A mapping is in two parts now: the first ends here. */
  split(context: ContextNumber, ioas: number, after: bigint): void {
    const areas = this.#of(context, ioas)
    const area = areas.at(after)
    if (area === undefined || area.last === after) return
    areas.delete(area)
    areas.add({ ...area, last: after })
    areas.add({ ...area, start: after + 1n })
    this.#parts.set(area.flow, (this.#parts.get(area.flow) ?? 1) + 1)
  }

  /** The flow of what is mapped there. */
  at(context: ContextNumber, ioas: number, iova: bigint): number | undefined {
    return this.#of(context, ioas).at(iova)?.flow
  }

  /** It is unmapped: its flow, and whether another part of it is still mapped. */
  unmapped(
    context: ContextNumber,
    ioas: number,
    start: bigint,
  ): { readonly flow: number; readonly goesOn: boolean } | undefined {
    const areas = this.#of(context, ioas)
    const area = areas.byStart.get(start)
    if (area === undefined) return undefined
    areas.delete(area)
    const parts = (this.#parts.get(area.flow) ?? 1) - 1
    if (parts > 0) this.#parts.set(area.flow, parts)
    else this.#parts.delete(area.flow)
    return { flow: area.flow, goesOn: parts > 0 }
  }

  /** What is still mapped at the end, each flow once, with the object that `objectKey` names. */
  open(): readonly { readonly key: string; readonly flow: number; readonly start: bigint }[] {
    const found = new Map<number, { key: string; flow: number; start: bigint }>()
    for (const [key, areas] of this.#ioases)
      for (const { flow, start } of areas.byStart.values()) found.set(flow, { key, flow, start })
    return [...found.values()]
  }

  #of(context: ContextNumber, ioas: number): IoasFlows {
    const key = objectKey(context, ioas)
    const known = this.#ioases.get(key) ?? new IoasFlows()
    this.#ioases.set(key, known)
    return known
  }
}

/** Names an object of a context. */
export const objectKey = (context: ContextNumber, id: number): string => `${context} ${id}`
