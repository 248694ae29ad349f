/**
 * The ordered store of an IOAS's areas: a B+tree whose leaves are columns of typed arrays.
 *
 * Areas have no object of their own: an entry is a row of a leaf, read through the tree's cursor
 * (`seek`, `next`, then the getters). Every node knows the first and last address below it, so that
 * the gaps between neighbours are found without sibling links, and a change touches only its path
 * from the root. Inner nodes remember, per alignment that was ever asked for, the largest room in
 * each child; a change forgets that on its path only, so that the automatic choice of an IOVA
 * (01 §12.3) is O(log n) too.
 */

import {
  at,
  COUNTS,
  EXTENT,
  FANOUT,
  FIRST,
  FLAGS,
  Inner,
  LAST,
  Leaf,
  LOCKS,
  PAGES,
  PINS,
  SMALLS,
  SOURCE,
  type TreeNode,
} from './area-node.ts'
import type { RoomRequest } from './area-room.ts'
import { PAGE } from './page-address.ts'
import type { PageSource } from './page-source.ts'

/** Bits of an area's flags. */
export const AREA_READABLE = 1
export const AREA_WRITABLE = 2
/** Its unmap was announced to accesses, which did not let go yet (04 §2.7). */
export const AREA_UNMAPPING = 4

const MERGE_BELOW = FANOUT / 4
const MERGE_UP_TO = (FANOUT * 3) / 4

/** Outcome of looking into a part of the tree: found, not here, or past the window's end. */
type Look = 'found' | 'not-here' | 'past'

export class AreaTree {
  #root: TreeNode
  #size = 0
  /** Areas by the alignment that they conform to (log2, 0 to 12): 01 §6.2 without a walk. */
  readonly #byAlignment = new Uint32Array(13)
  // The cursor: inner nodes from the root with the child taken, then leaf and row.
  readonly #path: Inner[] = []
  readonly #taken: number[] = []
  #leaf: Leaf
  #row = 0

  constructor() {
    this.#leaf = new Leaf()
    this.#root = this.#leaf
  }

  get size(): number {
    return this.#size
  }

