/**
 * The ordered store of an IOAS's areas: a B+tree. Its leaves are rows of plain numbers (area-rows.ts),
 * its inner nodes know what lies below them and how much room there is (area-node.ts).
 *
 * Areas have no object of their own: one is read through the tree's cursor (`seek`, `next`, then the
 * getters). Every change touches only the path from the root, and forgets there only what it may have
 * changed, so that the automatic choice of an IOVA (01 §12.3) is O(log n) too.
 */

import { AreaCursor } from './area-cursor.ts'
import { type Child, FANOUT, Inner, roomBetweenRows } from './area-node.ts'
import type { RoomRequest } from './area-room.ts'
import { ROWS } from './area-rows.ts'
import { type Look, lookBetween, lookInInner, lookInLeaf, type WindowEnd } from './area-search.ts'
import { PAGE } from './page-address.ts'
import type { PageSource } from './page-source.ts'

export class AreaTree extends AreaCursor {
  #size = 0
  /** Areas by the alignment that they conform to (log2, 0 to 12): 01 §6.2 without a walk. */
  readonly #byAlignment = new Uint32Array(13)

  get size(): number {
    return this.#size
  }

  /** Is every area's first address, length and offset in its source a multiple of 2^shift? */
  conforms(shift: number): boolean {
    for (let lower = 0; lower < shift; lower += 1)
      if ((this.#byAlignment[lower] as number) > 0) return false
    return true
  }

  // --- changes

  /**
   * Adds an area before the cursor. The cursor must be where `seek` of the area's first address left
   * it, and nothing may overlap; afterwards it stands on the new area.
   */
  insert(
    firstPage: number,
    firstOffset: number,
    lastPage: number,
    lastOffset: number,
    source: PageSource,
    sourcePage: number,
    sourceOffset: number,
    flags: number,
  ): void {
    const rows = this.rows
    if (rows.count(this.leaf) === ROWS) {
      this.#splitLeaf()
      this.seek(firstPage, firstOffset)
    }
    const row = rows.open(this.leaf, this.position)
    rows.set(
      row,
      firstPage,
      firstOffset,
      lastPage,
      lastOffset,
      source,
      sourcePage,
      sourceOffset,
      flags,
    )
    this.row = row
    this.#size += 1
    this.#countAlignment(1)
    if (this.path.length > 0) this.#noteChange('insert')
  }

  /** Cuts the area at the cursor in two after the given address; the cursor is on the first part then. */
  split(page: number, offset: number): void {
    const { firstPage, firstOffset, lastPage, lastOffset, source, flags } = this
    const { sourcePage, sourceOffset } = this
    const cutOffset = (offset + 1) % PAGE
    const cutPage = cutOffset === 0 ? page + 1 : page
    // Offset into the source of the second part: carry the bytes within the page over.
    const carried = sourceOffset + cutOffset - firstOffset
    const carry = Math.floor(carried / PAGE)
    this.#countAlignment(-1)
    this.rows.setLast(this.row, page, offset)
    this.#countAlignment(1)
    this.#describePath()
    this.seek(cutPage, cutOffset)
    this.insert(
      cutPage,
      cutOffset,
      lastPage,
      lastOffset,
      source,
      sourcePage + cutPage - firstPage + carry,
      carried - carry * PAGE,
      flags,
    )
    this.seek(firstPage, firstOffset)
  }

  /** Removes the area at the cursor. The cursor is lost: `seek` again. */
  remove(): void {
    this.#countAlignment(-1)
    this.#size -= 1
    if (this.path.length > 0) this.#noteChange('remove')
    else this.rows.close(this.leaf, this.position)
  }

  clear(): void {
    this.rows.clear()
    this.leaf = this.rows.newLeaf()
    this.root = this.leaf
    this.#size = 0
    this.#byAlignment.fill(0)
    this.path.length = 0
    this.position = 0
  }

  // --- room

  /**
   * Finds the first gap between areas within the window (inclusive) that takes the request; where it
   * goes is in the request then. The gap at the window's start and that at its end count as far as
   * they are inside (01 §12.3 step 7).
   */
  findRoom(
    request: RoomRequest,
    startPage: number,
    startOffset: number,
    endPage: number,
    endOffset: number,
  ): boolean {
    if (!this.seek(startPage, startOffset))
      return request.fits(startPage, startOffset, endPage, endOffset)
    const end: WindowEnd = { page: endPage, offset: endOffset }
    const { firstPage, firstOffset } = this
    let look: Look = 'not-here'
    if (firstPage > startPage || (firstPage === startPage && firstOffset > startOffset))
      look = lookBetween(request, end, startPage, startOffset - 1, firstPage, firstOffset)
    if (look === 'not-here')
      look = lookInLeaf(request, end, this.rows, this.leaf, this.position + 1)
    for (let depth = this.path.length - 1; depth >= 0 && look === 'not-here'; depth -= 1)
      look = lookInInner(
        request,
        end,
        this.rows,
        this.path[depth] as Inner,
        (this.taken[depth] as number) + 1,
      )
    if (look !== 'not-here') return look === 'found'
    const [lastPage, lastOffset] = this.#end()
    return lookBetween(request, end, lastPage, lastOffset, endPage + 2, 0) === 'found'
  }

  /** Last address of the last area. */
  #end(): readonly [number, number] {
    const root = this.root
    if (typeof root !== 'number')
      return [root.lastPages[root.count - 1] as number, root.lastOffsets[root.count - 1] as number]
    const last = this.rows.row(root, this.rows.count(root) - 1)
    return [this.rows.lastPage(last), this.rows.lastOffset(last)]
  }

  // --- structure

  #countAlignment(by: number): void {
    const shift = this.rows.alignment(this.row)
    this.#byAlignment[shift] = (this.#byAlignment[shift] as number) + by
  }

