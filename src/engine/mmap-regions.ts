/** The regions of an iommufd that can be mapped: cookies, checks, user counts (01 §21). */
import type { FileOffset } from '../abi/brands.ts'
import type { Context } from './context.ts'
import type { MmapRegion, MmapRequest, SharedRegion } from './file.ts'
import type { KernelObject } from './objects.ts'
import type { Call } from './ports.ts'
import type { Result } from './reason.ts'

/** A region that its owner has published. */
export interface RegionHandle {
  /** The cookie: what user space passes to mmap as offset. */
  readonly offset: FileOffset
  readonly memory: SharedRegion
  /** The owner is destroyed: the cookie is free again. */
  withdraw(): void
}

export class MmapRegions {
  readonly #context: Context

  constructor(context: Context) {
    this.#context = context
  }

  /** Publishes `length` bytes (a positive multiple of 4096, else EINVAL); each VMA is a user of `owner`. */
  publish(_owner: KernelObject, _length: number): Result<RegionHandle> {
    throw new Error(`not built yet ${this.#context}`)
  }

  mmap(_call: Call, _request: MmapRequest): Result<MmapRegion> {
    throw new Error('not built yet')
  }

  mappingsOf(_offset: FileOffset, _vmas: number): void {
    throw new Error('not built yet')
  }
}