  /** Is every area's first address, length and offset in its source a multiple of 2^shift? */
  conforms(shift: number): boolean {
    for (let lower = 0; lower < shift; lower += 1)
      if (at(this.#byAlignment, lower) > 0) return false
    return true
  }

  // --- the cursor

  /** Moves to the first area that ends at or after the address; false if there is none. */
  seek(page: number, offset: number): boolean {
    let node = this.#root
    let depth = 0
    while (node instanceof Inner) {
      const { pages, smalls } = node
      let low = 0
      let high = node.count - 1
      while (low < high) {
        const middle = (low + high) >> 1
        const last = at(pages, middle * EXTENT + LAST)
        if (last < page || (last === page && at(smalls, middle * EXTENT + LAST) < offset))
          low = middle + 1
        else high = middle
      }
      this.#path[depth] = node
      this.#taken[depth] = low
      depth += 1
      node = node.children[low] as TreeNode
    }
    this.#path.length = depth
    const { pages, smalls } = node
    let low = 0
    let high = node.count
    while (low < high) {
      const middle = (low + high) >> 1
      const last = at(pages, middle * PAGES + LAST)
      if (last < page || (last === page && at(smalls, middle * SMALLS + LAST) < offset))
        low = middle + 1
      else high = middle
    }
    this.#leaf = node
    this.#row = low
    return low < node.count
  }

  /** Moves to the next area; false at the end. */
  next(): boolean {
    this.#row += 1
    if (this.#row < this.#leaf.count) return true
    for (let depth = this.#path.length - 1; depth >= 0; depth -= 1) {
      const inner = this.#path[depth] as Inner
      const index = (this.#taken[depth] as number) + 1
      if (index >= inner.count) continue
      this.#taken[depth] = index
      let node = inner.children[index] as TreeNode
      let below = depth + 1
      while (node instanceof Inner) {
        this.#path[below] = node
        this.#taken[below] = 0
        below += 1
        node = node.children[0] as TreeNode
      }
      this.#leaf = node
      this.#row = 0
      return true
    }
    return false
  }

  get firstPage(): number {
    return at(this.#leaf.pages, this.#row * PAGES + FIRST)
  }
  get firstOffset(): number {
    return at(this.#leaf.smalls, this.#row * SMALLS + FIRST)
  }
  get lastPage(): number {
    return at(this.#leaf.pages, this.#row * PAGES + LAST)
  }
  get lastOffset(): number {
    return at(this.#leaf.smalls, this.#row * SMALLS + LAST)
  }
  get source(): PageSource {
    return this.#leaf.sources[this.#row] as PageSource
  }
  /** Page within the source where the area starts. */
  get sourcePage(): number {
    return at(this.#leaf.pages, this.#row * PAGES + SOURCE)
  }
  /** Byte within that page. */
  get sourceOffset(): number {
    return at(this.#leaf.smalls, this.#row * SMALLS + SOURCE)
  }
  get flags(): number {
    return at(this.#leaf.smalls, this.#row * SMALLS + FLAGS)
  }
  set flags(flags: number) {
    this.#leaf.smalls[this.#row * SMALLS + FLAGS] = flags
  }
  /** Outstanding pins by accesses on this area. */
  get pins(): number {
    return this.#leaf.counts === undefined ? 0 : at(this.#leaf.counts, this.#row * COUNTS + PINS)
  }
  /** Those among them that lock it: pins by internal accesses. */
  get locks(): number {
    return this.#leaf.counts === undefined ? 0 : at(this.#leaf.counts, this.#row * COUNTS + LOCKS)
  }
  /** Adds to (or takes from) the pins and locks of the area. */
  addPins(pins: number, locks: number): void {
    this.#leaf.counts ??= new Uint32Array(FANOUT * COUNTS)
    const counts = this.#leaf.counts
    const row = this.#row * COUNTS
    counts[row + PINS] = at(counts, row + PINS) + pins
    counts[row + LOCKS] = at(counts, row + LOCKS) + locks
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
    if (this.#leaf.count === FANOUT) {
      this.#splitLeaf()
      this.seek(firstPage, firstOffset)
    }
    const leaf = this.#leaf
    const row = this.#row
    leaf.open(row)
    const { pages, smalls, sources } = leaf
    pages[row * PAGES + FIRST] = firstPage
    pages[row * PAGES + LAST] = lastPage
    pages[row * PAGES + SOURCE] = sourcePage
    smalls[row * SMALLS + FIRST] = firstOffset
    smalls[row * SMALLS + LAST] = lastOffset
    smalls[row * SMALLS + SOURCE] = sourceOffset
    smalls[row * SMALLS + FLAGS] = flags
    sources[row] = source
    this.#size += 1
    this.#countAlignment(firstOffset, lastOffset, sourceOffset, 1)
    this.#refreshPath()
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
    this.#countAlignment(firstOffset, lastOffset, sourceOffset, -1)
    this.#countAlignment(firstOffset, offset, sourceOffset, 1)
    this.#leaf.pages[this.#row * PAGES + LAST] = page
    this.#leaf.smalls[this.#row * SMALLS + LAST] = offset
    this.#refreshPath()
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
    this.#countAlignment(this.firstOffset, this.lastOffset, this.sourceOffset, -1)
    this.#leaf.close(this.#row)
    this.#size -= 1
    this.#shrinkPath()
  }

  clear(): void {
    this.#leaf = new Leaf()
    this.#root = this.#leaf
    this.#size = 0
    this.#byAlignment.fill(0)
    this.#path.length = 0
    this.#row = 0
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
    const { firstPage, firstOffset } = this
    if (firstPage > startPage || (firstPage === startPage && firstOffset > startOffset)) {
      const look = lookBetween(
        request,
        startPage,
        startOffset - 1,
        firstPage,
        firstOffset,
        endPage,
        endOffset,
      )
      if (look !== 'not-here') return look === 'found'
    }
    let look = lookInLeaf(request, this.#leaf, this.#row + 1, endPage, endOffset)
    for (let depth = this.#path.length - 1; depth >= 0 && look === 'not-here'; depth -= 1)
      look = lookInInner(
        request,
        this.#path[depth] as Inner,
        (this.#taken[depth] as number) + 1,
        endPage,
        endOffset,
      )
    if (look !== 'not-here') return look === 'found'
    const [lastPage, lastOffset] = this.#end()
    return (
      lookBetween(request, lastPage, lastOffset, endPage + 2, 0, endPage, endOffset) === 'found'
    )
  }

  /** Last address of the last area. */
  #end(): readonly [number, number] {
    const root = this.#root
    const last = root.count - 1
    return root instanceof Inner
      ? [at(root.pages, last * EXTENT + LAST), at(root.smalls, last * EXTENT + LAST)]
      : [at(root.pages, last * PAGES + LAST), at(root.smalls, last * SMALLS + LAST)]
  }

  // --- structure

  #countAlignment(first: number, last: number, source: number, by: number): void {
    const bits = first | (last + 1) | source | PAGE
    const shift = 31 - Math.clz32(bits & -bits)
    this.#byAlignment[shift] = at(this.#byAlignment, shift) + by
  }

  #refreshPath(): void {
    for (let depth = this.#path.length - 1; depth >= 0; depth -= 1)
      (this.#path[depth] as Inner).describe(this.#taken[depth] as number)
  }

  /** Splits the full leaf at the cursor. Adding at an end usually goes on there: such a leaf stays full. */
  #splitLeaf(): void {
    const row = this.#row
    const keep = row === FANOUT ? FANOUT - 1 : row === 0 ? 1 : FANOUT / 2
    const right = this.#leaf.splitAt(keep)
    this.#addSibling(this.#path.length - 1, this.#leaf, right)
  }

  /** Hangs `right` behind `left`, the child that the cursor takes at `depth`. */
  #addSibling(depth: number, left: TreeNode, right: TreeNode): void {
    if (depth < 0) {
      const root = new Inner()
      root.place(0, left)
      root.place(1, right)
      this.#root = root
      return
    }
    const inner = this.#path[depth] as Inner
    const index = (this.#taken[depth] as number) + 1
    if (inner.count < FANOUT) {
      inner.describe(index - 1)
      inner.place(index, right)
      return
    }
    const keep = index === FANOUT ? FANOUT - 1 : FANOUT / 2
    const sibling = inner.splitAt(keep)
    const target = index > keep ? sibling : inner
    const place = index > keep ? index - keep : index
    target.describe(place - 1)
    target.place(place, right)
    this.#addSibling(depth - 1, inner, sibling)
  }

  /** After a removal: drops empty nodes, joins small neighbours, keeps extents right. */
  #shrinkPath(): void {
    let node: TreeNode = this.#leaf
    for (let depth = this.#path.length - 1; depth >= 0; depth -= 1) {
      const parent = this.#path[depth] as Inner
      const index = this.#taken[depth] as number
      if (node.count === 0) parent.drop(index)
      else {
        parent.describe(index)
        if (node.count < MERGE_BELOW) joinNeighbours(parent, index)
      }
      node = parent
    }
    while (this.#root instanceof Inner && this.#root.count <= 1)
      this.#root = this.#root.children[0] ?? new Leaf()
  }
}

/** Joins child `index` with the one behind or before it where both together leave a node with room. */
const joinNeighbours = (parent: Inner, index: number): void => {
  for (const left of [index, index - 1]) {
    const one = parent.children[left]
    const other = parent.children[left + 1]
    if (one === undefined || other === undefined) continue
    if (one.count + other.count > MERGE_UP_TO) continue
    if (one instanceof Leaf && other instanceof Leaf) one.append(other)
    else if (one instanceof Inner && other instanceof Inner) one.append(other)
    else throw new Error('leaf beside inner node')
    parent.drop(left + 1)
    parent.describe(left)
    return
  }
}

/** The gap behind (lastPage, lastOffset) and before (nextPage, nextOffset), as far as the window goes. */
const lookBetween = (
  request: RoomRequest,
  lastPage: number,
  lastOffset: number,
  nextPage: number,
  nextOffset: number,
  endPage: number,
  endOffset: number,
): Look => {
  const startPage = lastOffset === PAGE - 1 ? lastPage + 1 : lastPage
  const startOffset = (lastOffset + 1) % PAGE
  if (startPage > endPage || (startPage === endPage && startOffset > endOffset)) return 'past'
  const lastOfGapPage = nextOffset === 0 ? nextPage - 1 : nextPage
  const lastOfGapOffset = nextOffset === 0 ? PAGE - 1 : nextOffset - 1
  const clipped =
    lastOfGapPage > endPage || (lastOfGapPage === endPage && lastOfGapOffset > endOffset)
  return request.fits(
    startPage,
    startOffset,
    clipped ? endPage : lastOfGapPage,
    clipped ? endOffset : lastOfGapOffset,
  )
    ? 'found'
    : 'not-here'
}

const lookInLeaf = (
  request: RoomRequest,
  leaf: Leaf,
  fromRow: number,
  endPage: number,
  endOffset: number,
): Look => {
  const { pages, smalls, count } = leaf
  for (let row = fromRow; row < count; row += 1) {
    const look = lookBetween(
      request,
      at(pages, (row - 1) * PAGES + LAST),
      at(smalls, (row - 1) * SMALLS + LAST),
      at(pages, row * PAGES + FIRST),
      at(smalls, row * SMALLS + FIRST),
      endPage,
      endOffset,
    )
    if (look !== 'not-here') return look
  }
  return 'not-here'
}

const lookInInner = (
  request: RoomRequest,
  inner: Inner,
  from: number,
  endPage: number,
  endOffset: number,
): Look => {
  const { pages, smalls, count } = inner
  const { shift, offset, atLeast } = request
  const aligned = inner.roomsFor(shift, 0)
  for (let index = from; index < count; index += 1) {
    if (inner.roomAt(aligned, index, shift, 0) < atLeast) continue
    // With a sub-page offset the aligned room is only a bound.
    if (offset !== 0 && inner.roomAt(inner.roomsFor(shift, offset), index, shift, offset) < atLeast)
      continue
    if (index > 0) {
      const look = lookBetween(
        request,
        at(pages, (index - 1) * EXTENT + LAST),
        at(smalls, (index - 1) * EXTENT + LAST),
        at(pages, index * EXTENT + FIRST),
        at(smalls, index * EXTENT + FIRST),
        endPage,
        endOffset,
      )
      if (look !== 'not-here') return look
    }
    const child = inner.children[index] as TreeNode
    const look =
      child instanceof Leaf
        ? lookInLeaf(request, child, 1, endPage, endOffset)
        : lookInInner(request, child, 0, endPage, endOffset)
    if (look !== 'not-here') return look
  }
  return 'not-here'
}
