/** VFIO_IOMMU_UNMAP_DMA of a native type1 container (02 §6.6). */
import { hex, type Iova, MAX_U64, iova as toIova, type UserVa } from '../abi/brands.ts'
import type { Decoded } from '../abi/layout.ts'
import {
  VFIO_DMA_UNMAP_FLAGS,
  VFIO_IOMMU_UNMAP_DMA,
  type vfio_iommu_type1_dma_unmap,
} from '../abi/vfio/container.ts'
import type { AreaView, IovaRange } from '../engine/ioas.ts'
import type { Call } from '../engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../engine/reason.ts'
import { readVfioStruct, writeVfioStruct } from '../engine/vfio-struct.ts'
import type { Type1Backend } from './type1-backend.ts'
import { readUnmapBitmap, type UserBitmap, writeDirtyBits } from './type1-dirty.ts'
import {
  mappingTouching,
  Type1Misaligned,
  Type1SizeZero,
  Type1UnknownFlags,
  Type1Wraps,
} from './type1-map.ts'

export const Type1UnmapFlagsContradict = reasonKind<{ flags: number }>({
  code: 'type1-unmap-flags-contradict',
  errno: 'EINVAL',
  cite: '02 §6.6 step 3',
  say: ({ flags }) => `flags ${hex(flags)}: GET_DIRTY_BITMAP cannot be combined with ALL or VADDR`,
  advice:
    'Read the dirty bitmap of each mapping as it is unmapped, without VFIO_DMA_UNMAP_FLAG_ALL or VADDR.',
})
export const Type1VaddrWithEmulated = reasonKind({
  code: 'type1-vaddr-with-emulated',
  errno: 'EBUSY',
  cite: '02 §6.6 step 5',
  say: () => 'a vaddr cannot be invalidated while the container has emulated devices',
  advice: 'Ask VFIO_CHECK_EXTENSION for VFIO_UPDATE_VADDR: emulated devices rule it out.',
})
export const Type1AllTakesNoRange = reasonKind<{ iova: bigint; size: bigint }>({
  code: 'type1-all-takes-no-range',
  errno: 'EINVAL',
  cite: '02 §6.6 step 7',
  say: ({ iova, size }) =>
    `with ALL, iova and size must be 0; they are ${hex(iova)} and ${hex(size)}`,
  advice: 'Set iova and size to 0 with VFIO_DMA_UNMAP_FLAG_ALL.',
})
export const Type1CutsMapping = reasonKind<{ wanted: IovaRange; mapping: IovaRange }>({
  code: 'type1-cuts-mapping',
  errno: 'EINVAL',
  cite: '02 §6.6 step 9',
  say: ({ wanted, mapping }) =>
    `${hex(wanted.start)}-${hex(wanted.last)} would cut the mapping ${hex(mapping.start)}-${hex(mapping.last)}; TYPE1v2 unmaps whole mappings only`,
  advice: 'Unmap with the iova and size with which it was mapped.',
})
export const Type1VaddrInvalidatedTwice = reasonKind<{ mapping: IovaRange }>({
  code: 'type1-vaddr-invalidated-twice',
  errno: 'EINVAL',
  cite: '02 §6.6 step 10',
  say: ({ mapping }) =>
    `the vaddr of ${hex(mapping.start)}-${hex(mapping.last)} is invalidated already`,
  advice: 'Give the mapping a new vaddr (VFIO_DMA_MAP_FLAG_VADDR) before invalidating it again.',
})

const {
  VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP: GET_DIRTY_BITMAP,
  VFIO_DMA_UNMAP_FLAG_ALL: ALL,
  VFIO_DMA_UNMAP_FLAG_VADDR: VADDR,
} = VFIO_DMA_UNMAP_FLAGS
const MINIMUM = 24

type Args = Decoded<typeof vfio_iommu_type1_dma_unmap> & { readonly argsz: number }

