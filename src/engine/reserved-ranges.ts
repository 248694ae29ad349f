/** Ranges of IOVA that must not be mapped, each with its owner (01 §6.3). */
import { type Iova, MAX_U64 } from '../abi/brands.ts'

/** Inclusive, as everywhere in this interface. */
export interface IovaRange {
  readonly start: Iova
  readonly last: Iova
}

/** Who reserves: a device, a domain, the test interface. `toString` names it in refusals. */
export type ReservationOwner = object

/** What a reserved range is, as a noun for people. */
export type ReservationPurpose =
  | 'the MSI window'
  | 'the software MSI window'
  | 'a region that firmware maps 1:1'
  | 'a reserved region'
  | 'out of reach of the page table'

export interface Reservation extends IovaRange {
  readonly owner: ReservationOwner
  readonly purpose: ReservationPurpose
}

export const intersects = (one: IovaRange, other: IovaRange): boolean =>
  one.start <= other.last && one.last >= other.start

/** Sorts ranges and joins those that overlap or adjoin. */
export const mergeRanges = (ranges: readonly IovaRange[]): IovaRange[] => {
  const merged: { start: Iova; last: Iova }[] = []
  const sorted = [...ranges].sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0))
  for (const { start, last } of sorted) {
    const before = merged.at(-1)
    if (before !== undefined && start <= before.last + 1n) {
      if (last > before.last) before.last = last
    } else merged.push({ start, last })
  }
  return merged
}

/** First of some disjoint ascending ranges that ends at or after the address. */
export const firstEndingFrom = (ranges: readonly IovaRange[], address: bigint): number => {
  let low = 0
  let high = ranges.length
  while (low < high) {
    const middle = (low + high) >> 1
    const range = ranges[middle]
    if (range !== undefined && range.last < address) low = middle + 1
    else high = middle
  }
  return low
}

export class ReservedRanges {
  #all: Reservation[] = []
  /** The union, disjoint and ascending. */
  #union: readonly IovaRange[] = []

  get union(): readonly IovaRange[] {
    return this.#union
  }

  /** A reservation that the range meets. */
  meeting(start: bigint, last: bigint): Reservation | undefined {
    const near = this.#union[firstEndingFrom(this.#union, start)]
    if (near === undefined || near.start > last) return undefined
    return this.#all.find((one) => one.start <= last && one.last >= start)
  }

  add(owner: ReservationOwner, { start, last }: IovaRange, purpose: ReservationPurpose): void {
    this.#all.push({ owner, start, last, purpose })
    this.#union = mergeRanges(this.#all)
  }

  /** Were there any of this owner? */
  drop(owner: ReservationOwner): boolean {
    const before = this.#all.length
    this.#all = this.#all.filter((one) => one.owner !== owner)
    if (this.#all.length === before) return false
    this.#union = mergeRanges(this.#all)
    return true
  }

  /** What lies between reservations, ascending (01 §10). */
  usable(): IovaRange[] {
    return this.outside(0n as Iova, MAX_U64 as Iova)
  }

  /** The parts of a range that are not reserved, ascending. */
  outside(start: Iova, last: Iova): IovaRange[] {
    const parts: IovaRange[] = []
    let from: bigint = start
    for (let i = firstEndingFrom(this.#union, start); i < this.#union.length; i += 1) {
      const reserved = this.#union[i]
      if (reserved === undefined || reserved.start > last) break
      if (reserved.start > from)
        parts.push({ start: from as Iova, last: (reserved.start - 1n) as Iova })
      from = reserved.last + 1n
    }
    if (from <= last) parts.push({ start: from as Iova, last })
    return parts
  }
}
