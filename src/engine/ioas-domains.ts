/** Domains joining and leaving an IOAS (01 §7.1, §7.3). */
import { type Iova, MAX_U64 } from '../abi/brands.ts'
import { type DomainLink, type Ioas, smallestPage } from './ioas.ts'
import { emptyDomains, fillDomains } from './ioas-fill.ts'
import type { Caller } from './objects.ts'
import { offsetOf, PAGE, pageOf } from './page-address.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'
import type { IovaRange } from './reserved-ranges.ts'

export const SmallestPageTooLarge = reasonKind<{ smallest: number }>({
  code: 'smallest-page-too-large',
  errno: 'EINVAL',
  cite: '01 §7.1 step 1',
  say: ({ smallest }) =>
    `the page table's smallest page has ${smallest} bytes, more than a CPU page`,
  advice:
    'Such hardware cannot serve this kernel: use a platform whose IOMMU has pages of 4096 bytes.',
})

export const addDomain = (
  ioas: Ioas,
  caller: Caller,
  link: DomainLink,
  domains: DomainLink[],
): Result<void> => {
  const { domain } = link
  const alignment = Math.max(smallestPage(domain), ioas.alignment)
  if (alignment > PAGE) return refuse(SmallestPageTooLarge, { smallest: smallestPage(domain) })
  let refusal = ioas.checkAlignment(alignment)
  if (refusal instanceof Refusal) return refusal
  for (const range of outsideAperture(domain.apertureStart, domain.apertureEnd)) {
    refusal = ioas.reserve(link, range, 'out of reach of the page table')
    if (refusal instanceof Refusal) {
      ioas.unreserve(link)
      return refusal
    }
  }
  const { areas } = ioas
  const hold = domains.length === 0
  for (let more = areas.seek(0, 0); more; more = areas.next()) {
    refusal = fillDomains(ioas, caller, [link], hold)
    if (!(refusal instanceof Refusal)) continue
    const { start } = ioas.areaAtCursor().range
    empty(ioas, link, hold, start)
    ioas.unreserve(link)
    return refusal
  }
  domains.push(link)
  ioas.updateAlignment()
}

export const removeDomain = (ioas: Ioas, link: DomainLink, domains: DomainLink[]): void => {
  const index = domains.indexOf(link)
  if (index < 0) throw new Error(`${link} is not linked to ${ioas}`)
  domains.splice(index, 1)
  empty(ioas, link, domains.length === 0, undefined)
  ioas.unreserve(link)
  ioas.updateAlignment()
}

/** Takes a domain's areas out again: all, or those before an IOVA. */
const empty = (ioas: Ioas, link: DomainLink, letGo: boolean, before: Iova | undefined): void => {
  const { areas } = ioas
  const endPage = before === undefined ? Number.POSITIVE_INFINITY : pageOf(before)
  const endOffset = before === undefined ? 0 : offsetOf(before)
  for (let more = areas.seek(0, 0); more; more = areas.next()) {
    const { firstPage, firstOffset } = areas
    if (firstPage > endPage || (firstPage === endPage && firstOffset >= endOffset)) return
    emptyDomains(ioas, [link], letGo)
  }
}

/** What an aperture leaves out, below and above. */
const outsideAperture = (start: bigint, end: bigint): IovaRange[] => {
  const ranges: IovaRange[] = []
  if (start > 0n) ranges.push({ start: 0n as Iova, last: (start - 1n) as Iova })
  if (end < MAX_U64) ranges.push({ start: (end + 1n) as Iova, last: MAX_U64 as Iova })
  return ranges
}