export const type1UnmapDma = (
  backend: Type1Backend,
  call: Call,
  argument: UserVa,
): Result<number> => {
  const { machine } = backend
  const request = VFIO_IOMMU_UNMAP_DMA.name
  const args = readVfioStruct(machine, call, argument, VFIO_IOMMU_UNMAP_DMA)
  if (args instanceof Refusal) return args
  const { argsz, flags, iova } = args
  if ((flags & ~(GET_DIRTY_BITMAP | ALL | VADDR)) !== 0)
    return refuse(Type1UnknownFlags, { request, flags })
  if ((flags & GET_DIRTY_BITMAP) !== 0 && (flags & (ALL | VADDR)) !== 0)
    return refuse(Type1UnmapFlagsContradict, { flags })
  const bitmap =
    (flags & GET_DIRTY_BITMAP) === 0 ? undefined : readUnmapBitmap(call, argument, argsz, args.size)
  if (bitmap instanceof Refusal) return bitmap
  if ((flags & VADDR) !== 0 && backend.hasEmulatedGroups) return refuse(Type1VaddrWithEmulated, {})
  const range = rangeOf(backend, args)
  if (range instanceof Refusal) return range
  const size = removeIn(backend, call, args, range, bitmap)
  if (size instanceof Refusal) return size
  const answer = { argsz, flags, iova, size }
  return writeVfioStruct(machine, call, argument, VFIO_IOMMU_UNMAP_DMA, answer, MINIMUM) ?? 0
}

const rangeOf = (backend: Type1Backend, { flags, iova, size }: Args): Result<IovaRange> => {
  const page = backend.smallestPage
  if (iova % page !== 0n) return refuse(Type1Misaligned, { iova, size, page })
  if ((flags & ALL) !== 0) {
    if (iova !== 0n || size !== 0n) return refuse(Type1AllTakesNoRange, { iova, size })
    return { start: iova, last: toIova(MAX_U64) }
  }
  if (size === 0n) return refuse(Type1SizeZero, { request: VFIO_IOMMU_UNMAP_DMA.name })
  if (size % page !== 0n) return refuse(Type1Misaligned, { iova, size, page })
  const last = iova + size - 1n
  if (last > MAX_U64) return refuse(Type1Wraps, { what: 'iova', start: iova, size })
  return { start: iova, last: toIova(last) }
}

/** Steps 8 to 10: the number of bytes removed, or marked. */
const removeIn = (
  backend: Type1Backend,
  call: Call,
  { flags }: Args,
  range: IovaRange,
  bitmap: UserBitmap | undefined,
): Result<ReturnType<typeof toLength>> => {
  if (bitmap !== undefined) {
    const refused = backend.dirty.checkOn() ?? backend.dirty.checkPageSize(bitmap.pgsize)
    if (refused !== undefined) return refused
  }
  if (!backend.splits && (flags & ALL) === 0) {
    const cut = cutMapping(backend, range)
    if (cut !== undefined) return refuse(Type1CutsMapping, { wanted: range, mapping: cut })
  }
  if ((flags & VADDR) !== 0) return invalidate(backend, range)
  let removed = 0n
  for (;;) {
    const mapping = mappingTouching(backend, range)
    // TYPE1 takes whole mappings, and gives up at one that starts before the range.
    if (mapping === undefined || (backend.splits && mapping.start < range.start)) break
    if (bitmap !== undefined) {
      const written = writeDirtyBits(backend, call, bitmap, range.start, mapping)
      if (written instanceof Refusal) return written
    }
    const unmapped = backend.ioas.unmap(mapping)
    if (unmapped.refusal !== undefined) return unmapped.refusal
    backend.forget(mapping)
    removed += unmapped.removed
  }
  return toLength(removed)
}

const toLength = (bytes: bigint) => bytes as AreaView['length']

/** A mapping that an end of the range cuts. */
const cutMapping = ({ ioas }: Type1Backend, range: IovaRange): AreaView | undefined => {
  const first = ioas.areaAt(range.start)
  if (first !== undefined && first.start !== range.start) return first
  const last = ioas.areaAt(range.last)
  return last !== undefined && last.last !== range.last ? last : undefined
}

/** Only marks; if one is marked already, all marks of this call are taken back. */
const invalidate = (
  { ioas, invalidated, splits }: Type1Backend,
  range: IovaRange,
): Result<ReturnType<typeof toLength>> => {
  const marked: Iova[] = []
  let twice: AreaView | undefined
  let bytes = 0n
  ioas.forEachArea((mapping) => {
    if (splits && mapping.start < range.start) return false
    if (invalidated.has(mapping.start)) {
      twice = mapping
      return false
    }
    invalidated.add(mapping.start)
    marked.push(mapping.start)
    bytes += mapping.length
    return true
  }, range)
  if (twice === undefined) return toLength(bytes)
  for (const start of marked) invalidated.delete(start)
  return refuse(Type1VaddrInvalidatedTwice, { mapping: twice })
}
