/**
 * The tree of tables below a root: where items stand, how the root rises, how tables come and go
 * (07 §1.1, §1.5, §2.4). What stands in the leaves is `page-table.ts`'s affair.
 */
import type { ByteLength, Iova, PhysAddr } from '../abi/brands.ts'
import type { TableFormat, TableGeometry, Word } from './table-format.ts'
import { sharedBuffer, TABLE_PAGE_BYTES, type TableMemory } from './table-memory.ts'
import { REGISTER_COUNT, Register, TableWalker, type WalkableTable } from './table-walker.ts'
import { log2Floor } from './trailing-zeros.ts'

/** One item on the way from the root to a leaf, for people. */
export interface WalkStep {
  readonly level: number
  readonly tableAddress: PhysAddr
  readonly index: number
  readonly word: bigint
  readonly kind: 'empty' | 'table' | 'leaf'
  /** Bytes that this item, or the whole entry of a leaf, spans. */
  readonly span: ByteLength
}

/** Not even the root of a table finds room. */
export class TableMemoryExhaustedError extends Error {
  override readonly name = 'TableMemoryExhaustedError'
}

export class TableTree {
  readonly format: TableFormat
  readonly geometry: TableGeometry
  readonly memory: TableMemory
  /** Root and tracking state where a device worker sees them change. */
  readonly registers: Uint32Array
  readonly granule: bigint
  readonly walker: TableWalker
  /** Units that one item spans, by level. */
  readonly itemUnits: number[] = []
  readonly tableItems: number
  readonly #tableOrder: number
  readonly #rootOrder: number
  readonly #maxRootItems: number
  readonly maxTop: number
  readonly #tableWords: Word[] = []
  #freed = false

