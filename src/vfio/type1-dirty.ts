/** VFIO_IOMMU_DIRTY_PAGES of a native type1 container, and the bitmaps that it and UNMAP_DMA fill (02 §6.6, §6.7). */
import { hex, type Iova, MAX_U64, iova as toIova, type UserVa, userVa } from '../abi/brands.ts'
import { decode } from '../abi/layout.ts'
import {
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_DIRTY_PAGES_FLAGS,
  vfio_bitmap,
  vfio_iommu_type1_dirty_bitmap_get,
} from '../abi/vfio/container.ts'
import type { AreaView, IovaRange } from '../engine/ioas.ts'
import type { Call } from '../engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../engine/reason.ts'
import {
  addressAt,
  readExactly,
  readVfioStruct,
  VfioArgszTooSmall,
  writeExactly,
} from '../engine/vfio-struct.ts'
import type { Type1Backend } from './type1-backend.ts'
import { LARGEST_BITMAP } from './type1-dirty-log.ts'

export const DirtyPagesNeedV2 = reasonKind({
  code: 'type1-dirty-pages-need-v2',
  errno: 'EACCES',
  cite: '02 §6.7',
  say: () => 'VFIO_IOMMU_DIRTY_PAGES is only served after VFIO_SET_IOMMU with TYPE1v2',
  advice: 'Choose VFIO_TYPE1v2_IOMMU in VFIO_SET_IOMMU.',
})
export const DirtyPagesUnknownFlags = reasonKind<{ flags: number }>({
  code: 'type1-dirty-pages-unknown-flags',
  errno: 'EINVAL',
  cite: '02 §6.7',
  say: ({ flags }) =>
    `flags ${hex(flags)} is not exactly one of START (1), STOP (2) and GET_BITMAP (4)`,
  advice: 'Set exactly one of VFIO_IOMMU_DIRTY_PAGES_FLAG_START, STOP and GET_BITMAP.',
})
export const DirtyRangeEmpty = reasonKind({
  code: 'type1-dirty-range-empty',
  errno: 'EINVAL',
  cite: '02 §6.7',
  say: () => 'GET_BITMAP of a range of size 0',
  advice: 'Set size to the bytes that the bitmap is to cover.',
})
export const DirtyRangeWraps = reasonKind<{ iova: bigint; size: bigint }>({
  code: 'type1-dirty-range-wraps',
  errno: 'EOVERFLOW',
  cite: '02 §6.7',
  say: ({ iova, size }) => `iova ${hex(iova)} and size ${hex(size)} pass the end of 64 bits`,
  advice: 'Ask for a range that ends at 2^64-1 at the latest.',
})
export const DirtyRangeMisaligned = reasonKind<{ iova: bigint; size: bigint; page: bigint }>({
  code: 'type1-dirty-range-misaligned',
  errno: 'EINVAL',
  cite: '02 §6.7',
  say: ({ iova, size, page }) =>
    `iova ${hex(iova)} and size ${hex(size)} must be multiples of ${hex(page)}`,
  advice: 'Align iova and size to the smallest page.',
})
export const DirtyRangeCuts = reasonKind<{ wanted: IovaRange; mapping: IovaRange }>({
  code: 'type1-dirty-range-cuts',
  errno: 'EINVAL',
  cite: '02 §6.7',
  say: ({ wanted, mapping }) =>
    `${hex(wanted.start)}-${hex(wanted.last)} cuts the mapping ${hex(mapping.start)}-${hex(mapping.last)}`,
  advice: 'Ask for whole mappings, as they were made.',
})
export const BitmapAddressImpossible = reasonKind<{ data: bigint; size: bigint }>({
  code: 'type1-bitmap-address-impossible',
  errno: 'EINVAL',
  cite: '02 §6.6 step 4, §6.7',
  say: ({ data, size }) =>
    `a bitmap of ${hex(size)} bytes at ${hex(data)} lies outside what a process can have`,
  advice: 'Point bitmap.data to memory of the program, and set bitmap.size to its bytes.',
})
export const BitmapSizeWrong = reasonKind<{ pages: bigint; size: bigint }>({
  code: 'type1-bitmap-size-wrong',
  errno: 'EINVAL',
  cite: '02 §6.6 step 4, §6.7',
  say: ({ pages, size }) => `a bitmap of ${size} bytes is given for ${pages} pages`,
  advice: 'Give 8 bytes for every 64 pages, up to 256 MiB in all.',
})

const {
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START: START,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP: STOP,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP: GET_BITMAP,
} = VFIO_IOMMU_DIRTY_PAGES_FLAGS

/** The end of what a process can address (x86-64, four-level page tables). */
const USER_END = 0x7fff_ffff_f000n
const UNMAP_HEADER = 24
const DIRTY_HEADER = 8

export interface UserBitmap {
  readonly pgsize: bigint
  readonly size: bigint
  readonly data: UserVa
}

const checkAddress = ({ data, size }: UserBitmap): Refusal | undefined =>
  data + size > USER_END ? refuse(BitmapAddressImpossible, { data, size }) : undefined

