/** Nodes of the area store: leaves of typed columns, inner nodes that know extents and room. */
import { ALIGNMENTS, roomIn } from './area-room.ts'
import { PAGE } from './page-address.ts'
import type { PageSource } from './page-source.ts'

/** Entries of a leaf and children of an inner node. */
export const FANOUT = 64

// Columns of a leaf's row: three page numbers, three bytes within pages and the flags, two counts.
export const FIRST = 0
export const LAST = 1
export const SOURCE = 2
export const PAGES = 3
export const FLAGS = 3
export const SMALLS = 4
export const PINS = 0
export const LOCKS = 1
export const COUNTS = 2
// Columns of an inner node's child: first and last address below it.
export const EXTENT = 2

/** Element of a typed array that is known to be inside it. */
export const at = (array: Float64Array | Uint16Array | Uint32Array, index: number): number =>
  array[index] as number

export class Leaf {
  count = 0
  readonly pages = new Float64Array(FANOUT * PAGES)
  readonly smalls = new Uint16Array(FANOUT * SMALLS)
  readonly sources: PageSource[] = []
  /** Access pins and locks; made when the first access pins here. */
  counts: Uint32Array | undefined

  /** Opens a row at `row`. */
  open(row: number): void {
    const { count, pages, smalls, sources, counts } = this
    if (row < count) {
      pages.copyWithin((row + 1) * PAGES, row * PAGES, count * PAGES)
      smalls.copyWithin((row + 1) * SMALLS, row * SMALLS, count * SMALLS)
      for (let i = count; i > row; i -= 1) sources[i] = sources[i - 1] as PageSource
      counts?.copyWithin((row + 1) * COUNTS, row * COUNTS, count * COUNTS)
    }
    counts?.fill(0, row * COUNTS, (row + 1) * COUNTS)
    this.count = count + 1
  }

  /** Closes the row at `row`. */
  close(row: number): void {
    const { count, pages, smalls, sources, counts } = this
    if (row < count - 1) {
      pages.copyWithin(row * PAGES, (row + 1) * PAGES, count * PAGES)
      smalls.copyWithin(row * SMALLS, (row + 1) * SMALLS, count * SMALLS)
      for (let i = row; i < count - 1; i += 1) sources[i] = sources[i + 1] as PageSource
      counts?.copyWithin(row * COUNTS, (row + 1) * COUNTS, count * COUNTS)
    }
    sources.length = count - 1
    this.count = count - 1
  }

  /** Moves the rows from `keep` on into a new leaf. */
  splitAt(keep: number): Leaf {
    const right = new Leaf()
    right.append(this, keep)
    this.sources.length = keep
    this.count = keep
    return right
  }

  /** Adds the rows of another leaf, from `from` on, behind its own. */
  append(other: Leaf, from = 0): void {
    const { count } = this
    this.pages.set(other.pages.subarray(from * PAGES, other.count * PAGES), count * PAGES)
    this.smalls.set(other.smalls.subarray(from * SMALLS, other.count * SMALLS), count * SMALLS)
    for (let i = from; i < other.count; i += 1) this.sources.push(other.sources[i] as PageSource)
    if (this.counts !== undefined || other.counts !== undefined) {
      this.counts ??= new Uint32Array(FANOUT * COUNTS)
      this.counts.fill(0, count * COUNTS)
      if (other.counts !== undefined)
        this.counts.set(other.counts.subarray(from * COUNTS, other.count * COUNTS), count * COUNTS)
    }
    this.count = count + other.count - from
  }
}

/** Slot of the one sub-page offset for which room is remembered, behind those of the alignments. */
const SUB_PAGE = ALIGNMENTS

export class Inner {
  count = 0
  readonly pages = new Float64Array(FANOUT * EXTENT)
  readonly smalls = new Uint16Array(FANOUT * EXTENT)
  readonly children: TreeNode[] = []
  /** Per alignment: the largest room within each child or between it and the one before; NaN: not known. */
  readonly rooms: (Float64Array | undefined)[] = []
  #subPageKey = -1

  /** Takes first and last address below child `index` from that child; what was known of its room is not any more. */
  describe(index: number): void {
    const child = this.children[index] as TreeNode
    const stride = child instanceof Leaf ? PAGES : EXTENT
    const strideSmall = child instanceof Leaf ? SMALLS : EXTENT
    const last = child.count - 1
    const { pages, smalls } = this
    pages[index * EXTENT + FIRST] = at(child.pages, FIRST)
    pages[index * EXTENT + LAST] = at(child.pages, last * stride + LAST)
    smalls[index * EXTENT + FIRST] = at(child.smalls, FIRST)
    smalls[index * EXTENT + LAST] = at(child.smalls, last * strideSmall + LAST)
    for (const room of this.rooms) {
      if (room === undefined) continue
      room[index] = Number.NaN
      if (index + 1 < FANOUT) room[index + 1] = Number.NaN
    }
  }

