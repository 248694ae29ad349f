/** Why a page table refuses a map call (07 §1.6). From user space few of these can be reached (07 §11.4). */
import { hex, type Iova } from '../abi/brands.ts'
import { reasonKind } from '../engine/reason.ts'

interface MapCall {
  readonly iova: bigint
  readonly phys: bigint
  readonly length: bigint
}
const call = ({ iova, phys, length }: MapCall): string =>
  `${hex(length)} bytes at IOVA ${hex(iova)} to physical ${hex(phys)}`

export const TableMapWithoutPermission = reasonKind<MapCall>({
  code: 'table-map-without-permission',
  errno: 'EINVAL',
  cite: '07 §1.6 row 1',
  say: (c) => `an I/O page table cannot map ${call(c)} with neither read nor write permission`,
  advice: 'Ask for READ or WRITE (VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE).',
})

export const TableOutputTooWide = reasonKind<MapCall & { outputBits: number }>({
  code: 'table-output-too-wide',
  errno: 'ERANGE',
  cite: '07 §1.6 row 2',
  say: (c) => `${call(c)}: the physical address has more than ${c.outputBits} bits`,
  advice:
    'This is a fault of the simulation: physical memory must lie within what the IOMMU can address.',
})

export const TableProtectionNotExpressible = reasonKind<MapCall & { format: string }>({
  code: 'table-protection-not-expressible',
  errno: 'EINVAL',
  cite: '07 §4.3',
  say: (c) => `${call(c)}: a ${c.format} table of this kind cannot hold a read-only mapping`,
  advice:
    'A nest parent on Intel refuses read-only mappings: map the memory writable or not at all.',
})

export const TableMapEmpty = reasonKind<MapCall>({
  code: 'table-map-empty',
  errno: 'EINVAL',
  cite: '07 §1.6 row 4',
  say: (c) => `${call(c)}: there is nothing to map`,
  advice: 'Map at least one page.',
})

export const TableMapWraps = reasonKind<MapCall>({
  code: 'table-map-wraps',
  errno: 'EOVERFLOW',
  cite: '07 §1.6 row 5',
  say: (c) => `${call(c)}: the range ends beyond 2^64`,
  advice: 'Map a range that ends at 2^64-1 at the latest.',
})

export const TableMapMisaligned = reasonKind<MapCall & { pageSizes: bigint }>({
  code: 'table-map-misaligned',
  errno: 'ENXIO',
  cite: '07 §1.6 row 6',
  say: (c) => `${call(c)}: no page size of ${hex(c.pageSizes)} fits there`,
  advice: 'Align IOVA, address and length to the smallest page of the page table.',
})

export const TableOutOfReach = reasonKind<MapCall & { iovaBits: number }>({
  code: 'table-out-of-reach',
  errno: 'ERANGE',
  cite: '07 §1.6 row 7',
  say: (c) => `${call(c)}: the table translates ${c.iovaBits}-bit addresses only`,
  advice: 'Stay within the ranges that IOMMU_IOAS_IOVA_RANGES reports after attaching.',
})

export const TableItemTaken = reasonKind<MapCall & { taken: Iova }>({
  code: 'table-item-taken',
  errno: 'EADDRINUSE',
  cite: '07 §1.6 row 8',
  say: (c) => `${call(c)}: IOVA ${hex(c.taken)} is mapped already`,
  advice: 'Unmap the range first.',
})

export const TableMemoryExhausted = reasonKind<MapCall>({
  code: 'table-memory-exhausted',
  errno: 'ENOMEM',
  cite: '07 §1.6 row 9',
  say: (c) => `${call(c)}: no memory is left for page tables`,
  advice:
    'Unmap what is not needed any more, or map larger, aligned pieces, which take fewer tables.',
})
