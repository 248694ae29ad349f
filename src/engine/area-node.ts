/**
 * Inner nodes of the area store: what lies below each child, and how much room there is.
 *
 * Room is remembered per class of request: one for each alignment, and one for the sub-page offset
 * asked for last (area-room.ts). NaN is "not known"; it is found out when it is asked for.
 */
import { ALIGNMENTS, roomIn } from './area-room.ts'
import type { AreaRows } from './area-rows.ts'
import { PAGE } from './page-address.ts'

/** Children of a node. */
export const FANOUT = 64

/** A leaf (its number in the rows) or another inner node. */
export type Child = Inner | number

/** The largest rooms for one class of request. */
export class Rooms {
  /** Below each child. */
  readonly inside = new Float64Array(FANOUT).fill(Number.NaN)
  /** Between each child and the one before it. */
  readonly before = new Float64Array(FANOUT).fill(Number.NaN)
  readonly shift: number
  /** Low bits that are OR-ed in. */
  readonly or: number

  constructor(shift: number, or: number) {
    this.shift = shift
    this.or = or
  }

  open(index: number, count: number): void {
    this.inside.copyWithin(index + 1, index, count)
    this.before.copyWithin(index + 1, index, count)
    this.forget(index)
  }

  close(index: number, count: number): void {
    this.inside.copyWithin(index, index + 1, count)
    this.before.copyWithin(index, index + 1, count)
    this.before[index] = Number.NaN
  }

  /** What is around a child is not known any more. */
  forget(index: number): void {
    this.inside[index] = Number.NaN
    this.before[index] = Number.NaN
    if (index + 1 < FANOUT) this.before[index + 1] = Number.NaN
  }
}

export class Inner {
  count = 0
  readonly firstPages = new Float64Array(FANOUT)
  readonly lastPages = new Float64Array(FANOUT)
  readonly firstOffsets = new Uint16Array(FANOUT)
  readonly lastOffsets = new Uint16Array(FANOUT)
  readonly children: Child[] = []
  /** By alignment; the last one is for the sub-page offset. */
  readonly rooms: (Rooms | undefined)[] = []
  readonly #rows: AreaRows

  constructor(rows: AreaRows) {
    this.#rows = rows
  }

  /** First child that ends at or after the address; the last one if there is none. */
  search(page: number, offset: number): number {
    const { lastPages } = this
    let low = 0
    let high = this.count - 1
    while (low < high) {
      const middle = (low + high) >> 1
      const last = lastPages[middle] as number
      if (last < page || (last === page && (this.lastOffsets[middle] as number) < offset))
        low = middle + 1
      else high = middle
    }
    return low
  }

  /** Takes first and last address below a child from that child. */
  describe(index: number): void {
    const child = this.children[index] as Child
    if (typeof child === 'number') {
      const rows = this.#rows
      const first = rows.row(child, 0)
      const last = rows.row(child, rows.count(child) - 1)
      this.firstPages[index] = rows.firstPage(first)
      this.firstOffsets[index] = rows.firstOffset(first)
      this.lastPages[index] = rows.lastPage(last)
      this.lastOffsets[index] = rows.lastOffset(last)
    } else {
      const last = child.count - 1
      this.firstPages[index] = child.firstPages[0] as number
      this.firstOffsets[index] = child.firstOffsets[0] as number
      this.lastPages[index] = child.lastPages[last] as number
      this.lastOffsets[index] = child.lastOffsets[last] as number
    }
  }

  forget(index: number): void {
    for (const rooms of this.rooms) rooms?.forget(index)
  }

  place(index: number, child: Child): void {
    const { count } = this
    for (const column of [this.firstPages, this.lastPages, this.firstOffsets, this.lastOffsets])
      column.copyWithin(index + 1, index, count)
    for (const rooms of this.rooms) rooms?.open(index, count)
    this.children.splice(index, 0, child)
    this.count = count + 1
    this.describe(index)
  }

  drop(index: number): void {
    const { count } = this
    for (const column of [this.firstPages, this.lastPages, this.firstOffsets, this.lastOffsets])
      column.copyWithin(index, index + 1, count)
    for (const rooms of this.rooms) rooms?.close(index, count)
    this.children.splice(index, 1)
    this.count = count - 1
  }

