/** The I/O address space: its state and what other objects do with it (01 §6, §7). */
import type { ByteLength, Iova, UserVa } from '../abi/brands.ts'
import type { PagingDomain } from './iommu-driver.ts'
import { type Caller, type DestroyedBy, KernelObject } from './objects.ts'
import type { Refusal, Result } from './reason.ts'

/** Inclusive, as everywhere in this interface. */
export interface IovaRange {
  readonly start: Iova
  readonly last: Iova
}

/** An HWPT as the IOAS sees it; the same object joins and leaves. */
export interface DomainLink {
  readonly domain: PagingDomain
}

/** Who reserves IOVAs: a device or a domain. `toString` names it in refusals. */
export type ReservationOwner = object

/** An area, for people, tests and walks over the address space. */
export interface AreaView extends IovaRange {
  readonly length: ByteLength
  readonly readable: boolean
  readonly writable: boolean
  /** Outstanding access pins. */
  readonly accessPins: number
  /** Marked by an unmap whose accesses did not let go (04 §2.7). */
  readonly unmapping: boolean
  /** What it is backed by: `memory of process 123 at 0x7f00`. */
  readonly source: string
}

export interface MapRequest {
  readonly va: UserVa
  readonly length: ByteLength
  /** Absent: the automatic rule chooses (01 §12.3). */
  readonly iova?: Iova
  readonly readable: boolean
  readonly writable: boolean
}

/** What an unmap removed, also when it stopped half-way. */
export interface Unmapped {
  readonly removed: ByteLength
  readonly refusal?: Refusal
}

export class Ioas extends KernelObject {
  override readonly type = 'ioas'
  /** Current IOVA alignment, a power of two from 1 to 4096 (01 §6.2). */
  alignment = 1
  /** The large-pages option (01 §8.2); change with `setLargePages`. */
  largePages = true
  /** Linked domains in the order they joined. */
  readonly domains: readonly DomainLink[] = []

  /** 01 §12.2: the core map operation. Returns the IOVA used. */
  map(_caller: Caller, _request: MapRequest): Result<Iova> {
    throw new Error('not built yet')
  }

  /** 01 §15.1: the core unmap; success with 0 bytes where nothing is mapped. */
  unmap(_range: IovaRange): Unmapped {
    throw new Error('not built yet')
  }

  unmapAll(): Unmapped {
    throw new Error('not built yet')
  }

  /** 01 §20.2: area boundaries after each of these IOVAs, in this order. */
  cut(_points: readonly Iova[]): Result<void> {
    throw new Error('not built yet')
  }

  /** 01 §8.2 SET. */
  setLargePages(_enabled: boolean): Result<void> {
    throw new Error('not built yet')
  }

  /** 01 §7.1: reserves around the aperture, maps every area, links. On refusal nothing has changed. */
  addDomain(_caller: Caller, _link: DomainLink): Result<void> {
    throw new Error('not built yet')
  }

  /** 01 §7.3: unmaps everything of it and drops its reservations. Cannot fail. */
  removeDomain(_link: DomainLink): void {
    throw new Error('not built yet')
  }

  /** 01 §6.3: EADDRINUSE where the range meets an area or an allowed range. */
  reserve(_owner: ReservationOwner, _range: IovaRange): Result<void> {
    throw new Error('not built yet')
  }

  /** Drops all ranges that this owner reserved. */
  unreserve(_owner: ReservationOwner): void {
    throw new Error('not built yet')
  }

  /** 01 §10: the gaps between reserved ranges, ascending. */
  usableRanges(): IovaRange[] {
    throw new Error('not built yet')
  }

  /** Areas that intersect the range (default: all), ascending, until `visit` returns false. */
  forEachArea(_visit: (area: AreaView) => unknown, _range?: IovaRange): void {
    throw new Error('not built yet')
  }

  override teardown(_by: DestroyedBy): void {
    throw new Error('not built yet')
  }
}