  place(index: number, child: TreeNode): void {
    const { count, pages, smalls, children, rooms } = this
    pages.copyWithin((index + 1) * EXTENT, index * EXTENT, count * EXTENT)
    smalls.copyWithin((index + 1) * EXTENT, index * EXTENT, count * EXTENT)
    for (const room of rooms) room?.copyWithin(index + 1, index, count)
    children.splice(index, 0, child)
    this.count = count + 1
    this.describe(index)
  }

  drop(index: number): void {
    const { count, pages, smalls, children, rooms } = this
    pages.copyWithin(index * EXTENT, (index + 1) * EXTENT, count * EXTENT)
    smalls.copyWithin(index * EXTENT, (index + 1) * EXTENT, count * EXTENT)
    for (const room of rooms) {
      if (room === undefined) continue
      room.copyWithin(index, index + 1, count)
      room[index] = Number.NaN
    }
    children.splice(index, 1)
    this.count = count - 1
  }

  splitAt(keep: number): Inner {
    const right = new Inner()
    right.append(this, keep)
    this.children.length = keep
    this.count = keep
    return right
  }

  append(other: Inner, from = 0): void {
    const { count } = this
    this.pages.set(other.pages.subarray(from * EXTENT, other.count * EXTENT), count * EXTENT)
    this.smalls.set(other.smalls.subarray(from * EXTENT, other.count * EXTENT), count * EXTENT)
    for (let i = from; i < other.count; i += 1) this.children.push(other.children[i] as TreeNode)
    this.count = count + other.count - from
    for (let slot = 0; slot < ALIGNMENTS; slot += 1) {
      const theirs = other.rooms[slot]
      const mine = this.rooms[slot]
      if (theirs !== undefined) {
        const room = mine ?? this.#newRoom(slot)
        room.set(theirs.subarray(from, other.count), count)
        room[count] = Number.NaN
      } else mine?.fill(Number.NaN, count)
    }
    this.rooms.length = Math.min(this.rooms.length, ALIGNMENTS)
    this.#subPageKey = -1
  }

  /** Largest room in or before each child for an alignment; elements may be NaN: `roomAt` fills them. */
  roomsFor(shift: number, or: number): Float64Array {
    if (or === 0) return this.rooms[shift] ?? this.#newRoom(shift)
    const key = or * 16 + shift
    const room = this.rooms[SUB_PAGE] ?? this.#newRoom(SUB_PAGE)
    if (this.#subPageKey !== key) {
      room.fill(Number.NaN)
      this.#subPageKey = key
    }
    return room
  }

  roomAt(rooms: Float64Array, index: number, shift: number, or: number): number {
    const known = at(rooms, index)
    if (!Number.isNaN(known)) return known
    let room = largestRoom(this.children[index] as TreeNode, shift, or)
    if (index > 0) {
      const before = (index - 1) * EXTENT + LAST
      const after = index * EXTENT + FIRST
      const { pages, smalls } = this
      room = Math.max(
        room,
        roomBetween(
          shift,
          or,
          at(pages, before),
          at(smalls, before),
          at(pages, after),
          at(smalls, after),
        ),
      )
    }
    rooms[index] = room
    return room
  }

  #newRoom(slot: number): Float64Array {
    const room = new Float64Array(FANOUT).fill(Number.NaN)
    this.rooms[slot] = room
    return room
  }
}

export type TreeNode = Leaf | Inner

/** Room between an entry's last byte and the next one's first. */
const roomBetween = (
  shift: number,
  or: number,
  lastPage: number,
  lastOffset: number,
  nextPage: number,
  nextOffset: number,
): number => {
  const gap = (nextPage - lastPage) * PAGE + (nextOffset - lastOffset) - 1
  if (gap < 2) return 0
  const startPage = lastOffset + 1 === PAGE ? lastPage + 1 : lastPage
  const startOffset = (lastOffset + 1) % PAGE
  return nextOffset === 0
    ? roomIn(shift, or, startPage, startOffset, nextPage - 1, PAGE - 1)
    : roomIn(shift, or, startPage, startOffset, nextPage, nextOffset - 1)
}

const largestRoom = (node: TreeNode, shift: number, or: number): number => {
  let largest = 0
  if (node instanceof Inner) {
    const rooms = node.roomsFor(shift, or)
    for (let index = 0; index < node.count; index += 1) {
      const room = node.roomAt(rooms, index, shift, or)
      if (room > largest) largest = room
    }
    return largest
  }
  const { pages, smalls, count } = node
  for (let row = 1; row < count; row += 1) {
    const room = roomBetween(
      shift,
      or,
      at(pages, (row - 1) * PAGES + LAST),
      at(smalls, (row - 1) * SMALLS + LAST),
      at(pages, row * PAGES + FIRST),
      at(smalls, row * SMALLS + FIRST),
    )
    if (room > largest) largest = room
  }
  return largest
}
