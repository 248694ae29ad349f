/** VFIO_IOMMU_MAP_DMA and VFIO_IOMMU_UNMAP_DMA on an iommufd (02 §3.5, §3.6). */
import { byteLength, hex, type Iova, MAX_U64, iova as toIova, type UserVa } from '../abi/brands.ts'
import type { Decoded } from '../abi/layout.ts'
import {
  VFIO_DMA_MAP_FLAGS,
  VFIO_DMA_UNMAP_FLAGS,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  type vfio_iommu_type1_dma_unmap,
} from '../abi/vfio/container.ts'
import { compatIoasOf } from './compat-ioas.ts'
import type { Context } from './context.ts'
import type { Ioas, Unmapped } from './ioas.ts'
import type { Call } from './ports.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'
import { readVfioStruct, writeVfioStruct } from './vfio-struct.ts'

export const MapDmaUnknownFlags = reasonKind<{ flags: number }>({
  code: 'map-dma-unknown-flags',
  errno: 'EINVAL',
  cite: '02 §3.5 step 2',
  say: ({ flags }) =>
    `flags ${hex(flags)} has bits beside READ (1) and WRITE (2)${(flags & 4) !== 0 ? '; VADDR (4) is only served by the native container' : ''}`,
  advice:
    'Use only VFIO_DMA_MAP_FLAG_READ and VFIO_DMA_MAP_FLAG_WRITE, and ask VFIO_CHECK_EXTENSION before using more.',
})

export const MapDmaVaddrWraps = reasonKind<{ vaddr: UserVa; size: bigint }>({
  code: 'map-dma-vaddr-wraps',
  errno: 'EOVERFLOW',
  cite: '02 §3.5 step 4',
  say: ({ vaddr, size }) =>
    `vaddr ${hex(vaddr)} and size ${hex(size)} add up to 2^64 or more; here an end of exactly 2^64 counts as overflow too`,
  advice: 'Check vaddr and size: no process has memory there.',
})

export const UnmapDmaUnknownFlags = reasonKind<{ flags: number }>({
  code: 'unmap-dma-unknown-flags',
  errno: 'EINVAL',
  cite: '02 §3.6 step 2',
  say: ({ flags }) =>
    `flags ${hex(flags)} has bits beside ALL (2); GET_DIRTY_BITMAP (1) and VADDR (4) are only served by the native container`,
  advice:
    'Use only VFIO_DMA_UNMAP_FLAG_ALL; with an iommufd, dirty pages are read by IOMMU_HWPT_GET_DIRTY_BITMAP.',
})

export const UnmapDmaAllTakesNoRange = reasonKind<{ iova: Iova; size: bigint }>({
  code: 'unmap-dma-all-takes-no-range',
  errno: 'EINVAL',
  cite: '02 §3.6 step 4',
  say: ({ iova, size }) =>
    `with ALL, iova and size must be 0; they are ${hex(iova)} and ${hex(size)}`,
  advice: 'Set iova and size to 0 with VFIO_DMA_UNMAP_FLAG_ALL.',
})

export const UnmapDmaNothing = reasonKind({
  code: 'unmap-dma-nothing',
  errno: 'EINVAL',
  cite: '02 §3.6 step 6',
  say: () => 'size is 0',
  advice: 'Set size to the size of the mapping, or use VFIO_DMA_UNMAP_FLAG_ALL for everything.',
})

export const UnmapDmaWraps = reasonKind<{ iova: Iova; size: bigint }>({
  code: 'unmap-dma-wraps',
  errno: 'EOVERFLOW',
  cite: '02 §3.6 step 6',
  say: ({ iova, size }) => `iova ${hex(iova)} and size ${hex(size)} pass the end of 64 bits`,
  advice: 'Unmap a range that ends at 2^64-1 at the latest.',
})

const { VFIO_DMA_MAP_FLAG_READ: READ, VFIO_DMA_MAP_FLAG_WRITE: WRITE } = VFIO_DMA_MAP_FLAGS
const { VFIO_DMA_UNMAP_FLAG_ALL: ALL } = VFIO_DMA_UNMAP_FLAGS

/** `data[]` is not part of what is read and written. */
const UNMAP_SIZE = 24

export const vfioMapDma = (context: Context, call: Call, argument: UserVa): Result<number> => {
  const args = readVfioStruct(context.machine, call, argument, VFIO_IOMMU_MAP_DMA)
  if (args instanceof Refusal) return args
  const { flags, vaddr, iova, size } = args
  if ((flags & ~(READ | WRITE)) !== 0) return refuse(MapDmaUnknownFlags, { flags })
  const ioas = compatIoasOf(context)
  if (ioas instanceof Refusal) return ioas
  if (vaddr + size > MAX_U64) return refuse(MapDmaVaddrWraps, { vaddr, size })
  const readable = (flags & READ) !== 0
  const writable = (flags & WRITE) !== 0
  const mapped = ioas.map(call, { va: vaddr, length: size, iova, readable, writable })
  return mapped instanceof Refusal ? mapped : 0
}

export const vfioUnmapDma = (context: Context, call: Call, argument: UserVa): Result<number> => {
  const args = readVfioStruct(context.machine, call, argument, VFIO_IOMMU_UNMAP_DMA)
  if (args instanceof Refusal) return args
  const { flags } = args
  if ((flags & ~ALL) !== 0) return refuse(UnmapDmaUnknownFlags, { flags })
  const ioas = compatIoasOf(context)
  if (ioas instanceof Refusal) return ioas

  const outcome = (flags & ALL) !== 0 ? unmapAll(ioas, args) : unmapRange(ioas, args)
  if (outcome instanceof Refusal) return outcome
  // The number of bytes is reported whether or not the unmap went through to its end.
  const answer = { argsz: args.argsz, flags, iova: args.iova, size: outcome.removed }
  const { machine } = context
  const written = writeVfioStruct(machine, call, argument, VFIO_IOMMU_UNMAP_DMA, answer, UNMAP_SIZE)
  return written ?? outcome.refusal ?? 0
}

type UnmapArgs = Decoded<typeof vfio_iommu_type1_dma_unmap>

const unmapAll = (ioas: Ioas, { iova, size }: UnmapArgs): Result<Unmapped> => {
  if (iova !== 0n || size !== 0n) return refuse(UnmapDmaAllTakesNoRange, { iova, size })
  return ioas.unmapAll()
}

/** A Refusal ends the call without a word to the caller's structure; an Unmapped is reported. */
const unmapRange = (ioas: Ioas, { iova, size }: UnmapArgs): Result<Unmapped> => {
  const last = BigInt.asUintN(64, iova + size - 1n)
  if (!ioas.largePages) {
    const cut = cutAround(ioas, iova, toIova(last))
    if (cut instanceof Refusal) return cut
  }
  const removed = byteLength(0n)
  if (size === 0n) return { removed, refusal: refuse(UnmapDmaNothing, {}) }
  if (iova + size - 1n > MAX_U64) return { removed, refusal: refuse(UnmapDmaWraps, { iova, size }) }
  return ioas.unmap({ start: iova, last: toIova(last) })
}

/** Type1's splitting: boundaries at both ends of the range, the far one first. */
const cutAround = (ioas: Ioas, iova: Iova, last: Iova): Result<void> =>
  ioas.cut(iova === 0n ? [last] : [last, toIova(iova - 1n)])
