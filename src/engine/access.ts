/** Accesses: users of an IOAS that do no DMA of their own (01 §19, 04 §2). */
import type { ByteLength, Iova } from '../abi/brands.ts'
import type { Context } from './context.ts'
import type { Ioas } from './ioas.ts'
import { type Caller, KernelObject } from './objects.ts'
import type { AddressSpace, PageIdentity } from './ports.ts'
import type { Result } from './reason.ts'

export interface AccessDriver {
  /** For people: `emulated device mdev0`. */
  readonly name: string
  /** It may pin pages: the alignment it imposes is then 4096, else 1. */
  readonly pins: boolean
  /** Must release every pin that intersects the range before it returns (04 §2.7). */
  unmap?(iova: Iova, length: ByteLength): void
}

/** Who does a CPU copy (04 §2.8). */
export interface CopyBy {
  /** Address space of the thread that copies; undefined for a worker without one. */
  readonly space: AddressSpace | undefined
  /** Flag KTHREAD: act for the owner of the mapping. */
  readonly forOwner?: boolean
  /** Test flag 4: not by the fast path. */
  readonly slow?: boolean
}

export class Access extends KernelObject {
  override readonly type = 'access'
  /** The IOAS it is attached to. */
  ioas: Ioas | undefined

  /** Makes an access; `internal` is one of a hardware queue: locks what it pins, is never notified. */
  static create(
    _context: Context,
    _driver: AccessDriver,
    _options?: { caller?: Caller; internal?: boolean },
  ): Result<Access> {
    throw new Error('not built yet')
  }

  /** 04 §2.2: detaches if need be and frees the ID. */
  destroy(): void {
    throw new Error('not built yet')
  }

  /** 04 §2.3 attach. */
  attach(_caller: Caller, _ioasId: number): Result<void> {
    throw new Error('not built yet')
  }

  /** 04 §2.3 replace. */
  replace(_caller: Caller, _ioasId: number): Result<void> {
    throw new Error('not built yet')
  }

  /** 04 §2.3 detach; without attachment nothing happens. */
  detach(): void {
    throw new Error('not built yet')
  }

  /** 04 §2.5: one identity per page, in order. */
  pin(_caller: Caller, _iova: Iova, _length: ByteLength, _write: boolean): Result<PageIdentity[]> {
    throw new Error('not built yet')
  }

  /** 04 §2.6: must repeat an earlier pin exactly; throws if it does not (a driver's bug). */
  unpin(_iova: Iova, _length: ByteLength): void {
    throw new Error('not built yet')
  }

  /** 04 §2.8: copies out of the mapped memory into `bytes`. */
  read(_caller: Caller, _by: CopyBy, _iova: Iova, _bytes: Uint8Array): Result<void> {
    throw new Error('not built yet')
  }

  write(_caller: Caller, _by: CopyBy, _iova: Iova, _bytes: Uint8Array): Result<void> {
    throw new Error('not built yet')
  }

  override teardown(): void {
    throw new Error('not built yet')
  }
}
