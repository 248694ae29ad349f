/** The event stream's vocabulary. A new kind of event is added here and nowhere else. */
import type { ByteLength, Iova, ObjectId } from '../abi/brands.ts'
import type { Refusal } from './reason.ts'

/** Number of a context within a run, from 1, in order of open. */
export type ContextNumber = number
/** Number of a call within a run, from 1, in order of arrival; 0 for what no call caused. */
export type CallNumber = number

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
    }
  | (InContext & { readonly type: 'context-opened'; readonly node: string; readonly pid: number })
  | (InContext & { readonly type: 'context-released' })
  | (InContext & {
      readonly type: 'object-created'
      readonly id: ObjectId
      readonly object: string
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
  | (InContext & {
      readonly type: 'compat-ioas'
      readonly ioas: ObjectId | undefined
      readonly previous: ObjectId | undefined
      readonly by: 'auto' | 'set' | 'clear' | 'destroy'
    })
  | (InContext & {
      readonly type: 'attached'
      readonly device: string
      readonly object: ObjectId
      readonly ioas: ObjectId
      readonly hwpt?: ObjectId
      /** True when the IOAS was chosen as the compat IOAS of a container (02 §2.5). */
      readonly throughContainer: boolean
    })
  | (InContext & {
      readonly type: 'detached'
      readonly device: string
      readonly object: ObjectId
      readonly ioas: ObjectId
    })
  /** 02 §2.5: devices of one container now translate through different IOASes. */
  | (InContext & {
      readonly type: 'container-split'
      readonly devices: readonly { readonly device: string; readonly ioas: ObjectId }[]
      /** The IOMMU_VFIO_IOAS SET (or CLEAR) that made it so. */
      readonly setCall: CallNumber
    })
