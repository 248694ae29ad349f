/** VFIO_IOMMU_GET_INFO of a native type1 container (02 §6.4): the capability chain, all or nothing. */
import type { UserVa } from '../abi/brands.ts'
import { encode } from '../abi/layout.ts'
import {
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_INFO_FLAGS,
  VFIO_IOMMU_TYPE1_INFO_CAPS,
  vfio_iommu_type1_info,
  vfio_iommu_type1_info_cap_iova_range,
  vfio_iommu_type1_info_cap_migration,
  vfio_iommu_type1_info_dma_avail,
} from '../abi/vfio/container.ts'
import type { Call } from '../engine/ports.ts'
import { Refusal, type Result } from '../engine/reason.ts'
import { addressAt, readVfioStruct, writeExactly, writeVfioStruct } from '../engine/vfio-struct.ts'
import type { Type1Backend } from './type1-backend.ts'
import { LARGEST_BITMAP } from './type1-dirty-log.ts'

const {
  VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION: MIGRATION,
  VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL: DMA_AVAIL,
  VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE: IOVA_RANGE,
} = VFIO_IOMMU_TYPE1_INFO_CAPS

export const type1GetInfo = (
  backend: Type1Backend,
  call: Call,
  argument: UserVa,
): Result<number> => {
  const { machine } = backend
  const input = readVfioStruct(machine, call, argument, VFIO_IOMMU_GET_INFO)
  if (input instanceof Refusal) return input
  const chain = capabilityChain(backend)
  const total = vfio_iommu_type1_info.size + chain.length
  const fits = input.argsz >= total
  if (fits) {
    const at = addressAt(argument, vfio_iommu_type1_info.size)
    const written = writeExactly(call, at, chain, VFIO_IOMMU_GET_INFO.name)
    if (written instanceof Refusal) return written
  }
  const info = {
    argsz: fits ? input.argsz : total,
    flags:
      VFIO_IOMMU_INFO_FLAGS.VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_FLAGS.VFIO_IOMMU_INFO_CAPS,
    iova_pgsizes: backend.pageSizes,
    cap_offset: fits ? vfio_iommu_type1_info.size : 0,
    pad: 0,
  }
  const length = Math.min(input.argsz, vfio_iommu_type1_info.size)
  return writeVfioStruct(machine, call, argument, VFIO_IOMMU_GET_INFO, info, length) ?? 0
}

const capabilityChain = (backend: Type1Backend): Uint8Array => {
  const { validRanges } = backend
  const parts: { slot: number; encode: (next: number) => Uint8Array }[] = [
    { slot: 32, encode: (next: number) => migration(backend, next) },
    { slot: 16, encode: (next: number) => available(backend, next) },
  ]
  if (validRanges !== undefined)
    parts.push({
      slot: 16 + 16 * validRanges.length,
      encode: (next) =>
        encode(vfio_iommu_type1_info_cap_iova_range, {
          header: { id: IOVA_RANGE, version: 1, next },
          nr_iovas: validRanges.length,
          reserved: 0,
          iova_ranges: validRanges.map(({ start, last }) => ({ start, end: last })),
        }),
    })
  const chain = new Uint8Array(parts.reduce((sum, { slot }) => sum + slot, 0))
  let at = 0
  for (const part of parts) {
    const end = at + part.slot
    chain.set(part.encode(end < chain.length ? vfio_iommu_type1_info.size + end : 0), at)
    at = end
  }
  return chain
}

const migration = (backend: Type1Backend, next: number): Uint8Array =>
  encode(vfio_iommu_type1_info_cap_migration, {
    header: { id: MIGRATION, version: 1, next },
    flags: 0,
    pgsize_bitmap: backend.smallestPage,
    max_dirty_bitmap_size: LARGEST_BITMAP,
  })

const available = (backend: Type1Backend, next: number): Uint8Array =>
  encode(vfio_iommu_type1_info_dma_avail, {
    header: { id: DMA_AVAIL, version: 1, next },
    avail: backend.available,
  })
