/** A page table as a plain map of 2 KiB units, which checks what the engine promises to domains. */
import type { ByteLength, Iova, PhysAddr } from '../../../src/abi/brands.ts'
import { physAddr } from '../../../src/abi/brands.ts'
import type { PagingDomain, Protection } from '../../../src/engine/iommu-driver.ts'
import { type Result, reasonKind, refuse } from '../../../src/engine/reason.ts'
import { TestDriver } from './test-iommu.ts'

const UNIT = 0x800n

export const PageDomainFull = reasonKind({
  code: 'test-page-domain-full',
  errno: 'ENOMEM',
  cite: 'test fixture',
  say: () => 'the test page table takes no more',
})

export class PageDomain implements PagingDomain {
  readonly type = 'paging'
  readonly driver = new TestDriver()
  readonly coherencyEnforced = false
  faultCapable = false
  readonly pageSizes: bigint
  readonly apertureStart: Iova
  readonly apertureEnd: Iova
  readonly units = new Map<bigint, { readonly phys: PhysAddr; readonly prot: Protection }>()
  /** Every `map`: IOVA and length. */
  readonly calls: (readonly [Iova, ByteLength])[] = []
  /** Calls of `map` after which it refuses; none by default. */
  mapsLeft = Number.POSITIVE_INFINITY

  constructor(pageSizes: bigint, apertureStart = 0n, apertureEnd = 0xffff_ffff_ffff_ffffn) {
    this.pageSizes = pageSizes
    this.apertureStart = apertureStart as Iova
    this.apertureEnd = apertureEnd as Iova
  }

  attach(): Result<void> {}
  free(): void {
    if (this.units.size > 0) throw new Error('freed with mappings')
  }

  map(iova: Iova, phys: PhysAddr, length: ByteLength, prot: Protection): Result<void> {
    const smallest = this.pageSizes & -this.pageSizes
    if ((iova | phys | length) % smallest !== 0n)
      throw new Error('a map that is not aligned to the smallest page')
    if (iova < this.apertureStart || iova + length - 1n > this.apertureEnd)
      throw new Error('a map outside the aperture')
    if (this.mapsLeft === 0) return refuse(PageDomainFull, {})
    this.mapsLeft -= 1
    this.calls.push([iova, length])
    for (let at = 0n; at < length; at += UNIT) {
      if (this.units.has(iova + at)) throw new Error('a map over something mapped')
      this.units.set(iova + at, { phys: physAddr(phys + at), prot })
    }
  }

  unmap(iova: Iova, length: ByteLength): void {
    for (let at = 0n; at < length; at += UNIT)
      if (!this.units.delete(iova + at)) throw new Error('an unmap of something not mapped')
  }

  iovaToPhys(iova: Iova): PhysAddr | undefined {
    const unit = this.units.get(iova - (iova % UNIT))
    return unit && physAddr(unit.phys + (iova % UNIT))
  }
}
