/**
 * Everything that the event stream says of a run at one moment. Nothing in it is ever changed: the next
 * moment is a new value that shares what stayed the same (ordered-map.ts).
 */
import type { ByteLength, Iova, ObjectId, Pasid } from '../../abi/brands.ts'
import { MAX_U64 } from '../../abi/brands.ts'
import type { CallNumber, ContextNumber, ProcessMemory } from '../../engine/events.ts'
import { OrderedMap } from './ordered-map.ts'
import { noRanges, type Range, type RangeSet } from './range-set.ts'

export interface Moment {
  readonly contexts: OrderedMap<ContextNumber, ContextState>
  /** Areas that have been mapped so far, whatever became of them; numbers them. */
  readonly mappings: number
  /** By address space: what its process gave up while something was mapped for DMA. */
  readonly givenUp: OrderedMap<number, OrderedMap<bigint, GivenUp>>
}

/** Addresses of a process whose memory is not what it was; disjoint. */
export interface GivenUp extends Range {
  readonly call: CallNumber
  /** `munmap`, `exit`, ... */
  readonly by: string
}

export interface ContextState {
  readonly number: ContextNumber
  readonly node: string
  readonly pid: number
  readonly opened: CallNumber
  readonly objects: OrderedMap<number, ObjectState>
  readonly ioases: OrderedMap<number, IoasState>
  /** The IOAS that the VFIO container calls work on. */
  readonly compatIoas: ObjectId | undefined
  /** The call that last set or cleared it. */
  readonly compatCall: CallNumber
}

export interface ObjectState {
  readonly id: ObjectId
  readonly type: string
  readonly created: CallNumber
  /** What it counts on as a user since it was made (01 §5.3). */
  readonly holds: readonly ObjectId[]
  /** What it was attached to later: an HWPT, for an access the IOAS. */
  readonly attachments: readonly Attachment[]
  /** Of the device behind a device or an access. */
  readonly name?: string
  readonly group?: number
  /** HWPT: dirty tracking is on. */
  readonly tracking?: boolean
}

export interface Attachment {
  readonly to: ObjectId
  readonly pasid?: Pasid | undefined
  readonly call: CallNumber
  readonly throughContainer: boolean
}

export interface AreaState extends Range {
  readonly source: string
  readonly readable: boolean
  readonly writable: boolean
  /** The call that mapped it. */
  readonly call: CallNumber
  /** Where its first byte is, for memory of a process. */
  readonly memory?: ProcessMemory
  /** Areas of one context with the same number share their memory (IOAS_COPY, cuts). */
  readonly shared: number
  /** Where its memory was copied from. */
  readonly copyOf?: { readonly ioas: ObjectId; readonly iova: Iova }
}

export interface PinState extends Range {
  readonly access: ObjectId
  readonly call: CallNumber
}

/** DMA that began at one address. */
export interface HeatState extends Range {
  readonly reads: number
  readonly writes: number
  readonly faults: number
  readonly device: string
  readonly call: CallNumber
}

/** The last look at dirty pages. */
export interface DirtyRead extends Range {
  readonly hwpt: ObjectId
  readonly dirty: ByteLength
  readonly cleared: boolean
  readonly call: CallNumber
}

export interface IoasState {
  readonly id: ObjectId
  readonly areas: OrderedMap<bigint, AreaState>
  readonly alignment: number
  readonly largePages: boolean
  /** What nobody reserves; ascending. */
  readonly usable: readonly Range[]
  /** What IOAS_ALLOW_IOVAS set; none is no restriction. */
  readonly allowed: readonly Range[]
  /** By first address: outstanding pins of accesses. */
  readonly pins: OrderedMap<bigint, readonly PinState[]>
  readonly heat: OrderedMap<bigint, HeatState>
  /** What DMA wrote while dirty tracking was on, and nobody has read and cleared since. */
  readonly dirty: RangeSet
  readonly lastDirtyRead: DirtyRead | undefined
}

export const EVERYWHERE: Range = { start: 0n, last: MAX_U64 }

export const nothingYet: Moment = {
  contexts: OrderedMap.empty(),
  mappings: 0,
  givenUp: OrderedMap.empty(),
}

const bytes = ({ start, last }: Range): number => Number(last - start) + 1

export const newIoas = (id: ObjectId): IoasState => ({
  id,
  areas: OrderedMap.empty<bigint, AreaState>(bytes),
  alignment: 1,
  largePages: true,
  usable: [EVERYWHERE],
  allowed: [],
  pins: OrderedMap.empty(),
  heat: OrderedMap.empty<bigint, HeatState>(({ reads, writes, faults }) => reads + writes + faults),
  dirty: noRanges,
  lastDirtyRead: undefined,
})

export const newContext = (
  number: ContextNumber,
  { node, pid, opened }: Pick<ContextState, 'node' | 'pid' | 'opened'>,
): ContextState => ({
  number,
  node,
  pid,
  opened,
  objects: OrderedMap.empty(),
  ioases: OrderedMap.empty(),
  compatIoas: undefined,
  compatCall: 0,
})
