/** The I/O address space: its state and what other objects do with it (01 §6, §7). */
import { type ByteLength, hex, type Iova, MAX_U64, type UserVa } from '../abi/brands.ts'
import type { Access } from './access.ts'
import { AREA_READABLE, AREA_UNMAPPING, AREA_WRITABLE } from './area-cursor.ts'
import { AreaTree } from './area-tree.ts'
import { type CopyRequest, copyAreas } from './ioas-copy.ts'
import { cutAreas } from './ioas-cut.ts'
import { addDomain, removeDomain } from './ioas-domains.ts'
import { printRange } from './ioas-iova.ts'
import { mapMemory } from './ioas-map.ts'
import { removeAllAreas, unmapAreas, unmapEverything } from './ioas-unmap.ts'
import type { PagingDomain } from './iommu-driver.ts'
import { type Caller, type DestroyedBy, KernelObject } from './objects.ts'
import { addressOf, bytesBetween, offsetOf, PAGE, pageOf } from './page-address.ts'
import type { DmaBufBacking, PageSource, ShowsDmaBuf } from './page-source.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'
import {
  type IovaRange,
  intersects,
  mergeRanges,
  type ReservationOwner,
  type ReservationPurpose,
  ReservedRanges,
} from './reserved-ranges.ts'
import { type Touch, TouchedRanges } from './touched-ranges.ts'

export type { IovaRange, ReservationOwner, ReservationPurpose } from './reserved-ranges.ts'

/** An HWPT as the IOAS sees it; the same object joins and leaves. */
export interface DomainLink {
  readonly domain: PagingDomain
}

/** An area, for people, tests and walks over the address space. */
export interface AreaView extends IovaRange {
  readonly length: ByteLength
  readonly readable: boolean
  readonly writable: boolean
  /** Outstanding access pins. */
  readonly accessPins: number
  /** Marked by an unmap whose accesses did not let go (04 §2.7). */
  readonly unmapping: boolean
  /** What it is backed by, and where in that it starts: `memory of process 12 (prog) at 0x7f00`. */
  readonly source: string
  /** Areas with the same key share their memory (IOAS_COPY, cuts). */
  readonly sharedBy: object
  readonly sourceOffset: bigint
}

export interface MapRequest {
  readonly va: UserVa
  readonly length: ByteLength
  /** Absent: the automatic rule chooses (01 §12.3). */
  readonly iova?: Iova | undefined
  readonly readable: boolean
  readonly writable: boolean
}

/** What an unmap removed, also when it stopped half-way. */
export interface Unmapped {
  readonly removed: ByteLength
  readonly refusal?: Refusal
}

export const AlignmentRises = reasonKind<{ wanted: number; area: IovaRange; source: string }>({
  code: 'alignment-rises',
  errno: 'EADDRINUSE',
  cite: '01 §6.2',
  say: ({ wanted, area, source }) =>
    `the IOAS's alignment would become ${hex(wanted)}, but the area ${printRange(area.start, area.last)} of ${source} does not conform to it: its IOVA, its length and its offset in the page must`,
  advice: 'Map in whole pages before anything is attached, or unmap that area.',
})

export const ReservationMeetsArea = reasonKind<{
  reserved: IovaRange
  purpose: ReservationPurpose
  owner: ReservationOwner
  area: IovaRange
  source: string
}>({
  code: 'reservation-meets-area',
  errno: 'EADDRINUSE',
  cite: '01 §6.3',
  say: ({ reserved, purpose, owner, area, source }) =>
    `${owner} needs ${printRange(reserved.start, reserved.last)} (${purpose}) reserved, but the area ${printRange(area.start, area.last)} of ${source} is mapped there`,
  advice: 'Attach first and then map within IOAS_IOVA_RANGES, or unmap that area.',
})

export const ReservationMeetsAllowed = reasonKind<{
  reserved: IovaRange
  owner: ReservationOwner
  allowed: IovaRange
}>({
  code: 'reservation-meets-allowed',
  errno: 'EADDRINUSE',
  cite: '01 §6.4',
  say: ({ reserved, owner, allowed }) =>
    `${owner} needs ${printRange(reserved.start, reserved.last)} reserved, but IOAS_ALLOW_IOVAS promised ${printRange(allowed.start, allowed.last)}`,
  advice: 'Attach before IOAS_ALLOW_IOVAS, and allow only usable ranges.',
})

export const LargePagesInUse = reasonKind<{ ioas: number; domains: number; areas: number }>({
  code: 'large-pages-in-use',
  errno: 'EINVAL',
  cite: '01 §8.2 step 3.2',
  say: ({ ioas, domains, areas }) =>
    `large pages of IOAS ${ioas} cannot be switched off while ${areas} areas are mapped in ${domains} page tables`,
  advice: 'Set the option before attaching devices or before mapping.',
})

