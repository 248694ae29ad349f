/**
 * Simulated physical memory: in which frame a page is, and how often it is pinned (05 §A.9).
 *
 * A page has a frame while anything pins it. Ordinary pages that are neighbours in their object are
 * never neighbours in physical memory, as on a machine that has run for a while: what works here
 * does not rest on luck. Huge pages (`PageObject.contiguity`) are consecutive and aligned.
 *
 * Frames come in extents: `count` pages of one object, in blocks of `contiguity` pages, one block
 * every second block. So an address follows from a page by arithmetic, and nothing is kept per page.
 */
import type { PhysAddr } from '../abi/brands.ts'
import type { DmaChanges } from './dma-changes.ts'
import { IntervalMap } from './interval-map.ts'
import { addressOf, offsetOf, pageOf } from './page-address.ts'
import { PageCounts } from './page-counts.ts'
import type { PageObject, PageRun } from './ports.ts'

/** Where a physical address lies. */
export interface FrameLocation {
  readonly object: PageObject
  readonly page: number
  /** Byte within the page. */
  readonly offset: number
  /** Pages from here on that are consecutive in physical memory, this one included. */
  readonly consecutive: number
}

/** Pinned memory, or memory of a device (a dma-buf), which is mapped without a pin. */
export type FrameKind = 'memory' | 'mmio'

/**
 * `count` pages of an object from `firstPage` on: blocks of `contiguity` pages, each followed by as many
 * frames that nobody has.
 */
export interface FrameExtent {
  readonly object: PageObject
  readonly firstPage: number
  readonly count: number
  readonly contiguity: number
  /** Frame number of the first page. */
  readonly frame: number
}

interface Extent extends FrameExtent {
  /** Pages with at least one pin; the extent goes with the last. */
  held: number
}

interface ObjectFrames {
  readonly kind: FrameKind
  readonly extents: IntervalMap<Extent>
  readonly pins: PageCounts
}

/** Frames from 4 GiB on: a physical address is never mistaken for a small number. */
const FIRST_FRAME = 0x10_0000
/** Extents cover at least this many pages, so that single pages of a buffer share one. */
const GRANULE = 64

export class FrameTable {
  readonly #objects = new Map<PageObject, ObjectFrames>()
  readonly #byFrame = new IntervalMap<Extent>()
  readonly #free = new Map<number, number[]>()
  readonly #changes: DmaChanges | undefined
  #next = FIRST_FRAME

  constructor(changes?: DmaChanges) {
    this.#changes = changes
  }

  /** One long-term pin on each page of the run; pages that had none get a frame. */
  pin(run: PageRun, kind: FrameKind = 'memory'): void {
    let frames = this.#objects.get(run.object)
    if (frames === undefined) {
      frames = { kind, extents: new IntervalMap(), pins: new PageCounts() }
      this.#objects.set(run.object, frames)
    }
    const end = run.page + run.count
    for (const [from, to] of frames.pins.add(run.page, end))
      this.#hold(frames, run.object, from, to)
  }

  unpin(run: PageRun): void {
    const frames = this.#objects.get(run.object)
    if (frames === undefined) throw new Error(`unpin of ${run.object.name}, which nobody pinned`)
    for (const [from, to] of frames.pins.remove(run.page, run.page + run.count))
      this.#letGo(frames, from, to)
    if (frames.pins.isEmpty) this.#objects.delete(run.object)
  }

  /** Long-term pins on a page, over all contexts (05 §A.9.1). */
  pinsOf(object: PageObject, page: number): number {
    const frames = this.#objects.get(object)
    return frames === undefined || frames.kind === 'mmio' ? 0 : frames.pins.of(page)
  }

  /** Nothing is pinned anywhere. */
  get isEmpty(): boolean {
    return this.#objects.size === 0
  }

  /** Physical address of a pinned page; undefined for a page without pin. */
  physOf(object: PageObject, page: number): PhysAddr | undefined {
    const extent = this.#objects.get(object)?.extents.find(page)?.value
    // Inside the simulated physical address space by construction.
    return extent === undefined ? undefined : (addressOf(frameOf(extent, page), 0) as PhysAddr)
  }

