/** Filling page tables from areas and emptying them again (01 §7.1 step 4, §17.5; 03 §14.4). */
import type { ByteLength, Iova } from '../abi/brands.ts'
import { AREA_READABLE, AREA_WRITABLE } from './area-cursor.ts'
import { physAddress } from './frames.ts'
import type { DomainLink, Ioas } from './ioas.ts'
import type { PagingDomain, Protection } from './iommu-driver.ts'
import type { Caller } from './objects.ts'
import { addressOf, PAGE } from './page-address.ts'
import type { PageRun } from './ports.ts'
import { Refusal, type Result } from './reason.ts'

/**
 * Pins the area at the store's cursor, maps it in every domain of its IOAS, then charges it
 * (01 §12.2 step 7). On refusal the area is in no domain and holds nothing.
 */
export const fillArea = (ioas: Ioas, caller: Caller): Result<void> =>
  fillDomains(ioas, caller, ioas.domains, true)

/**
 * The same for some domains only; `hold` says that the IOAS had no domain before, so that the area
 * begins to hold its pages now.
 */
export const fillDomains = (
  ioas: Ioas,
  caller: Caller,
  links: readonly DomainLink[],
  hold: boolean,
): Result<void> => {
  const { areas, context } = ioas
  const { machine } = context
  const { source } = areas
  const [start, end] = ioas.slotsAtCursor()
  let fresh = 0
  if (source.dmaBuf?.revoked) return
  if (hold && source.dmaBuf === undefined) {
    const pinned = source.hold(caller, machine.frames, start, end)
    if (pinned instanceof Refusal) return pinned
    fresh = pinned
  }
  let mapped = 0
  let refusal: Refusal | undefined
  for (const { domain } of links) {
    refusal = mapInto(ioas, domain)
    if (refusal !== undefined) break
    mapped += 1
  }
  refusal ??= source.charge(caller, machine, fresh)
  if (refusal !== undefined) {
    for (const { domain } of links.slice(0, mapped)) unmapFrom(ioas, domain)
    machine.dma.unmapped()
    if (hold && source.dmaBuf === undefined) source.release(machine, start, end, false)
    return refusal
  }
}

/** Removes the area at the cursor from the domains; `letGo`: it stops holding its pages. */
export const emptyDomains = (ioas: Ioas, links: readonly DomainLink[], letGo: boolean): void => {
  const { source } = ioas.areas
  if (source.dmaBuf?.revoked) return
  for (const { domain } of links) unmapFrom(ioas, domain)
  ioas.context.machine.dma.unmapped()
  if (!letGo || source.dmaBuf !== undefined) return
  const [start, end] = ioas.slotsAtCursor()
  source.release(ioas.context.machine, start, end)
}

const unmapFrom = (ioas: Ioas, domain: PagingDomain): void => {
  const { start, last } = ioas.areaAtCursor().range
  domain.unmap(start, (last - start + 1n) as ByteLength)
}

/** With large pages off no leaf is above a CPU page (01 §20.1). */
const SMALL_PAGE = BigInt(PAGE) as ByteLength

/** One `map` for each physically consecutive run. All or nothing. */
const mapInto = (ioas: Ioas, domain: PagingDomain): Refusal | undefined => {
  const { areas, largePages } = ioas
  const { frames } = ioas.context.machine
  const { source, flags, sourcePage, sourceOffset, firstPage, firstOffset } = areas
  const { lastPage, lastOffset } = areas
  const protection: Protection = {
    read: (flags & AREA_READABLE) !== 0,
    write: (flags & AREA_WRITABLE) !== 0,
    mmio: source.dmaBuf !== undefined,
  }
  const [start, end] = ioas.slotsAtCursor()
  /** IOVA of slot s is page s + pageShift, byte byteShift (which may be negative or above a page). */
  const pageShift = firstPage - sourcePage
  const byteShift = firstOffset - sourceOffset
  const largestPage = largePages ? undefined : SMALL_PAGE
  let refusal: Refusal | undefined
  let mappedTo = addressOf(firstPage, firstOffset)
  const mapRun = (slot: number, frame: number, count: number): boolean => {
    // The area's first and last bytes may be within a page.
    const skip = slot === start ? sourceOffset : 0
    const iovaBytes = byteShift + skip
    const carry = Math.floor(iovaBytes / PAGE)
    const iovaPage = slot + pageShift + carry
    const iovaOffset = iovaBytes - carry * PAGE
    const toEnd = (lastPage - iovaPage) * PAGE + lastOffset - iovaOffset + 1
    const length = BigInt(Math.min(count * PAGE - skip, toEnd)) as ByteLength
    const iova = addressOf(iovaPage, iovaOffset) as Iova
    const result = domain.map(iova, physAddress(frame, skip), length, protection, largestPage)
    if (result instanceof Refusal) {
      refusal = result
      return false
    }
    mappedTo = iova + length
    return true
  }
  /** Whole pages, evenly spaced in physical memory; what the area cuts at its ends is mapped alone. */
  const mapSpaced = (slot: number, frame: number, count: number, spacing: number): boolean => {
    const one = (n: number): boolean => mapRun(slot + n, frame + n * spacing, 1)
    const from = slot === start && sourceOffset > 0 ? 1 : 0
    const endsInPage = (sourceOffset + lastOffset - firstOffset + 1) % PAGE !== 0
    const to = slot + count === end && endsInPage ? count - 1 : count
    if (domain.mapSpaced === undefined || to - from < 2) {
      for (let n = 0; n < count; n += 1) if (!one(n)) return false
      return true
    }
    if (from > 0 && !one(0)) return false
    const iova = mappedTo as Iova
    const bytes = BigInt((to - from) * PAGE)
    const first = physAddress(frame + from * spacing, 0)
    const apart = BigInt(spacing * PAGE) as ByteLength
    const result = domain.mapSpaced(iova, first, apart, to - from, protection)
    if (result instanceof Refusal) {
      refusal = result
      return false
    }
    mappedTo = iova + bytes
    return to === count || one(to)
  }
  const mapPages = (run: PageRun, slot: number): boolean =>
    frames.forEachEven(run, (frame, page, count, spacing) =>
      spacing === 1
        ? mapRun(slot + page - run.page, frame, count)
        : mapSpaced(slot + page - run.page, frame, count, spacing),
    )
  if (source.dmaBuf !== undefined) {
    const { pages } = source.dmaBuf.attachment
    const first = pages.page + source.firstPage + start
    mapPages({ object: pages.object, page: first, count: end - start }, start)
  } else {
    for (const { slot, run } of source.recorded(start, end)) if (!mapPages(run, slot)) break
  }
  if (refusal === undefined) return
  const from = addressOf(firstPage, firstOffset)
  if (mappedTo > from) {
    domain.unmap(from as Iova, (mappedTo - from) as ByteLength)
    ioas.context.machine.dma.unmapped()
  }
  return refusal
}