  /**
   * The row at the cursor was just added, or is about to be removed: brings extents and rooms of its
   * path up to date. Stops where nothing changes any more.
   */
  #noteChange(change: 'insert' | 'remove'): void {
    const rows = this.rows
    const leaf = this.leaf
    const position = this.position
    const count = rows.count(leaf)
    const depth = this.path.length - 1
    const parent = this.path[depth] as Inner
    const index = this.taken[depth] as number
    const atStart = position === 0
    const atEnd = position === count - 1
    const previous = atStart ? -1 : rows.row(leaf, position - 1)
    const following = atEnd ? -1 : rows.row(leaf, position + 1)
    let changed = false
    for (const room of parent.rooms) {
      if (room === undefined) continue
      const { inside, shift, or } = room
      const known = inside[index] as number
      if (Number.isNaN(known)) {
        changed = true
        continue
      }
      // What the gaps beside the row add while it is there, and what the gap across it is without it.
      const beside = Math.max(
        atStart ? 0 : roomBetweenRows(rows, shift, or, previous, this.row),
        atEnd ? 0 : roomBetweenRows(rows, shift, or, this.row, following),
      )
      const across = atStart || atEnd ? 0 : roomBetweenRows(rows, shift, or, previous, following)
      const [gone, came] = change === 'insert' ? [across, beside] : [beside, across]
      if (came >= known) inside[index] = came
      else if (gone >= known && gone > 0) inside[index] = Number.NaN
      else continue
      changed = true
    }
    const edge = atStart || atEnd
    if (change === 'remove') {
      rows.close(leaf, position)
      if (count - 1 < ROWS / 4) {
        this.#shrinkPath()
        return
      }
    }
    if (edge) {
      parent.describe(index)
      for (const room of parent.rooms) forgetEdges(room, index)
    }
    if (edge || changed) this.#forgetAbove(depth - 1, edge)
  }

  /** A node's extent (perhaps) or room changed: its ancestors, from `depth` upwards, follow. */
  #forgetAbove(from: number, edge: boolean): void {
    for (let depth = from; depth >= 0; depth -= 1) {
      const inner = this.path[depth] as Inner
      const index = this.taken[depth] as number
      if (edge) inner.describe(index)
      for (const room of inner.rooms) {
        if (room === undefined) continue
        room.inside[index] = Number.NaN
        if (edge) forgetEdges(room, index)
      }
    }
  }

  #describePath(): void {
    for (let depth = this.path.length - 1; depth >= 0; depth -= 1) {
      const inner = this.path[depth] as Inner
      const index = this.taken[depth] as number
      inner.describe(index)
      inner.forget(index)
    }
  }

  /** Splits the full leaf at the cursor. Adding at an end usually goes on there: such a leaf stays full. */
  #splitLeaf(): void {
    const position = this.position
    const keep = position === ROWS ? ROWS - 1 : position === 0 ? 1 : ROWS / 2
    const right = this.rows.newLeaf()
    this.rows.move(this.leaf, keep, right)
    this.#addSibling(this.path.length - 1, this.leaf, right)
  }

  /** Hangs `right` behind `left`, the child that the cursor takes at `depth`. */
  #addSibling(depth: number, left: Child, right: Child): void {
    if (depth < 0) {
      const root = new Inner(this.rows)
      root.place(0, left)
      root.place(1, right)
      this.root = root
      return
    }
    const inner = this.path[depth] as Inner
    const index = (this.taken[depth] as number) + 1
    let target = inner
    let place = index
    let sibling: Inner | undefined
    if (inner.count === FANOUT) {
      const keep = index === FANOUT ? FANOUT - 1 : FANOUT / 2
      sibling = inner.splitAt(keep)
      if (index > keep) {
        target = sibling
        place = index - keep
      }
    }
    target.describe(place - 1)
    target.forget(place - 1)
    target.place(place, right)
    if (sibling !== undefined) this.#addSibling(depth - 1, inner, sibling)
    else this.#forgetAbove(depth - 1, true)
  }

  /** After a removal that left a small leaf: drops empty nodes, joins small neighbours. */
  #shrinkPath(): void {
    let size = this.rows.count(this.leaf)
    let capacity: number = ROWS
    for (let depth = this.path.length - 1; depth >= 0; depth -= 1) {
      const parent = this.path[depth] as Inner
      const index = this.taken[depth] as number
      if (size === 0) {
        const child = parent.children[index]
        if (typeof child === 'number') this.rows.freeLeaf(child)
        parent.drop(index)
      } else {
        parent.describe(index)
        parent.forget(index)
        if (size < capacity / 4) this.#joinNeighbours(parent, index, (capacity * 3) / 4)
      }
      size = parent.count
      capacity = FANOUT
    }
    while (typeof this.root !== 'number' && this.root.count <= 1)
      this.root = this.root.children[0] ?? this.rows.newLeaf()
  }

  /** Joins a child with the one behind or before it where both together leave a node with room. */
  #joinNeighbours(parent: Inner, index: number, limit: number): void {
    for (const left of [index, index - 1]) {
      const one = parent.children[left]
      const other = parent.children[left + 1]
      if (one === undefined || other === undefined) continue
      if (typeof one === 'number' && typeof other === 'number') {
        if (this.rows.count(one) + this.rows.count(other) > limit) continue
        this.rows.move(other, 0, one)
        this.rows.freeLeaf(other)
      } else if (one instanceof Inner && other instanceof Inner) {
        if (one.count + other.count > limit) continue
        one.append(other)
      } else throw new Error('leaf beside inner node')
      parent.drop(left + 1)
      parent.describe(left)
      parent.forget(left)
      return
    }
  }
}

type Rooms = Inner['rooms'][number]

/** The gaps on both sides of a child changed. */
const forgetEdges = (room: Rooms, index: number): void => {
  if (room === undefined) return
  room.before[index] = Number.NaN
  if (index + 1 < FANOUT) room.before[index + 1] = Number.NaN
}
