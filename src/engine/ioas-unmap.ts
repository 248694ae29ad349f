/** IOMMU_IOAS_UNMAP, and the core operation that VFIO shares (01 §15, 04 §2.7). */
import { type ByteLength, hex, type Iova, MAX_U64 } from '../abi/brands.ts'
import { IOMMU_IOAS_UNMAP } from '../abi/iommufd/ioas.ts'
import { AREA_UNMAPPING } from './area-cursor.ts'
import { command } from './command.ts'
import { Ioas, type Unmapped } from './ioas.ts'
import { emptyDomains } from './ioas-fill.ts'
import { printRange } from './ioas-iova.ts'
import { LengthZero, ValueIsMax } from './ioas-map.ts'
import { LAST_PAGE, offsetOf, PAGE, pageOf } from './page-address.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'
import type { IovaRange } from './reserved-ranges.ts'

export const UnmapOverflows = reasonKind<{ iova: bigint; length: bigint }>({
  code: 'unmap-overflows',
  errno: 'EOVERFLOW',
  cite: '01 §15 step 3',
  say: ({ iova, length }) => `iova ${hex(iova)} + length ${hex(length)} - 1 exceeds 2^64-1`,
  advice:
    'Unmap a range that ends at 2^64-1 at the latest; iova 0 with length 2^64-1 unmaps everything.',
})

export const NothingMapped = reasonKind<{ start: bigint; last: bigint }>({
  code: 'nothing-mapped',
  errno: 'ENOENT',
  cite: '01 §15 step 3',
  say: ({ start, last }) => `nothing is mapped in ${printRange(start, last)}`,
  advice: 'Unmap what IOMMU_IOAS_MAP returned, once: keep the iova that it wrote back.',
})

export const AreaLocked = reasonKind<{ area: IovaRange; locks: number }>({
  code: 'area-locked',
  errno: 'EBUSY',
  cite: '01 §15.1 step 2',
  say: ({ area, locks }) =>
    `the area ${printRange(area.start, area.last)} is locked by ${locks} hardware queue${locks === 1 ? '' : 's'}`,
  advice: 'Destroy the hardware queue first.',
})

export const AreaSticksOut = reasonKind<{ start: bigint; last: bigint; area: IovaRange }>({
  code: 'area-sticks-out',
  errno: 'ENOENT',
  cite: '01 §15.1 step 3',
  say: ({ start, last, area }) =>
    `the area ${printRange(area.start, area.last)} is only partly inside ${printRange(start, last)}, and areas are not split; what lay before it is unmapped`,
  advice: 'Unmap whole mappings.',
})

export const AccessesKeepArea = reasonKind<{ area: IovaRange; pins: number; rounds: number }>({
  code: 'accesses-keep-area',
  errno: 'EDEADLK',
  cite: '01 §15.1 step 4, 04 §2.7',
  say: ({ area, pins, rounds }) =>
    `after ${rounds} rounds of asking, ${pins} pins of emulated devices remain on the area ${printRange(area.start, area.last)}`,
  advice: 'A driver that pins pages must unpin them in its unmap callback.',
})

export const ioasUnmap = command(IOMMU_IOAS_UNMAP, ({ context, call, args, respond }) => {
  const { ioas_id, iova, length } = args
  const ioas = context.objects.find(ioas_id, Ioas, 'IOAS', call)
  if (ioas instanceof Refusal) return ioas
  const removed =
    iova === 0n && length === MAX_U64 ? unmapEverything(ioas) : unmapRange(ioas, iova, length)
  if (removed instanceof Refusal) return removed
  if (removed.refusal !== undefined) return removed.refusal
  return respond({ length: removed.removed })
})

/** 01 §15 step 3. */
const unmapRange = (ioas: Ioas, iova: Iova, length: ByteLength): Result<Unmapped> => {
  if (iova === MAX_U64) return refuse(ValueIsMax, { field: 'iova' })
  if (length === MAX_U64) return refuse(ValueIsMax, { field: 'length' })
  if (length === 0n) return refuse(LengthZero, {})
  const last = iova + length - 1n
  if (last > MAX_U64) return refuse(UnmapOverflows, { iova, length })
  const unmapped = unmapAreas(ioas, { start: iova, last: last as Iova })
  if (unmapped.refusal === undefined && unmapped.removed === 0n)
    return refuse(NothingMapped, { start: iova, last })
  return unmapped
}

/** After this many rounds of callbacks without effect an unmap gives up. */
const MAX_ROUNDS = 100

