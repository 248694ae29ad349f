/** Memory as DMA sees it: by (simulated) physical address. */
import type { PhysAddr } from '../abi/brands.ts'
import type { FrameTable } from './frames.ts'

export class PhysicalMemory {
  readonly #frames: FrameTable

  constructor(frames: FrameTable) {
    this.#frames = frames
  }

  /** Reads physically consecutive bytes; false where no memory (any more) answers. */
  read(_phys: PhysAddr, _into: Uint8Array): boolean {
    return this.#frames === undefined
  }

  write(_phys: PhysAddr, _bytes: Uint8Array): boolean {
    return this.#frames === undefined
  }
}