export class Ioas extends KernelObject implements ShowsDmaBuf {
  override readonly type = 'ioas'
  /** Current IOVA alignment, a power of two from 1 to 4096 (01 §6.2). */
  alignment = 1
  /** The large-pages option (01 §8.2); change with `setLargePages`. */
  largePages = true
  readonly areas = new AreaTree()
  readonly reserved = new ReservedRanges()
  #allowed: readonly IovaRange[] = []
  readonly #domains: DomainLink[] = []
  /** By slot, lowest free first (04 §2.3). */
  readonly accesses: (Access | undefined)[] = []
  /** Outstanding pins by accesses, over all areas. */
  accessPins = 0

  /** What IOAS_ALLOW_IOVAS set, joined where adjacent; empty is no restriction (01 §6.4). */
  get allowed(): readonly IovaRange[] {
    return this.#allowed
  }

  /** Linked domains in the order they joined. */
  get domains(): readonly DomainLink[] {
    return this.#domains
  }

  // --- mapping

  /** 01 §12.2: the core map operation. Returns the IOVA used. */
  map(caller: Caller, request: MapRequest): Result<Iova> {
    return mapMemory(this, caller, request)
  }

  /** 01 §14 from step 7 on, into this IOAS. Returns the IOVA used. */
  copy(caller: Caller, request: CopyRequest): Result<Iova> {
    return copyAreas(this, caller, request)
  }

  /** 01 §15.1: the core unmap; success with 0 bytes where nothing is mapped. */
  unmap(range: IovaRange): Unmapped {
    return unmapAreas(this, range)
  }

  unmapAll(): Unmapped {
    return unmapEverything(this)
  }

  /** 01 §20.2: area boundaries after each of these IOVAs, in this order. */
  cut(points: readonly Iova[]): Result<void> {
    return cutAreas(this, points)
  }

  /** Areas that intersect the range (default: all), ascending, until `visit` returns false. */
  forEachArea(visit: (area: AreaView) => unknown, range?: IovaRange): void {
    const { areas } = this
    const last = range?.last ?? MAX_U64
    for (let at: bigint = range?.start ?? 0n; at <= last; ) {
      if (!areas.seek(pageOf(at), offsetOf(at))) return
      const area = this.viewAtCursor()
      if (area.start > last || visit(area) === false) return
      at = area.last + 1n
    }
  }

  /** Which call mapped or unmapped what, while somebody watches. */
  touched: TouchedRanges | undefined

  /** Notes that the present call mapped or unmapped a range. */
  touch(start: Iova, length: ByteLength, by: Touch['by']): void {
    this.touched ??= new TouchedRanges()
    const { currentCall: call } = this.context.machine
    this.touched.note(start, start + length, { call, by })
  }

  /** The area that contains the IOVA. */
  areaAt(iova: Iova): AreaView | undefined {
    if (!this.areas.seek(pageOf(iova), offsetOf(iova))) return undefined
    const area = this.viewAtCursor()
    return area.start <= iova ? area : undefined
  }

  /** The nearest areas on both sides of an IOVA that no area contains. */
  neighboursOf(iova: Iova): { readonly below?: AreaView; readonly above?: AreaView } {
    const { areas } = this
    const above = areas.seek(pageOf(iova), offsetOf(iova)) ? this.viewAtCursor() : undefined
    const below = areas.previous() ? this.viewAtCursor() : undefined
    return { ...(below === undefined ? {} : { below }), ...(above === undefined ? {} : { above }) }
  }

  // --- domains, accesses, reservations