/** 01 §15.1. */
export const unmapAreas = (ioas: Ioas, { start, last }: IovaRange): Unmapped => {
  const { areas } = ioas
  const startPage = pageOf(start)
  const startOffset = offsetOf(start)
  const lastPage = pageOf(last)
  const lastOffset = offsetOf(last)
  let removedPages = 0
  let removedBytes = 0
  const total = (): ByteLength => byteTotal(removedPages, removedBytes)
  let rounds = 0
  // Where the next area must begin for the rounds to go on counting (04 §2.7).
  let nextPage = startPage
  let nextOffset = startOffset
  const stop = (refusal: Refusal): Unmapped => ({ removed: total(), refusal })
  while (areas.seek(nextPage, nextOffset)) {
    const { firstPage, firstOffset } = areas
    if (firstPage > lastPage || (firstPage === lastPage && firstOffset > lastOffset)) break
    if (firstPage !== nextPage || firstOffset !== nextOffset) rounds = 0
    if (areas.locks > 0)
      return stop(refuse(AreaLocked, { area: ioas.areaAtCursor().range, locks: areas.locks }))
    const endPage = areas.lastPage
    const endOffset = areas.lastOffset
    if (
      firstPage < startPage ||
      (firstPage === startPage && firstOffset < startOffset) ||
      endPage > lastPage ||
      (endPage === lastPage && endOffset > lastOffset)
    )
      return stop(refuse(AreaSticksOut, { start, last, area: ioas.areaAtCursor().range }))
    if (areas.pins > 0) {
      areas.flags |= AREA_UNMAPPING
      const { range: area } = ioas.areaAtCursor()
      const { pins } = areas
      const length = (area.last - area.start + 1n) as ByteLength
      for (const access of [...ioas.accesses]) access?.notify(area.start, length)
      rounds += 1
      if (rounds > MAX_ROUNDS) return stop(refuse(AccessesKeepArea, { area, pins, rounds }))
      // Accesses may have changed anything: look at the area again, from the first check on.
      nextPage = firstPage
      nextOffset = firstOffset
      continue
    }
    removedPages += endPage - firstPage
    removedBytes += endOffset - firstOffset + 1
    removeArea(ioas)
    if (endPage === LAST_PAGE && endOffset === PAGE - 1) break
    nextOffset = (endOffset + 1) % PAGE
    nextPage = nextOffset === 0 ? endPage + 1 : endPage
  }
  return { removed: total() }
}

/** Bytes of some pages and bytes, exactly: up to 2^64. */
const byteTotal = (pages: number, bytes: number): ByteLength =>
  (pages < 2 ** 40
    ? BigInt(pages * PAGE + bytes)
    : BigInt(pages) * BigInt(PAGE) + BigInt(bytes)) as ByteLength

/** Takes the area at the store's cursor out of the domains, lets go of its pages and drops it. */
const removeArea = (ioas: Ioas): void => {
  const observed =
    ioas.context.machine.memoryObserver === undefined ? [] : [ioas.areaAtCursor().range]
  if (ioas.domains.length > 0) emptyDomains(ioas, ioas.domains, true)
  dropArea(ioas)
  emitUnmapped(ioas, observed)
}

/** Only when all is done: whoever listens may look at the IOAS. */
const emitUnmapped = (ioas: Ioas, ranges: readonly IovaRange[]): void => {
  for (const { start, last } of ranges) {
    const length = (last - start + 1n) as ByteLength
    ioas.touch(start, length, 'unmap')
    ioas.context.emit({ type: 'area-unmapped', ioas: ioas.id, iova: start, length })
  }
}

/** Drops the area at the store's cursor, which is in no domain and holds nothing. */
export const dropArea = (ioas: Ioas): void => {
  const { source } = ioas.areas
  ioas.areas.remove()
  forgetSource(ioas, source)
}

const forgetSource = (ioas: Ioas, source: Ioas['areas']['source']): void => {
  source.dmaBuf?.hidden(ioas)
  source.areas -= 1
  if (source.areas === 0) source.dispose()
}

const WHOLE: IovaRange = { start: 0n as Iova, last: MAX_U64 as Iova }

/** Unmaps all. Without access pins in one walk, else area by area. */
export const unmapEverything = (ioas: Ioas): Unmapped => {
  if (ioas.accessPins > 0) return unmapAreas(ioas, WHOLE)
  return { removed: removeAllAreas(ioas) }
}

/** Removes every area in one walk; nothing may pin them. Returns the bytes removed. */
export const removeAllAreas = (ioas: Ioas): ByteLength => {
  const { areas } = ioas
  const letGo = ioas.domains.length > 0
  const observed: IovaRange[] | undefined =
    ioas.context.machine.memoryObserver === undefined ? undefined : []
  let pages = 0
  let bytes = 0
  for (let more = areas.seek(0, 0); more; more = areas.next()) {
    const { source } = areas
    if (letGo) emptyDomains(ioas, ioas.domains, true)
    observed?.push(ioas.areaAtCursor().range)
    pages += areas.lastPage - areas.firstPage
    bytes += areas.lastOffset - areas.firstOffset + 1
    forgetSource(ioas, source)
  }
  areas.clear()
  if (observed !== undefined) emitUnmapped(ioas, observed)
  return byteTotal(pages, bytes)
}
