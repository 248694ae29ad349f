/** Reserved IOVA regions of x86 platforms (07 §10.3, §12.1, §12.2). */
import { byteLength, iova } from '../abi/brands.ts'
import type { ReservedRegion } from '../engine/iommu-driver.ts'

const region = (start: bigint, last: bigint, kind: ReservedRegion['kind']): ReservedRegion => ({
  start: iova(start),
  length: byteLength(last - start + 1n),
  kind,
})

/** Where writes are interrupts, not memory. */
export const x86MsiWindow = region(0xfee0_0000n, 0xfeef_ffffn, 'msi')

/** Addresses that AMD's HyperTransport keeps for itself. */
export const hyperTransport = region(0xfd_0000_0000n, 0xff_ffff_ffffn, 'reserved')