  /** Moves the children from `keep` on into a new node. */
  splitAt(keep: number): Inner {
    const right = new Inner(this.#rows)
    right.append(this, keep)
    this.children.length = keep
    this.count = keep
    return right
  }

  append(other: Inner, from = 0): void {
    const { count } = this
    this.firstPages.set(other.firstPages.subarray(from, other.count), count)
    this.lastPages.set(other.lastPages.subarray(from, other.count), count)
    this.firstOffsets.set(other.firstOffsets.subarray(from, other.count), count)
    this.lastOffsets.set(other.lastOffsets.subarray(from, other.count), count)
    for (let i = from; i < other.count; i += 1) this.children.push(other.children[i] as Child)
    this.count = count + other.count - from
    for (let shift = 0; shift < ALIGNMENTS; shift += 1) {
      const theirs = other.rooms[shift]
      const mine = this.rooms[shift]
      if (theirs === undefined) {
        mine?.inside.fill(Number.NaN, count)
        mine?.before.fill(Number.NaN, count)
        continue
      }
      const rooms = this.roomsFor(shift, 0)
      rooms.inside.set(theirs.inside.subarray(from, other.count), count)
      rooms.before.set(theirs.before.subarray(from, other.count), count)
      rooms.before[count] = Number.NaN
    }
    this.rooms[ALIGNMENTS] = undefined
  }

  roomsFor(shift: number, or: number): Rooms {
    const slot = or === 0 ? shift : ALIGNMENTS
    const known = this.rooms[slot]
    if (known !== undefined && known.shift === shift && known.or === or) return known
    const rooms = new Rooms(shift, or)
    this.rooms[slot] = rooms
    return rooms
  }

  /** Largest room below a child. */
  inside(rooms: Rooms, index: number): number {
    const known = rooms.inside[index] as number
    if (!Number.isNaN(known)) return known
    const child = this.children[index] as Child
    const room =
      typeof child === 'number'
        ? largestInLeaf(this.#rows, child, rooms.shift, rooms.or)
        : child.largest(rooms.shift, rooms.or)
    rooms.inside[index] = room
    return room
  }

  /** Room between a child and the one before it; none before the first. */
  before(rooms: Rooms, index: number): number {
    if (index === 0) return 0
    const known = rooms.before[index] as number
    if (!Number.isNaN(known)) return known
    const room = roomBetween(
      rooms.shift,
      rooms.or,
      this.lastPages[index - 1] as number,
      this.lastOffsets[index - 1] as number,
      this.firstPages[index] as number,
      this.firstOffsets[index] as number,
    )
    rooms.before[index] = room
    return room
  }

  /** Largest room below this node. */
  largest(shift: number, or: number): number {
    const rooms = this.roomsFor(shift, or)
    let largest = 0
    for (let index = 0; index < this.count; index += 1)
      largest = Math.max(largest, this.inside(rooms, index), this.before(rooms, index))
    return largest
  }
}

/** Room between an area's last byte and the next one's first. */
export const roomBetween = (
  shift: number,
  or: number,
  lastPage: number,
  lastOffset: number,
  nextPage: number,
  nextOffset: number,
): number => {
  const gap = (nextPage - lastPage) * PAGE + (nextOffset - lastOffset) - 1
  if (gap < 2) return 0
  const atEnd = lastOffset === PAGE - 1
  const startPage = atEnd ? lastPage + 1 : lastPage
  const startOffset = atEnd ? 0 : lastOffset + 1
  return nextOffset === 0
    ? roomIn(shift, or, startPage, startOffset, nextPage - 1, PAGE - 1)
    : roomIn(shift, or, startPage, startOffset, nextPage, nextOffset - 1)
}

/** Room between two rows that follow each other. */
export const roomBetweenRows = (
  rows: AreaRows,
  shift: number,
  or: number,
  row: number,
  next: number,
): number =>
  roomBetween(
    shift,
    or,
    rows.lastPage(row),
    rows.lastOffset(row),
    rows.firstPage(next),
    rows.firstOffset(next),
  )

const largestInLeaf = (rows: AreaRows, leaf: number, shift: number, or: number): number => {
  const count = rows.count(leaf)
  let largest = 0
  let row = rows.row(leaf, 0)
  for (let position = 1; position < count; position += 1) {
    const next = rows.row(leaf, position)
    const room = roomBetweenRows(rows, shift, or, row, next)
    if (room > largest) largest = room
    row = next
  }
  return largest
}
