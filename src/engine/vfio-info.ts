/** VFIO_IOMMU_GET_INFO on an iommufd (02 §3.4): page sizes and the capability chain, byte for byte. */
import type { UserVa } from '../abi/brands.ts'
import { encode } from '../abi/layout.ts'
import {
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_INFO_FLAGS,
  VFIO_IOMMU_TYPE1_INFO_CAPS,
  vfio_iommu_type1_info,
  vfio_iommu_type1_info_cap_iova_range,
  vfio_iommu_type1_info_dma_avail,
  vfio_iova_range,
} from '../abi/vfio/container.ts'
import { compatIoasOf } from './compat-ioas.ts'
import type { Context } from './context.ts'
import type { Ioas, IovaRange } from './ioas.ts'
import type { Call } from './ports.ts'
import { Refusal, type Result } from './reason.ts'
import { addressAt, readVfioStruct, writeExactly, writeVfioStruct } from './vfio-struct.ts'

/** Where the two capabilities lie; a slot is a multiple of 8 bytes. */
const DMA_AVAIL = vfio_iommu_type1_info.size
const IOVA_RANGE = DMA_AVAIL + 16
const RANGES = IOVA_RANGE + 16
const RANGE_SIZE = vfio_iova_range.size

/** A constant: iommufd has no limit on the number of mappings. */
const AVAIL = 0xffff_ffff

const ALL_PAGE_SIZES = 0xffff_ffff_ffff_ffffn
const BELOW_4096 = 0xfffn
const PAGE_4096 = 0x1000n

export const vfioGetInfo = (context: Context, call: Call, argument: UserVa): Result<number> => {
  const input = readVfioStruct(context.machine, call, argument, VFIO_IOMMU_GET_INFO)
  if (input instanceof Refusal) return input
  const ioas = compatIoasOf(context)
  if (ioas instanceof Refusal) return ioas

  const { argsz } = input
  const ranges = ioas.usableRanges()
  const total = RANGES + RANGE_SIZE * ranges.length
  const refused = writeCapabilities(call, argument, argsz, ranges)
  if (refused instanceof Refusal) return refused
  const info = {
    argsz: total,
    flags:
      VFIO_IOMMU_INFO_FLAGS.VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_FLAGS.VFIO_IOMMU_INFO_CAPS,
    iova_pgsizes: pageSizes(ioas),
    cap_offset: argsz >= total ? DMA_AVAIL : 0,
    pad: 0,
  }
  const length = Math.min(argsz, vfio_iommu_type1_info.size)
  return writeVfioStruct(context.machine, call, argument, VFIO_IOMMU_GET_INFO, info, length) ?? 0
}

/** What all HWPTs can map; sizes below the CPU's page count as the CPU's page. */
const pageSizes = (ioas: Ioas): bigint => {
  let sizes = ALL_PAGE_SIZES
  for (const { domain } of ioas.domains) sizes &= domain.pageSizes
  if ((sizes & BELOW_4096) !== 0n) sizes = (sizes & ~BELOW_4096) | PAGE_4096
  const alignment = BigInt(ioas.alignment)
  return sizes > alignment ? sizes : alignment
}

/** What of the chain fits is written piece by piece; nothing at or beyond `argsz` ever is. */
const writeCapabilities = (
  call: Call,
  argument: UserVa,
  argsz: number,
  ranges: readonly IovaRange[],
): Result<void> => {
  const put = (offset: number, bytes: Uint8Array): Result<void> =>
    writeExactly(call, addressAt(argument, offset), bytes, VFIO_IOMMU_GET_INFO.name)
  const { VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE } =
    VFIO_IOMMU_TYPE1_INFO_CAPS

  if (argsz >= DMA_AVAIL + vfio_iommu_type1_info_dma_avail.size) {
    // The next capability is announced when its place lies within the buffer, written or not.
    const next = argsz >= IOVA_RANGE ? IOVA_RANGE : 0
    const header = { id: VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, version: 1, next }
    const refused = put(
      DMA_AVAIL,
      encode(vfio_iommu_type1_info_dma_avail, { header, avail: AVAIL }),
    )
    if (refused instanceof Refusal) return refused
  }
  const fitting = Math.max(0, Math.floor((argsz - RANGES) / RANGE_SIZE))
  for (const [i, { start, last }] of ranges.slice(0, fitting).entries()) {
    const refused = put(RANGES + RANGE_SIZE * i, encode(vfio_iova_range, { start, end: last }))
    if (refused instanceof Refusal) return refused
  }
  if (fitting < ranges.length) return
  const header = { id: VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, version: 1, next: 0 }
  const cap = { header, nr_iovas: ranges.length, reserved: 0 }
  return put(IOVA_RANGE, encode(vfio_iommu_type1_info_cap_iova_range, cap).subarray(0, 16))
}