/** `pgsize` 0 has no lowest bit; the kernel was observed to answer EINVAL. */
const checkSize = ({ pgsize, size }: UserBitmap, range: bigint): Refusal | undefined => {
  const unit = pgsize & -pgsize
  const pages = unit === 0n ? 0n : range / unit
  const needed = ((pages + 63n) / 64n) * 8n
  if (pages === 0n || size === 0n || size > LARGEST_BITMAP || size < needed)
    return refuse(BitmapSizeWrong, { pages, size })
  return undefined
}

/** Of UNMAP_DMA with GET_DIRTY_BITMAP (02 §6.6 step 4). */
export const readUnmapBitmap = (
  call: Call,
  argument: UserVa,
  argsz: number,
  range: bigint,
): Result<UserBitmap> => {
  const what = 'VFIO_IOMMU_UNMAP_DMA with GET_DIRTY_BITMAP'
  const minimum = UNMAP_HEADER + vfio_bitmap.size
  if (argsz < minimum) return refuse(VfioArgszTooSmall, { what, argsz, minimum })
  const bytes = readExactly(call, addressAt(argument, UNMAP_HEADER), vfio_bitmap.size, what)
  if (bytes instanceof Refusal) return bytes
  const bitmap = decode(vfio_bitmap, bytes)
  return checkAddress(bitmap) ?? checkSize(bitmap, range) ?? bitmap
}

export const type1DirtyPages = (
  backend: Type1Backend,
  call: Call,
  argument: UserVa,
): Result<number> => {
  if (backend.splits) return refuse(DirtyPagesNeedV2, {})
  const args = readVfioStruct(backend.machine, call, argument, VFIO_IOMMU_DIRTY_PAGES)
  if (args instanceof Refusal) return args
  switch (args.flags) {
    case START:
      backend.dirty.start()
      return 0
    case STOP:
      backend.dirty.stop()
      return 0
    case GET_BITMAP:
      return getBitmap(backend, call, argument, args.argsz)
    default:
      return refuse(DirtyPagesUnknownFlags, { flags: args.flags })
  }
}

const getBitmap = (
  backend: Type1Backend,
  call: Call,
  argument: UserVa,
  argsz: number,
): Result<number> => {
  const what = 'VFIO_IOMMU_DIRTY_PAGES with GET_BITMAP'
  const { size: length } = vfio_iommu_type1_dirty_bitmap_get
  const minimum = DIRTY_HEADER + length
  if (argsz < minimum) return refuse(VfioArgszTooSmall, { what, argsz, minimum })
  const bytes = readExactly(call, addressAt(argument, DIRTY_HEADER), length, what)
  if (bytes instanceof Refusal) return bytes
  const { iova, size, bitmap } = decode(vfio_iommu_type1_dirty_bitmap_get, bytes)
  if (size === 0n) return refuse(DirtyRangeEmpty, {})
  if (iova + size - 1n > MAX_U64) return refuse(DirtyRangeWraps, { iova, size })
  const badBitmap = checkAddress(bitmap) ?? checkSize(bitmap, size)
  if (badBitmap !== undefined) return badBitmap
  const page = backend.smallestPage
  const badPage = backend.dirty.checkPageSize(bitmap.pgsize)
  if (badPage !== undefined) return badPage
  if (iova % page !== 0n || size % page !== 0n)
    return refuse(DirtyRangeMisaligned, { iova, size, page })
  const off = backend.dirty.checkOn()
  if (off !== undefined) return off
  return readRange(backend, call, bitmap, { start: iova, last: toIova(iova + size - 1n) })
}

const readRange = (
  backend: Type1Backend,
  call: Call,
  bitmap: UserBitmap,
  range: IovaRange,
): Result<number> => {
  const mappings: AreaView[] = []
  backend.ioas.forEachArea((mapping) => mappings.push(mapping), range)
  const cut = mappings.find((mapping) => mapping.start < range.start || mapping.last > range.last)
  if (cut !== undefined) return refuse(DirtyRangeCuts, { wanted: range, mapping: cut })
  for (const mapping of mappings) {
    const written = writeDirtyBits(backend, call, bitmap, range.start, mapping)
    if (written instanceof Refusal) return written
  }
  return 0
}

/**
 * Stores a mapping's bits, whole 64-bit words: where it begins within a word, the word's other bits are
 * kept as they are found.
 */
export const writeDirtyBits = (
  backend: Type1Backend,
  call: Call,
  bitmap: UserBitmap,
  base: Iova,
  mapping: AreaView,
): Result<void> => {
  const firstBit = (mapping.start - base) / backend.smallestPage
  const shift = Number(firstBit % 64n)
  const address = userVa(bitmap.data + (firstBit / 64n) * 8n)
  let found = 0n
  if (shift > 0) {
    const bytes = readExactly(call, address, 8, 'the dirty bitmap')
    if (bytes instanceof Refusal) return bytes
    found = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true)
  }
  return writeExactly(call, address, backend.dirty.read(mapping, shift, found), 'the dirty bitmap')
}
