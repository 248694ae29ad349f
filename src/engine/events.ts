/** The event stream's vocabulary. A new kind of event is added here and nowhere else. */
import type { ByteLength, Iova, ObjectId, Pasid, UserVa } from '../abi/brands.ts'
import type { Refusal } from './reason.ts'

/** Number of a context within a run, from 1, in order of open. */
export type ContextNumber = number
/** Number of a call within a run, from 1, in order of arrival; 0 for what no call caused. */
export type CallNumber = number

/** Where in a program a call was made, as far as the host can tell. */
export interface CodePlace {
  /** File that the code was loaded from. */
  readonly module: string
  /** Function, where the module names it. */
  readonly symbol?: string
  /** Bytes from the start of the function, else of the file. */
  readonly offset: number
}

/** Memory of a process, by its addresses. */
export interface ProcessMemory {
  readonly pid: number
  /** Which address space it was at that time: a process that calls exec gets another. */
  readonly space: number
  readonly address: UserVa
}

/** A mapping of an IOAS, as events tell of it. */
export interface MappedRange {
  readonly iova: Iova
  readonly length: ByteLength
}

interface InContext {
  readonly context: ContextNumber
  /** The call that caused it. */
  readonly call: CallNumber
}

export type EngineEvent =
  | {
      readonly type: 'call'
      readonly call: CallNumber
      readonly context: ContextNumber | undefined
      readonly pid: number
      readonly tid: number
      readonly operation: 'open' | 'ioctl' | 'read' | 'write' | 'mmap' | 'poll'
      /** What it was made on, as readlink shows it: `/dev/iommu`; for `open` the path asked for. */
      readonly file?: string
      /** ioctl request number. */
      readonly request?: number
      /** ioctl: the argument; read and write: the count; mmap: the length. */
      readonly argument?: bigint
      /** pread, pwrite, mmap. */
      readonly offset?: bigint
      /** The bytes of the known struct as read from the caller and as written back. */
      readonly input?: Uint8Array
      readonly output?: Uint8Array
      readonly result: number | Refusal
      /** The innermost function of the program itself, not of a library: only where the host was asked to look. */
      readonly place?: CodePlace
    }
  | (InContext & { readonly type: 'context-opened'; readonly node: string; readonly pid: number })
  | (InContext & { readonly type: 'context-released' })
  | (InContext & {
      readonly type: 'object-created'
      readonly id: ObjectId
      readonly object: string
      /** Objects on whose users it counts from now on until it is destroyed (01 §5.3). */
      readonly holds: readonly ObjectId[]
    })
  | (InContext & {
      readonly type: 'object-destroyed'
      readonly id: ObjectId
      readonly object: string
      readonly by: 'destroy' | 'driver' | 'release' | 'last-detach' | 'undo'
    })
  | (InContext & {
      readonly type: 'area-mapped'
      readonly ioas: ObjectId
      readonly iova: Iova
      readonly length: ByteLength
      readonly source: string
      /** Where its first byte is, for memory of a process; absent for files and dma-bufs. */
      readonly memory?: ProcessMemory
      /** The caller chose the IOVA. */
      readonly fixed: boolean
      readonly readable: boolean
      readonly writable: boolean
      /** The area's memory is shared with the source of this copy. */
      readonly copyOf?: { readonly ioas: ObjectId; readonly iova: Iova }
    })
  | (InContext & {
      readonly type: 'area-unmapped'
      readonly ioas: ObjectId
      readonly iova: Iova
      readonly length: ByteLength
    })
  | (InContext & {
      readonly type: 'area-split'
      readonly ioas: ObjectId
      readonly after: Iova
    })
  /** What decides where an IOAS can be mapped, after some of it changed (01 §6.2 to §6.4, §8.2). */
  | (InContext & {
      readonly type: 'ioas-rules'
      readonly ioas: ObjectId
      readonly alignment: number
      readonly largePages: boolean
      /** What nobody reserves; inclusive, ascending. */
      readonly usable: readonly { readonly start: Iova; readonly last: Iova }[]
      /** What IOAS_ALLOW_IOVAS set; empty is no restriction. */
      readonly allowed: readonly { readonly start: Iova; readonly last: Iova }[]
    })
  /** Pages were charged to a process that RLIMIT_MEMLOCK binds (01 §17.3, §17.4). Counted in pages. */
  | {
      readonly type: 'memory-charged'
      readonly call: CallNumber
      readonly pid: number
      /** `user`: counted over all processes of the user; `process`: over its address space. */
      readonly mode: 'user' | 'process'
      readonly pages: number
      /** The sum, with these. */
      readonly charged: number
      readonly limit: number
    }
  /**
   * A process is about to give up what it has at [start, end), while it or another has mapped memory for
   * DMA: from then on devices use pages that the process does not see any more (01 §18).
   */
  | {
      readonly type: 'memory-replaced'
      readonly call: CallNumber
      readonly pid: number
      readonly tid: number
      readonly space: number
      readonly start: UserVa
      readonly end: UserVa
      readonly by: 'munmap' | 'mremap' | 'madvise' | 'mmap' | 'exit' | 'execve'
      readonly place?: CodePlace
    }
  /** Another process owns all file mappings of the context now (01 §16). */
  | (InContext & { readonly type: 'process-changed'; readonly pid: number })
  | (InContext & {
      readonly type: 'access-attached' | 'access-detached'
      readonly access: ObjectId
      /** Whose it is: `emulated device mdev0`. */
      readonly name: string
      readonly ioas: ObjectId
    })
  | (InContext & {
      readonly type: 'access-pinned' | 'access-unpinned'
      readonly access: ObjectId
      readonly ioas: ObjectId
      readonly iova: Iova
      readonly length: ByteLength
    })
  | (InContext & {
      readonly type: 'compat-ioas'
      readonly ioas: ObjectId | undefined
      readonly previous: ObjectId | undefined
      readonly by: 'auto' | 'set' | 'clear' | 'destroy'
    })
  | (InContext & {
      readonly type: 'device-bound'
      readonly device: string
      readonly object: ObjectId
      readonly group: number
    })
  | (InContext & {
      readonly type: 'device-unbound'
      readonly device: string
      readonly object: ObjectId
    })
  | (InContext & {
      readonly type: 'attached'
      readonly device: string
      readonly object: ObjectId
      readonly ioas: ObjectId
      readonly hwpt?: ObjectId | undefined
      readonly pasid?: Pasid | undefined
      /** The device of the group through which a replace moved this one (03 §5.7). */
      readonly through?: ObjectId | undefined
      /** The HWPT it was on before, for a replace. */
      readonly replaced?: ObjectId | undefined
      /** True when the IOAS was chosen as the compat IOAS of a container (02 §2.5). */
      readonly throughContainer: boolean
    })
  | (InContext & {
      readonly type: 'detached'
      readonly device: string
      readonly object: ObjectId
      readonly ioas: ObjectId
      readonly hwpt?: ObjectId | undefined
      readonly pasid?: Pasid | undefined
    })
  /** 03 §5.7: a failed replace within one IOAS took away regions that the devices still need. */
  | (InContext & {
      readonly type: 'reservations-lost'
      readonly devices: readonly string[]
      readonly ioas: ObjectId
    })
  | (InContext & {
      readonly type: 'dirty-tracking'
      readonly hwpt: ObjectId
      readonly enabled: boolean
    })
  | (InContext & {
      readonly type: 'dirty-read'
      readonly hwpt: ObjectId
      readonly iova: Iova
      readonly length: ByteLength
      readonly dirty: ByteLength
      readonly cleared: boolean
      /** Where the walk met unmapped space or an error, if it did: nothing from there on was looked at. */
      readonly stoppedAt?: Iova | undefined
      /** Dirty spans that did not reach the caller because its bitmap could not be written. */
      readonly lostSpans: number
    })
  /** A device read or wrote memory. */
  | (InContext & {
      readonly type: 'dma'
      readonly device: string
      readonly pasid?: Pasid | undefined
      readonly ioas?: ObjectId | undefined
      readonly iova: Iova
      readonly length: ByteLength
      readonly write: boolean
    })
  /**
   * A device's access was stopped: the bytes before `iova` went through. `call` is the call during which
   * that happened, if it was one; the rest tells where the access would have been right.
   */
  | (InContext & {
      readonly type: 'dma-fault'
      readonly device: string
      readonly pasid?: Pasid | undefined
      /** What the device translates through; absent where it is attached to nothing. */
      readonly ioas?: ObjectId | undefined
      readonly iova: Iova
      /** Bytes that did not go through. */
      readonly length?: ByteLength
      readonly write: boolean
      readonly fault: 'blocked' | 'not-mapped' | 'no-permission' | 'out-of-reach' | 'no-memory'
      /** The mapping that contains `iova`, where there is one that does not permit the access. */
      readonly within?: MappedRange
      /** The nearest mappings on both sides, where none contains it. */
      readonly below?: MappedRange
      readonly above?: MappedRange
      /** The last call that mapped or unmapped `iova`, as far as it is remembered. */
      readonly touched?: { readonly call: CallNumber; readonly by: 'map' | 'unmap' }
    })
  /** The model of a device made a mistake of its own; the device answers no more until it is reset. */
  | {
      readonly type: 'device-failed'
      readonly call: CallNumber
      readonly device: string
      /** Which model it is, as it was asked for. */
      readonly model: string
      /** The function of the model that threw. */
      readonly where: string
      /** What it threw, with the stack where there is one. */
      readonly message: string
    }
  | (InContext & {
      readonly type: 'page-fault'
      readonly device: string
      readonly hwpt?: ObjectId | undefined
      readonly queue?: ObjectId | undefined
      readonly pasid?: Pasid | undefined
      readonly grpid: number
      /** IOMMU_PGFAULT_PERM_* bits. */
      readonly perm: number
      readonly address: bigint
      /** Answered INVALID at once, waiting for the last of its group, or in the queue with its group. */
      readonly outcome: 'refused' | 'kept' | 'queued'
    })
  | (InContext & {
      readonly type: 'page-response'
      readonly device: string
      readonly queue: ObjectId
      readonly pasid?: Pasid | undefined
      readonly grpid: number
      /** 0 success, 1 invalid. */
      readonly code: number
      readonly by: 'user' | 'cancelled'
    })
  | (InContext & {
      readonly type: 'invalidated'
      readonly object: ObjectId
      readonly requests: number
      readonly handled: number
    })
  | (InContext & {
      readonly type: 'virtual-event'
      readonly viommu: ObjectId
      readonly queue: ObjectId
      readonly eventType: number
      readonly sequence: number
      readonly payload: Uint8Array
      /** The queue was full. */
      readonly lost: boolean
    })
  /** 02 §2.5: devices of one container now translate through different IOASes. */
  | (InContext & {
      readonly type: 'container-split'
      readonly devices: readonly { readonly device: string; readonly ioas: ObjectId }[]
      /** The IOMMU_VFIO_IOAS SET (or CLEAR) that made it so. */
      readonly setCall: CallNumber
    })
