/**
 * The regions that IOMMU drivers publish for `mmap()` on the iommufd (04 §9): their offsets, and who
 * maps them.
 */
import { type ByteLength, byteLength, type FileOffset, fileOffset, hex } from '../abi/brands.ts'
import type { Context } from './context.ts'
import type { MmapRegion, MmapRequest, SharedRegion } from './file.ts'
import type { KernelObject } from './objects.ts'
import type { Call } from './ports.ts'
import { type Result, reasonKind, refuse } from './reason.ts'

const PAGE = 0x1000n
const MAP_SHARED = 0x01
const MAP_SHARED_VALIDATE = 0x03
const MAP_TYPE = 0x0f
const PROT_EXEC = 0x4

export const MmapNotShared = reasonKind<{ flags: number; mode: string }>({
  code: 'mmap-not-shared',
  errno: 'EINVAL',
  cite: '04 §9 check 1',
  say: ({ flags, mode }) =>
    mode === 'read'
      ? 'the iommufd was opened without write access, so that its regions cannot be mapped shared'
      : `the mapping is not MAP_SHARED (flags ${hex(flags)})`,
  advice: 'Open the iommufd O_RDWR and map with MAP_SHARED.',
})

export const MmapExecutable = reasonKind({
  code: 'mmap-executable',
  errno: 'EPERM',
  cite: '04 §9 check 2',
  say: () => 'the regions of an iommufd cannot be mapped with PROT_EXEC',
  advice: 'Map it with PROT_READ and PROT_WRITE only.',
})

export const MmapNoRegion = reasonKind<{ offset: FileOffset }>({
  code: 'mmap-no-region',
  errno: 'ENXIO',
  cite: '04 §9 check 3',
  say: ({ offset }) => `no region of this iommufd lies at offset ${hex(offset)}`,
  advice: 'Use the offset that VIOMMU_ALLOC returned in its type-specific data.',
})

export const MmapNotWholeRegion = reasonKind<{
  offset: FileOffset
  length: ByteLength
  region: { offset: FileOffset; length: ByteLength }
}>({
  code: 'mmap-not-whole-region',
  errno: 'ENXIO',
  cite: '04 §9 check 4',
  say: ({ offset, length, region }) =>
    `offset ${hex(offset)}, length ${hex(length)} is not exactly the region at ${hex(region.offset)} ` +
    `of ${hex(region.length)} bytes`,
  advice: 'Map the region from its start and as a whole.',
})

export const RegionLengthInvalid = reasonKind<{ length: number }>({
  code: 'region-length-invalid',
  errno: 'EINVAL',
  cite: '03 §14.5',
  say: ({ length }) => `a region of ${length} bytes is not a positive number of whole pages`,
  advice: 'A driver offers whole pages: round the region up.',
})

/** Memory of a region until (and unless) the host backs it with pages that clients map. */
export class RegionMemory implements SharedRegion {
  readonly length: number
  #bytes: Uint8Array | undefined
  #pages: SharedRegion | undefined
  #accessible = true

  constructor(length: number) {
    this.length = length
    this.#bytes = new Uint8Array(length)
  }

  read(offset: number, into: Uint8Array): void {
    if (this.#pages !== undefined) this.#pages.read(offset, into)
    else if (this.#bytes !== undefined) into.set(this.#bytes.subarray(offset, offset + into.length))
  }

  write(offset: number, bytes: Uint8Array): void {
    if (this.#pages !== undefined) this.#pages.write(offset, bytes)
    else this.#bytes?.set(bytes, offset)
  }

  backBy(pages: SharedRegion): void {
    if (this.#bytes !== undefined) pages.write(0, this.#bytes)
    this.#bytes = undefined
    this.#pages = pages
    pages.setAccessible?.(this.#accessible)
  }

  setAccessible(accessible: boolean): void {
    this.#accessible = accessible
    this.#pages?.setAccessible?.(accessible)
  }
}

/** One published region; every VMA that maps it holds its owner and the context. */
class Region implements MmapRegion {
  readonly owner: KernelObject
  readonly offset: FileOffset
  readonly length: ByteLength
  readonly memory: RegionMemory
  vmas = 0

  constructor(owner: KernelObject, offset: bigint, length: number) {
    this.owner = owner
    this.offset = fileOffset(offset)
    this.length = byteLength(BigInt(length))
    this.memory = new RegionMemory(length)
  }
}

/** A region that its owner has published. */
export interface RegionHandle {
  /** What user space passes to mmap as offset. */
  readonly offset: FileOffset
  readonly memory: SharedRegion
  /** The owner is destroyed: the offset is free again. */
  withdraw(): void
}

export class MmapRegions {
  readonly #context: Context
  /** Ascending by offset. */
  #regions: Region[] = []

  constructor(context: Context) {
    this.#context = context
  }

  /** Publishes `length` zeroed bytes at the lowest free offset from 0x1000 on (04 §9). */
  publish(owner: KernelObject, length: number): Result<RegionHandle> {
    if (length <= 0 || length % Number(PAGE) !== 0) return refuse(RegionLengthInvalid, { length })
    let offset = PAGE
    let index = 0
    for (const region of this.#regions) {
      if (region.offset - offset >= BigInt(length)) break
      offset = region.offset + region.length
      index++
    }
    const region = new Region(owner, offset, length)
    this.#regions.splice(index, 0, region)
    return {
      offset: region.offset,
      memory: region.memory,
      withdraw: () => {
        this.#regions = this.#regions.filter((other) => other !== region)
      },
    }
  }

  /** Withdraws what an object that goes away had published. */
  withdrawAll(owner: KernelObject): void {
    this.#regions = this.#regions.filter((region) => region.owner !== owner)
  }

  mmap(_call: Call, request: MmapRequest): Result<MmapRegion> {
    const { flags, prot, offset } = request
    const { mode } = this.#context
    const type = flags & MAP_TYPE
    if ((type !== MAP_SHARED && type !== MAP_SHARED_VALIDATE) || mode === 'read')
      return refuse(MmapNotShared, { flags, mode })
    if ((prot & PROT_EXEC) !== 0) return refuse(MmapExecutable, {})
    const region = this.#regions.find(
      (candidate) => candidate.offset <= offset && offset < candidate.offset + candidate.length,
    )
    if (region === undefined) return refuse(MmapNoRegion, { offset })
    const length = byteLength((request.length + PAGE - 1n) & ~(PAGE - 1n))
    if (offset !== region.offset || length !== region.length)
      return refuse(MmapNotWholeRegion, { offset, length, region })
    return region
  }

  /** So many VMAs map the region at `offset` now. */
  mappingsOf(offset: FileOffset, vmas: number): void {
    const region = this.#regions.find((candidate) => candidate.offset === offset)
    if (region === undefined) return
    const change = vmas - region.vmas
    region.vmas = vmas
    region.owner.users += change
    for (let more = change; more > 0; more--) this.#context.hold()
    for (let less = -change; less > 0; less--) this.#context.drop()
  }
}
