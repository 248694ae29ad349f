/** IOMMU_HWPT_SET_DIRTY_TRACKING and IOMMU_HWPT_GET_DIRTY_BITMAP (03 §12). */
import { type ByteLength, byteLength, hex, type Iova, iova, MAX_U64 } from '../abi/brands.ts'
import { IOMMU_HWPT_GET_DIRTY_BITMAP, IOMMU_HWPT_SET_DIRTY_TRACKING } from '../abi/iommufd/hwpt.ts'
import { command } from './command.ts'
import { UserBitmap } from './dirty-bitmap.ts'
import { HwptPaging } from './hwpt.ts'
import type { DirtyOps } from './iommu-driver.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'

const FLAG_ENABLE = 1
const FLAG_NO_CLEAR = 1

export const DirtyFlagsUnknown = reasonKind<{ flags: number }>({
  code: 'dirty-flags-unknown',
  errno: 'EOPNOTSUPP',
  cite: '03 §12.2, §12.3 step 2',
  say: ({ flags }) => `flags ${hex(flags)} has bits beyond bit 0`,
  advice: 'Leave the other flags at 0.',
})

export const DirtyReservedNotZero = reasonKind<{ value: number }>({
  code: 'dirty-reserved-not-zero',
  errno: 'EOPNOTSUPP',
  cite: '03 §12.3 step 2',
  say: ({ value }) => `__reserved is ${hex(value)} and must be 0`,
  advice: 'Set __reserved to 0; note that hwpt_id comes before flags in this struct.',
})

export const DirtyNotTracked = reasonKind<{ hwpt: number }>({
  code: 'dirty-not-tracked',
  errno: 'EOPNOTSUPP',
  cite: '03 §12.1',
  say: ({ hwpt }) =>
    `HWPT ${hwpt} was not allocated with IOMMU_HWPT_ALLOC_DIRTY_TRACKING and records no writes`,
  advice:
    'Allocate the HWPT with IOMMU_HWPT_ALLOC_DIRTY_TRACKING, after IOMMU_GET_HW_INFO has reported IOMMU_HW_CAP_DIRTY_TRACKING.',
})

export const DirtyRangeOverflows = reasonKind<{ iova: Iova; length: ByteLength }>({
  code: 'dirty-range-overflows',
  errno: 'EOVERFLOW',
  cite: '03 §12.3 step 4',
  say: ({ iova: start, length }) =>
    length === 0n
      ? `a length of 0 is only accepted at IOVA 0 (then it means everything), not at ${hex(start)}`
      : `${hex(length)} bytes from ${hex(start)} on pass 2^64`,
  advice: 'Ask for a range that ends at 2^64-1 at the latest, with at least one byte.',
})

export const DirtyRangeMisaligned = reasonKind<{
  iova: Iova
  last: Iova
  alignment: number
}>({
  code: 'dirty-range-misaligned',
  errno: 'EINVAL',
  cite: '03 §12.3 step 5',
  say: ({ iova: start, last, alignment }) =>
    `${hex(start)}-${hex(last)} does not begin and end at multiples of ${alignment}, the IOVA alignment of the IOAS`,
  advice: 'IOAS_IOVA_RANGES reports the alignment.',
})

export const DirtyPageSizeZero = reasonKind({
  code: 'dirty-page-size-zero',
  errno: 'EINVAL',
  cite: '03 §12.3 step 6',
  say: () => 'page_size is 0',
  advice: 'Set page_size to the size that one bit stands for, such as 4096.',
})

export const DirtyRangeNotInPages = reasonKind<{ iova: Iova; last: Iova; pageSize: bigint }>({
  code: 'dirty-range-not-in-pages',
  errno: 'EINVAL',
  cite: '03 §12.3 step 7',
  say: ({ iova: start, last, pageSize }) =>
    `${hex(start)}-${hex(last)} does not begin and end at multiples of page_size ${hex(pageSize)}`,
  advice: 'Round iova down and length up to page_size.',
})

