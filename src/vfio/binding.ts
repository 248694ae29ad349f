/**
 * What binding a device to an iommufd context means depends on the kind of device (02 §5.1, §5.7):
 * a physical one becomes a DEVICE object and attaches to page tables, an emulated one becomes an
 * ACCESS object and attaches to an IOAS. Group and device files see only this.
 */
import type { ObjectId, Pasid } from '../abi/brands.ts'
import type { Context } from '../engine/context.ts'
import type { Ioas } from '../engine/ioas.ts'
import type { Call } from '../engine/ports.ts'
import type { Result } from '../engine/reason.ts'
import type { Type1Backend } from './type1-backend.ts'

/** A device bound to a context, until `unbind`. */
export interface BoundDevice {
  /** ID of the DEVICE or ACCESS object. */
  readonly id: ObjectId
  /** Attaches, or replaces what is attached; returns the object in effect, as ATTACH reports it. */
  attach(target: ObjectId, call: Call): Result<ObjectId>
  /** Attaches to the compat IOAS, on the way through a group. */
  attachToIoas(ioas: Ioas, call: Call): Result<void>
  /** Success also when nothing is attached. */
  detach(): void
  /** Missing: the driver cannot attach PASIDs. */
  attachPasid?(pasid: Pasid, target: ObjectId, call: Call): Result<ObjectId>
  detachPasid?(pasid: Pasid): void
  /** Detaches everything and removes the object. */
  unbind(): void
}

export interface DeviceBinding {
  bind(context: Context, call: Call): Result<BoundDevice>
  /** Emulated devices: memory is reached through a native container; returns what to call at close. */
  openUnderType1?(backend: Type1Backend, call: Call): Result<() => void>
}