  /** 01 §7.1: reserves around the aperture, maps every area, links. On refusal nothing has changed. */
  addDomain(caller: Caller, link: DomainLink): Result<void> {
    return addDomain(this, caller, link, this.#domains)
  }

  /** 01 §7.3: unmaps everything of it and drops its reservations. Cannot fail. */
  removeDomain(link: DomainLink): void {
    removeDomain(this, link, this.#domains)
  }

  /** 01 §6.3: EADDRINUSE where the range meets an area or an allowed range. */
  reserve(
    owner: ReservationOwner,
    range: IovaRange,
    purpose: ReservationPurpose = 'a reserved region',
  ): Result<void> {
    const { areas } = this
    if (areas.seek(pageOf(range.start), offsetOf(range.start))) {
      const { range: area, source } = this.areaAtCursor()
      if (area.start <= range.last)
        return refuse(ReservationMeetsArea, {
          reserved: range,
          purpose,
          owner,
          area,
          source: source.toString(),
        })
    }
    const allowed = this.allowed.find((one) => intersects(one, range))
    if (allowed !== undefined)
      return refuse(ReservationMeetsAllowed, { reserved: range, owner, allowed })
    this.reserved.add(owner, range, purpose)
    this.#emitRules()
  }

  /** Drops all ranges that this owner reserved. */
  unreserve(owner: ReservationOwner): void {
    if (this.reserved.drop(owner)) this.#emitRules()
  }

  /** 01 §11 step 5: replaces the allowed ranges. */
  allow(ranges: readonly IovaRange[]): void {
    this.#allowed = mergeRanges(ranges)
    this.#emitRules()
  }

  /** 01 §10: the gaps between reserved ranges, ascending. */
  usableRanges(): IovaRange[] {
    return this.reserved.usable()
  }

  // --- alignment and large pages

  /** Refuses if an area does not conform to an alignment that would be higher than now (01 §6.2). */
  checkAlignment(wanted: number): Result<void> {
    if (wanted <= this.alignment || this.areas.conforms(Math.log2(wanted))) return
    let culprit: AreaView | undefined
    this.forEachArea((area) => {
      const bits = area.start | (area.last + 1n) | area.sourceOffset
      if (culprit === undefined && bits % BigInt(wanted) !== 0n) culprit = area
    })
    if (culprit === undefined) throw new Error('no area breaks the alignment after all')
    return refuse(AlignmentRises, { wanted, area: culprit, source: culprit.source })
  }

  /** The maximum of 01 §6.2, recomputed; call after anything that has a part in it changed. */
  updateAlignment(): void {
    let alignment = this.largePages ? 1 : PAGE
    for (const { domain } of this.#domains) alignment = Math.max(alignment, smallestPage(domain))
    for (const access of this.accesses)
      if (access !== undefined) alignment = Math.max(alignment, access.alignment)
    if (alignment === this.alignment) return
    this.alignment = alignment
    this.#emitRules()
  }

  /** 01 §8.2 SET, from step 3 on. */
  setLargePages(enabled: boolean): Result<void> {
    if (!enabled) {
      if (!this.largePages) return
      const domains = this.#domains.length
      if (domains > 0 && this.areas.size > 0)
        return refuse(LargePagesInUse, { ioas: this.id, domains, areas: this.areas.size })
      const refusal = this.checkAlignment(PAGE)
      if (refusal instanceof Refusal) return refusal
    }
    if (this.largePages === enabled) return
    this.largePages = enabled
    this.#emitRules()
    this.updateAlignment()
  }

  #emitRules(): void {
    const { alignment, allowed, context, largePages } = this
    if (context.machine.observer === undefined) return
    context.emit({
      type: 'ioas-rules',
      ioas: this.id,
      alignment,
      largePages,
      usable: this.usableRanges(),
      allowed,
    })
  }

  // --- for the files of the IOAS

  /** Range and source of the area at the store's cursor. */
  areaAtCursor(): { range: IovaRange; source: PageSource } {
    const { areas } = this
    return {
      range: {
        start: addressOf(areas.firstPage, areas.firstOffset) as Iova,
        last: addressOf(areas.lastPage, areas.lastOffset) as Iova,
      },
      source: areas.source,
    }
  }

  viewAtCursor(): AreaView {
    const { areas } = this
    const { range, source } = this.areaAtCursor()
    return {
      ...range,
      length: bytesBetween(
        areas.firstPage,
        areas.firstOffset,
        areas.lastPage,
        areas.lastOffset,
      ) as ByteLength,
      readable: (areas.flags & AREA_READABLE) !== 0,
      writable: (areas.flags & AREA_WRITABLE) !== 0,
      accessPins: areas.pins,
      unmapping: (areas.flags & AREA_UNMAPPING) !== 0,
      source: source.toString(),
      sharedBy: source,
      sourceOffset: addressOf(areas.sourcePage, areas.sourceOffset),
    }
  }

  /** First slot of the area at the cursor, and the one behind its last. */
  slotsAtCursor(): readonly [start: number, end: number] {
    const { areas } = this
    const start = areas.sourcePage
    const bytes = areas.sourceOffset + areas.lastOffset - areas.firstOffset
    return [start, start + areas.lastPage - areas.firstPage + Math.floor(bytes / PAGE) + 1]
  }

  dmaBufRevoked(backing: DmaBufBacking): void {
    const { areas } = this
    for (let more = areas.seek(0, 0); more; more = areas.next()) {
      if (areas.source.backing !== backing) continue
      const { start, last } = this.areaAtCursor().range
      for (const { domain } of this.#domains) domain.unmap(start, (last - start + 1n) as ByteLength)
    }
    this.context.machine.dma.unmapped()
  }

  override teardown(_by: DestroyedBy): void {
    removeAllAreas(this)
    if (this.context.compatIoas === this) this.context.forgetCompatIoas(this)
  }
}

/** A domain's smallest page: the alignment it imposes. */
export const smallestPage = (domain: PagingDomain): number => {
  const lowest = domain.pageSizes & -domain.pageSizes
  return Number(lowest)
}