export const setDirtyTracking = command(
  IOMMU_HWPT_SET_DIRTY_TRACKING,
  ({ args, call, context }): Result<void> => {
    if ((args.flags & ~FLAG_ENABLE) !== 0) return refuse(DirtyFlagsUnknown, { flags: args.flags })
    const hwpt = context.objects.find(args.hwpt_id, HwptPaging, 'hwpt-paging', call)
    if (hwpt instanceof Refusal) return hwpt
    const { dirty } = hwpt.domain
    if (dirty === undefined) return refuse(DirtyNotTracked, { hwpt: hwpt.id })
    const enabled = args.flags === FLAG_ENABLE
    const result = (enabled ? clearAll(hwpt, dirty) : undefined) ?? dirty.setTracking(enabled)
    if (result instanceof Refusal) return result
    context.machine.dma.unmapped()
    if (context.machine.observer !== undefined)
      context.emit({ type: 'dirty-tracking', hwpt: hwpt.id, enabled })
  },
)

/** Enabling makes every area clean first, each time (03 §12.2). */
const clearAll = (hwpt: HwptPaging, dirty: DirtyOps): Refusal | undefined => {
  let refusal: Refusal | undefined
  hwpt.ioas.forEachArea(({ start, length }) => {
    const cleared = dirty.readAndClear(start, length, true, undefined)
    if (cleared instanceof Refusal) refusal = cleared
    return refusal === undefined
  })
  return refusal
}

export const getDirtyBitmap = command(
  IOMMU_HWPT_GET_DIRTY_BITMAP,
  ({ args, call, context }): Result<void> => {
    const { flags, page_size: pageSize } = args
    if ((flags & ~FLAG_NO_CLEAR) !== 0) return refuse(DirtyFlagsUnknown, { flags })
    if (args.__reserved !== 0) return refuse(DirtyReservedNotZero, { value: args.__reserved })
    const hwpt = context.objects.find(args.hwpt_id, HwptPaging, 'hwpt-paging', call)
    if (hwpt instanceof Refusal) return hwpt
    const start = args.iova
    const end = start + ((args.length - 1n) & MAX_U64)
    if (end > MAX_U64) return refuse(DirtyRangeOverflows, { iova: start, length: args.length })
    const last = iova(end)
    const alignment = hwpt.ioas.alignment
    if (((start | (last + 1n)) & BigInt(alignment - 1)) !== 0n)
      return refuse(DirtyRangeMisaligned, { iova: start, last, alignment })
    if (pageSize === 0n) return refuse(DirtyPageSizeZero, {})
    if (((start | ((last + 1n) & MAX_U64)) & (pageSize - 1n)) !== 0n)
      return refuse(DirtyRangeNotInPages, { iova: start, last, pageSize })
    const { dirty } = hwpt.domain
    if (dirty === undefined) return refuse(DirtyNotTracked, { hwpt: hwpt.id })
    const bitmap = new UserBitmap(call.memory, args.data, start, last, pageSize)
    const clear = (flags & FLAG_NO_CLEAR) === 0
    const stoppedAt = walk(hwpt, dirty, { start, last }, clear, bitmap)
    if (clear) context.machine.dma.unmapped()
    bitmap.flush()
    if (context.machine.observer !== undefined)
      context.emit({
        type: 'dirty-read',
        hwpt: hwpt.id,
        iova: start,
        length: args.length,
        dirty: byteLength(bitmap.dirtyBytes),
        cleared: clear,
        stoppedAt,
        lostSpans: bitmap.dropped,
      })
  },
)

/**
 * Areas in ascending order as long as each begins where the one before ended; silently ends at the
 * first gap or driver error and returns where that was (03 §12.3, "The walk"). Adjacent areas go to the
 * driver as one piece.
 */
const walk = (
  hwpt: HwptPaging,
  dirty: DirtyOps,
  range: { readonly start: Iova; readonly last: Iova },
  clear: boolean,
  bitmap: UserBitmap,
): Iova | undefined => {
  let next: bigint = range.start
  hwpt.ioas.forEachArea((area) => {
    if (area.start > next) return false
    next = area.last + 1n
    return true
  }, range)
  const last = next - 1n < range.last ? next - 1n : range.last
  if (last < range.start) return range.start
  const read = dirty.readAndClear(
    range.start,
    byteLength(last - range.start + 1n),
    clear,
    (from, length, leaf) => bitmap.setSpan(from, length, leaf),
  )
  if (read instanceof Refusal) return range.start
  return last < range.last ? iova(last + 1n) : undefined
}