  constructor(format: TableFormat, geometry: TableGeometry, memory: TableMemory) {
    this.format = format
    this.geometry = geometry
    this.memory = memory
    this.granule = 1n << BigInt(format.granuleShift)
    this.tableItems = 2 ** format.indexBits
    for (let level = 0; level < 7; level++) {
      this.itemUnits.push(2 ** (format.indexBits * level))
      this.#tableWords.push(format.table(level))
    }
    this.maxTop = geometry.maxTopLevel ?? geometry.topLevel
    this.#maxRootItems = this.maxTop > geometry.topLevel ? this.tableItems : Number.MAX_SAFE_INTEGER
    this.#tableOrder = log2Floor((this.tableItems * 8) / TABLE_PAGE_BYTES)
    const rootBytes = 8 * this.rootItems(geometry.topLevel)
    this.#rootOrder = Math.max(0, log2Floor(Math.ceil(rootBytes / TABLE_PAGE_BYTES)))
    this.registers = new Uint32Array(sharedBuffer(REGISTER_COUNT * 4))
    const root = memory.allocate(this.#rootOrder)
    if (root === undefined) throw new TableMemoryExhaustedError()
    this.#setRoot(root, geometry.topLevel)
    this.walker = new TableWalker(this.walkable())
  }

  /** What a walker in this thread or in a worker needs; `segments` is live in this thread. */
  walkable(): WalkableTable {
    return {
      format: this.format,
      iovaBits: this.geometry.iovaBits,
      signExtended: this.geometry.signExtended ?? false,
      maxRootItems: this.#maxRootItems,
      registers: this.registers,
      basePage: this.memory.basePage,
      segments: this.memory.segments,
    }
  }

  get topLevel(): number {
    return (this.registers[Register.ROOT] ?? 0) & 7
  }

  get rootAddress(): PhysAddr {
    return this.#addressOf(this.root)
  }

  get tracking(): boolean {
    return this.registers[Register.TRACKING] === 1
  }

  set tracking(on: boolean) {
    this.registers[Register.TRACKING] = on ? 1 : 0
  }

  get root(): number {
    return (this.registers[Register.ROOT] ?? 0) >>> 3
  }

  /** The items from the root towards `iova`, as far as there are any (07 §9). */
  walk(iova: Iova): WalkStep[] {
    const page = this.pageInTable(iova)
    if (page === undefined || page >= this.currentReach()) return []
    const steps: WalkStep[] = []
    let table = this.root
    for (let level = this.topLevel; level >= 0; level--) {
      const itemUnits = this.unitsAt(level)
      const index = this.indexOf(page, level)
      const segment = this.memory.segment(table)
      const at = this.wordAt(table, index)
      const lo = segment[at] ?? 0
      const hi = segment[at + 1] ?? 0
      const present = this.format.present(lo, hi)
      const kind = !present ? 'empty' : this.format.isLeaf(level, lo, hi) ? 'leaf' : 'table'
      const units = kind === 'leaf' ? this.format.leafUnits(level, lo, hi, itemUnits) : itemUnits
      steps.push({
        level,
        tableAddress: this.#addressOf(table),
        index,
        word: (BigInt(hi) << 32n) | BigInt(lo),
        kind,
        span: (BigInt(units) * this.granule) as ByteLength,
      })
      if (kind !== 'table') break
      table = this.childOf(lo, hi)
    }
    return steps
  }

  /** Gives back all table pages; nothing may use the table any more. */
  free(): void {
    if (this.#freed) throw new Error('a page table is freed twice')
    this.#freed = true
    this.#freeTable(this.root, this.topLevel, this.#rootOrder)
  }

  unitsAt(level: number): number {
    return this.itemUnits[level] ?? 1
  }

  indexOf(page: number, level: number): number {
    const index = Math.floor(page / this.unitsAt(level))
    return level === this.topLevel ? index : index % this.tableItems
  }

  /** Index of an item's low half within the segment of its table. */
  wordAt(table: number, index: number): number {
    return ((table & 255) << 10) + (index << 1)
  }

  /** Table memory page that a table item points to. */
  childOf(lo: number, hi: number): number {
    return this.format.frameOf(lo, hi) * 2 ** (this.format.granuleShift - 12) - this.memory.basePage
  }

  /** Page number within the table, sign extension taken off; undefined in neither canonical half. */
  pageInTable(iova: Iova): number | undefined {
    const page = Number(iova >> BigInt(this.format.granuleShift))
    if (this.geometry.signExtended !== true) return page
    const width = 2 ** (this.geometry.iovaBits - this.format.granuleShift)
    if (page < width / 2) return page
    const upperHalf = 2 ** (64 - this.format.granuleShift) - width / 2
    return page < upperHalf ? undefined : page - upperHalf + width / 2
  }

  /** Units from 0 that the present root translates. */
  currentReach(): number {
    return this.rootItems(this.topLevel) * this.unitsAt(this.topLevel)
  }

  rootItems(level: number): number {
    const width = 2 ** (this.geometry.iovaBits - this.format.granuleShift)
    return Math.min(this.#maxRootItems, Math.ceil(width / this.unitsAt(level)))
  }

  /** Stacks new roots until `end` is below the reach; all at once for whoever walks (07 §2.4). */
  protected growTo(end: number): boolean {
    let root = this.root
    let top = this.topLevel
    const added: number[] = []
    while (end > this.rootItems(top) * this.unitsAt(top)) {
      const table = this.memory.allocate(this.#tableOrder)
      if (table === undefined) {
        for (const page of added) this.#discard(page)
        return false
      }
      added.push(table)
      top++
      this.#writeTableItem(table, 0, top, root)
      root = table
    }
    if (added.length > 0) this.#setRoot(root, top)
    return true
  }

  #discard(table: number): void {
    this.memory.zero(table, this.#tableOrder)
    this.memory.release(table, this.#tableOrder)
  }

  #setRoot(root: number, top: number): void {
    Atomics.store(this.registers, Register.ROOT, (root << 3) | top)
  }

  #addressOf(table: number): PhysAddr {
    return (BigInt(this.memory.basePage + table) * BigInt(TABLE_PAGE_BYTES)) as PhysAddr
  }

  #writeTableItem(table: number, index: number, level: number, child: number): void {
    const word = this.#tableWords[level] ?? { lo: 0, hi: 0 }
    const frame = (this.memory.basePage + child) * 2 ** (12 - this.format.granuleShift)
    const field = this.format.field(frame)
    const segment = this.memory.segment(table)
    const at = this.wordAt(table, index)
    segment[at + 1] = Math.floor(field / 2 ** 32) | word.hi
    segment[at] = field | word.lo
  }

  /** A new table of `level - 1` under an empty item; undefined when memory is exhausted. */
  protected addChild(table: number, index: number, level: number): number | undefined {
    const child = this.memory.allocate(this.#tableOrder)
    if (child !== undefined) this.#writeTableItem(table, index, level, child)
    return child
  }

  protected isEmpty(table: number, level: number): boolean {
    const segment = this.memory.segment(table)
    const start = this.wordAt(table, 0)
    for (let at = start; at < start + 2 * this.tableItems; at += 2) {
      const lo = segment[at] ?? 0
      const hi = segment[at + 1] ?? 0
      if (!this.format.present(lo, hi)) continue
      if (this.format.isLeaf(level, lo, hi)) return false
      if (!this.isEmpty(this.childOf(lo, hi), level - 1)) return false
    }
    return true
  }

  /** Frees the subtree that a table item just removed pointed to. */
  protected freeChild(lo: number, hi: number, level: number): void {
    this.#freeTable(this.childOf(lo, hi), level, this.#tableOrder)
  }

  #freeTable(table: number, level: number, order: number): void {
    if (level > 0) {
      const segment = this.memory.segment(table)
      const start = this.wordAt(table, 0)
      const end = start + ((TABLE_PAGE_BYTES / 4) << order)
      for (let at = start; at < end; at += 2) {
        const lo = segment[at] ?? 0
        const hi = segment[at + 1] ?? 0
        if (this.format.present(lo, hi) && !this.format.isLeaf(level, lo, hi))
          this.freeChild(lo, hi, level - 1)
      }
    }
    this.memory.zero(table, order)
    this.memory.release(table, order)
  }
}