  /**
   * Cuts a run of pinned pages into stretches of evenly spaced ones: page n of a stretch is in frame
   * `frame + n * spacing`. The spacing is 1 for the pages of a huge page. Stops when `visit` returns
   * false.
   */
  forEachEven(
    run: PageRun,
    visit: (frame: number, page: number, count: number, spacing: number) => boolean,
  ): boolean {
    const end = run.page + run.count
    const extents = this.#objects.get(run.object)?.extents.overlapping(run.page, end) ?? []
    for (const { start, end: extentEnd, value: extent } of extents) {
      const { contiguity } = extent
      const to = Math.min(end, extentEnd)
      for (let page = Math.max(run.page, start); page < to; ) {
        const inBlock = (page - extent.firstPage) % contiguity
        const count = contiguity === 1 ? to - page : Math.min(contiguity - inBlock, to - page)
        if (!visit(frameOf(extent, page), page, count, contiguity === 1 ? 2 : 1)) return false
        page += count
      }
    }
    return true
  }

  /** The page behind a physical address. */
  at(phys: PhysAddr): FrameLocation | undefined {
    const frame = pageOf(phys)
    const extent = this.#byFrame.find(frame)?.value
    if (extent === undefined) return undefined
    const { contiguity } = extent
    const inExtent = frame - extent.frame
    const inBlock = inExtent % (2 * contiguity)
    if (inBlock >= contiguity) return undefined
    const page = extent.firstPage + Math.floor(inExtent / (2 * contiguity)) * contiguity + inBlock
    if (page >= extent.firstPage + extent.count) return undefined
    const consecutive = Math.min(contiguity - inBlock, extent.firstPage + extent.count - page)
    return { object: extent.object, page, offset: offsetOf(phys), consecutive }
  }

  /** The extent around a physical address. */
  extentAt(phys: PhysAddr): FrameExtent | undefined {
    return this.#byFrame.find(pageOf(phys))?.value
  }

  #hold(frames: ObjectFrames, object: PageObject, from: number, to: number): void {
    let at = from
    for (const { start, end, value } of frames.extents.overlapping(from, to)) {
      if (start > at) this.#extend(frames, object, at, start)
      value.held += Math.min(end, to) - Math.max(start, from)
      at = end
    }
    if (at < to) this.#extend(frames, object, at, to)
  }

  /** A new extent for pages without frame, rounded out as far as its neighbours let it. */
  #extend(frames: ObjectFrames, object: PageObject, from: number, to: number): void {
    const { contiguity } = object
    const granule = Math.max(GRANULE, contiguity)
    let first = Math.floor(from / granule) * granule
    let end = Math.ceil(to / granule) * granule
    for (const near of frames.extents.overlapping(first, end)) {
      if (near.end <= from) first = Math.max(first, near.end)
      if (near.start >= to) end = Math.min(end, near.start)
    }
    const count = end - first
    const size = count * 2
    const frame = this.#allocate(size, contiguity)
    const extent = { object, firstPage: first, count, contiguity, frame, held: to - from }
    frames.extents.insert(first, end, extent)
    this.#byFrame.insert(frame, frame + size, extent)
  }

  #letGo(frames: ObjectFrames, from: number, to: number): void {
    for (const { start, end, value } of frames.extents.overlapping(from, to)) {
      value.held -= Math.min(end, to) - Math.max(start, from)
      if (value.held > 0) continue
      frames.extents.delete(start)
      this.#byFrame.delete(value.frame)
      this.#changes?.framesFreed(value.frame)
      const size = value.count * 2
      const free = this.#free.get(size)
      if (free === undefined) this.#free.set(size, [value.frame])
      else free.push(value.frame)
    }
  }

  #allocate(size: number, align: number): number {
    const reused = this.#free.get(size)
    const last = reused?.at(-1)
    if (last !== undefined && last % align === 0) {
      reused?.pop()
      return last
    }
    const frame = Math.ceil(this.#next / align) * align
    this.#next = frame + size
    return frame
  }
}

const frameOf = (extent: Extent, page: number): number => {
  const inExtent = page - extent.firstPage
  const inBlock = inExtent % extent.contiguity
  return extent.frame + (inExtent - inBlock) * 2 + inBlock
}

/** Physical address of a byte of a frame. */
export const physAddress = (frame: number, offset: number): PhysAddr =>
  // Frames are numbered within the 64-bit physical address space.
  addressOf(frame, offset) as PhysAddr
