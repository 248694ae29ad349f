/** Memory as DMA sees it: by (simulated) physical address. */
import type { PhysAddr } from '../abi/brands.ts'
import type { FrameLocation, FrameTable } from './frames.ts'
import { PAGE } from './page-address.ts'

export class PhysicalMemory {
  readonly #frames: FrameTable

  constructor(frames: FrameTable) {
    this.#frames = frames
  }

  /** Reads physically consecutive bytes; false where no memory answers, with the bytes before it read. */
  read(phys: PhysAddr, into: Uint8Array): boolean {
    return this.#walk(phys, into, ({ object, page, offset }, part) =>
      object.read(page, offset, part),
    )
  }

  /** Writes physically consecutive bytes; false where no memory answers, with the bytes before it written. */
  write(phys: PhysAddr, bytes: Uint8Array): boolean {
    return this.#walk(phys, bytes, ({ object, page, offset }, part) =>
      object.write(page, offset, part),
    )
  }

  #walk(
    phys: PhysAddr,
    bytes: Uint8Array,
    each: (at: FrameLocation, part: Uint8Array) => boolean,
  ): boolean {
    for (let done = 0; done < bytes.length; ) {
      // An address behind a valid one: past the end of the space there is no frame.
      const location = this.#frames.at((phys + BigInt(done)) as PhysAddr)
      if (location === undefined) return false
      const here = Math.min(bytes.length - done, location.consecutive * PAGE - location.offset)
      if (!each(location, bytes.subarray(done, done + here))) return false
      done += here
    }
    return true
  }
}
