/** Simulated physical memory: which frame a page is in, and how often it is pinned (05 §A.9). */
import type { PhysAddr } from '../abi/brands.ts'
import type { PageObject, PageRun } from './ports.ts'

/** A stretch of physically consecutive memory, in bytes. */
export interface PhysRun {
  readonly phys: PhysAddr
  readonly length: number
}

/** Where a physical address lies. */
export interface FrameLocation {
  readonly object: PageObject
  readonly page: number
  /** Byte within the page. */
  readonly offset: number
}

export class FrameTable {
  /** One long-term pin on each page of the run; frames are assigned to pages that have none. */
  pin(_run: PageRun): void {
    throw new Error('not built yet')
  }

  unpin(_run: PageRun): void {
    throw new Error('not built yet')
  }

  /** Long-term pins on a page, over all contexts (05 §A.9.1). */
  pinsOf(_object: PageObject, _page: number): number {
    throw new Error('not built yet')
  }

  /** Frame of a pinned page; undefined for a page without pin. */
  physOf(_object: PageObject, _page: number): PhysAddr | undefined {
    throw new Error('not built yet')
  }

  /** The page behind a physical address. */
  at(_phys: PhysAddr): FrameLocation | undefined {
    throw new Error('not built yet')
  }
}
