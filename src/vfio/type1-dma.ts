/** How an emulated device reaches memory under a native type1 container (02 §6.8). */
import { byteLength, hex, type Iova, MAX_U64, iova as toIova } from '../abi/brands.ts'
import { Access } from '../engine/access.ts'
import type { AreaView } from '../engine/ioas.ts'
import { PageSource } from '../engine/page-source.ts'
import type { Call } from '../engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../engine/reason.ts'
import type { VfioDriver, VirtualDma } from './driver.ts'
import { type Type1Backend, VaddrInvalidated } from './type1-backend.ts'

export const Type1PinNeedsV2 = reasonKind({
  code: 'type1-pin-needs-v2',
  errno: 'EACCES',
  cite: '02 §6.8',
  say: () => 'emulated devices pin only under TYPE1v2',
  advice: 'Choose VFIO_TYPE1v2_IOMMU in VFIO_SET_IOMMU for containers with emulated devices.',
})
export const Type1DmaUnmapped = reasonKind<{ at: bigint }>({
  code: 'type1-dma-unmapped',
  errno: 'EINVAL',
  cite: '02 §6.8',
  say: ({ at }) => `nothing is mapped at ${hex(at)}`,
  advice: 'Map the range (VFIO_IOMMU_MAP_DMA) before the device reaches for it.',
})
export const Type1DmaForbidden = reasonKind<{ mapping: AreaView; write: boolean }>({
  code: 'type1-dma-forbidden',
  errno: 'EPERM',
  cite: '02 §6.8',
  say: ({ mapping, write }) =>
    `the mapping at ${hex(mapping.start)} does not permit a ${write ? 'write' : 'read'}`,
  advice:
    'Map it with VFIO_DMA_MAP_FLAG_READ for what the device reads and VFIO_DMA_MAP_FLAG_WRITE for what it writes.',
})
export const Type1PinTooMany = reasonKind<{ pages: number }>({
  code: 'type1-pin-too-many',
  errno: 'E2BIG',
  cite: '02 §6.8',
  say: ({ pages }) => `a pin of ${pages} pages; 512 are the most`,
  advice: 'Pin in pieces of 512 pages.',
})
export const Type1PinWithoutHook = reasonKind({
  code: 'type1-pin-without-hook',
  errno: 'EINVAL',
  cite: '02 §6.8',
  say: () => 'a pin of no pages, or by a device whose driver has no unmap hook',
  advice: 'Pin at least one page, by a driver that offers an unmap hook (dma_unmap).',
})
export const Type1DmaByStranger = reasonKind<{ pid: number }>({
  code: 'type1-dma-by-stranger',
  errno: 'EFAULT',
  cite: '02 §6.8',
  say: ({ pid }) => `process ${pid} made the device copy, but another process made the mapping`,
  advice: 'Let the process that made the mapping drive the device.',
})

const PAGE = 4096n
const MOST_PAGES = 512

const pageOf = (at: Iova): Iova => toIova(at - (at % PAGE))

/** One open device's way to memory; `close` gives back what it holds. */
export class Type1Dma implements VirtualDma {
  readonly #backend: Type1Backend
  readonly #driver: VfioDriver
  readonly #access: Access

  private constructor(backend: Type1Backend, driver: VfioDriver, access: Access) {
    this.#backend = backend
    this.#driver = driver
    this.#access = access
  }

  static open(
    backend: Type1Backend,
    name: string,
    driver: VfioDriver,
    call: Call,
  ): Result<Type1Dma> {
    const access = Access.create(
      backend.context,
      {
        name: `emulated device ${name}`,
        pins: true,
        unmap: (start, length) => driver.unmapped?.(start, length),
      },
      { caller: call },
    )
    if (access instanceof Refusal) return access
    const attached = access.attachTo(backend.ioas)
    if (attached instanceof Refusal) {
      access.destroy()
      return attached
    }
    return new Type1Dma(backend, driver, access)
  }

  close(): void {
    this.#access.destroy()
  }

  read(call: Call, start: Iova, into: Uint8Array): Result<void> {
    const refused = this.#check(call, start, into.length, false)
    if (refused !== undefined) return refused
    return this.#access.read(call, { space: call.process.addressSpace }, start, into)
  }

  write(call: Call, start: Iova, bytes: Uint8Array): Result<void> {
    const refused = this.#check(call, start, bytes.length, true)
    if (refused !== undefined) return refused
    const written = this.#access.write(call, { space: call.process.addressSpace }, start, bytes)
    if (!(written instanceof Refusal)) this.#backend.dirty.wrote(start, bytes.length)
    return written
  }

  pin(call: Call, start: Iova, pages: number, forWriting: boolean): Result<number> {
    const { splits, invalidated, dirty } = this.#backend
    if (pages === 0 || this.#driver.unmapped === undefined) return refuse(Type1PinWithoutHook, {})
    if (pages > MOST_PAGES) return refuse(Type1PinTooMany, { pages })
    if (splits) return refuse(Type1PinNeedsV2, {})
    if (invalidated.size > 0) return refuse(VaddrInvalidated, { mappings: invalidated.size })
    const from = pageOf(start)
    const length = BigInt(pages) * PAGE
    for (let at: bigint = from; at < from + length; ) {
      const mapping = this.#mappingAt(at)
      if (mapping instanceof Refusal) return mapping
      if (forWriting ? !mapping.writable : !mapping.readable)
        return refuse(Type1DmaForbidden, { mapping, write: forWriting })
      at = mapping.last + 1n
    }
    const pinned = this.#access.pin(call, from, byteLength(length), forWriting)
    if (pinned instanceof Refusal) return pinned
    dirty.pinned(from, length)
    return pages
  }

  unpin(start: Iova, pages: number): void {
    const length = byteLength(BigInt(pages) * PAGE)
    this.#access.unpin(pageOf(start), length)
    this.#backend.dirty.unpinned(pageOf(start), length)
  }

  /** READ is also required for writing. */
  #check(call: Call, start: Iova, length: number, write: boolean): Refusal | undefined {
    const end = start + BigInt(length)
    for (let at: bigint = start; at < end; ) {
      const mapping = this.#mappingAt(at)
      if (mapping instanceof Refusal) return mapping
      if (!mapping.readable || (write && !mapping.writable))
        return refuse(Type1DmaForbidden, { mapping, write })
      const { sharedBy } = mapping
      if (sharedBy instanceof PageSource && sharedBy.owner.space !== call.process.addressSpace)
        return refuse(Type1DmaByStranger, { pid: call.process.pid })
      at = mapping.last + 1n
    }
    return undefined
  }

  #mappingAt(at: bigint): Result<AreaView> {
    const mapping = at > MAX_U64 ? undefined : this.#backend.ioas.areaAt(toIova(at))
    return mapping ?? refuse(Type1DmaUnmapped, { at })
  }
}
