/** A place in the area store: moving it, and reading the area that it is on. */
import type { Child, Inner } from './area-node.ts'
import { AreaRows } from './area-rows.ts'
import type { PageSource } from './page-source.ts'

/** Bits of an area's flags. */
export const AREA_READABLE = 1
export const AREA_WRITABLE = 2
/** Its unmap was announced to accesses, which did not let go yet (04 §2.7). */
export const AREA_UNMAPPING = 4

export class AreaCursor {
  protected readonly rows = new AreaRows()
  protected root: Child
  /** Inner nodes from the root, with the child taken of each; then leaf, position in it, and its row. */
  protected readonly path: Inner[] = []
  protected readonly taken: number[] = []
  protected leaf: number
  protected position = 0
  protected row = 0

  constructor() {
    this.leaf = this.rows.newLeaf()
    this.root = this.leaf
  }

  /** Moves to the first area that ends at or after the address; false if there is none. */
  seek(page: number, offset: number): boolean {
    let node = this.root
    let depth = 0
    while (typeof node !== 'number') {
      const index = node.search(page, offset)
      this.path[depth] = node
      this.taken[depth] = index
      depth += 1
      node = node.children[index] as Child
    }
    if (this.path.length !== depth) this.path.length = depth
    const position = this.rows.search(node, page, offset)
    this.leaf = node
    this.position = position
    if (position === this.rows.count(node)) return false
    this.row = this.rows.row(node, position)
    return true
  }

  /** Moves to the next area; false at the end. */
  next(): boolean {
    this.position += 1
    if (this.position === this.rows.count(this.leaf)) {
      const leaf = this.#nextLeaf()
      if (leaf === undefined) return false
      this.leaf = leaf
      this.position = 0
    }
    this.row = this.rows.row(this.leaf, this.position)
    return true
  }

  /** Moves to the area before where it is, or before where it sought in vain; false at the beginning. */
  previous(): boolean {
    if (this.position === 0) {
      const leaf = this.#previousLeaf()
      if (leaf === undefined) return false
      this.leaf = leaf
      this.position = this.rows.count(leaf)
    }
    this.position -= 1
    this.row = this.rows.row(this.leaf, this.position)
    return true
  }

  #previousLeaf(): number | undefined {
    for (let depth = this.path.length - 1; depth >= 0; depth -= 1) {
      const inner = this.path[depth] as Inner
      const index = (this.taken[depth] as number) - 1
      if (index < 0) continue
      this.taken[depth] = index
      let node = inner.children[index] as Child
      for (let below = depth + 1; typeof node !== 'number'; below += 1) {
        this.path[below] = node
        this.taken[below] = node.count - 1
        node = node.children[node.count - 1] as Child
      }
      return node
    }
    return undefined
  }

  #nextLeaf(): number | undefined {
    for (let depth = this.path.length - 1; depth >= 0; depth -= 1) {
      const inner = this.path[depth] as Inner
      const index = (this.taken[depth] as number) + 1
      if (index >= inner.count) continue
      this.taken[depth] = index
      let node = inner.children[index] as Child
      for (let below = depth + 1; typeof node !== 'number'; below += 1) {
        this.path[below] = node
        this.taken[below] = 0
        node = node.children[0] as Child
      }
      return node
    }
    return undefined
  }

  get firstPage(): number {
    return this.rows.firstPage(this.row)
  }
  get firstOffset(): number {
    return this.rows.firstOffset(this.row)
  }
  get lastPage(): number {
    return this.rows.lastPage(this.row)
  }
  get lastOffset(): number {
    return this.rows.lastOffset(this.row)
  }
  get source(): PageSource {
    return this.rows.source(this.row)
  }
  /** Page within the source where the area starts. */
  get sourcePage(): number {
    return this.rows.sourcePage(this.row)
  }
  /** Byte within that page. */
  get sourceOffset(): number {
    return this.rows.sourceOffset(this.row)
  }
  get flags(): number {
    return this.rows.flags(this.row)
  }
  set flags(flags: number) {
    this.rows.setFlags(this.row, flags)
  }
  /** Outstanding pins by accesses on this area. */
  get pins(): number {
    return this.rows.pins(this.row)
  }
  /** Those among them that lock it: pins by internal accesses. */
  get locks(): number {
    return this.rows.locks(this.row)
  }
  /** Adds to (or takes from) the pins and locks of the area. */
  addPins(pins: number, locks: number): void {
    this.rows.addPins(this.row, pins, locks)
  }
}
