import { objectId, type UserVa, userVa } from '../abi/brands.ts'
import type { Ioctl } from '../abi/ioctl.ts'
import {
  IOMMU_DESTROY,
  IOMMU_OPTION,
  IOMMU_VFIO_IOAS,
  IOMMUFD_OPTION,
  IOMMUFD_OPTION_OPS,
  IOMMUFD_VFIO_IOAS_OP,
} from '../abi/iommufd/context.ts'
import { IOMMU_IOAS_ALLOC } from '../abi/iommufd/ioas.ts'
import type { DecodedFields, Fields, Struct } from '../abi/layout.ts'
import { ioctlOn } from '../abi/tables.ts'
import type { Context } from '../engine/context.ts'
import type { ContextNode } from '../engine/machine.ts'
import { Refusal } from '../engine/reason.ts'
import { Ioas } from './ioas.ts'
import { IommufdError } from './iommufd-error.ts'
import type { Buffer, ProgramMemory } from './program-memory.ts'
import { type EventListener, type MachineOptions, SimulatedMachine } from './simulated-machine.ts'

/** An ioctl whose argument is a structure. */
export type StructIoctl<F extends Fields> = Ioctl<F> & { readonly struct: Struct<F> }

export interface OpenOptions extends MachineOptions {
  /** Which node is opened; it decides how locked memory is counted at first. Default: `/dev/iommu`. */
  readonly node?: ContextNode
}

/** What one ioctl did. */
export interface Attempt<F extends Fields, Arrays> {
  /** The structure as it is after the call. */
  readonly answer: DecodedFields<F>
  /** The ioctl's own result, when it succeeded. */
  readonly result: number | undefined
  /** Why it failed, when it did. */
  readonly refusal: Refusal | undefined
  /** The arrays as they are after the call. */
  readonly arrays: Arrays
}

/** Room for the structure of a call, in bytes; arrays get buffers of their own. */
const STRUCT_ROOM = 4096

/**
 * An open iommufd: one context. Every method makes the same ioctl that a program makes, with the same
 * checks in the same order, and throws IommufdError where that gives an errno.
 *
 *     using iommufd = Iommufd.open()
 *     const ioas = iommufd.allocIoas()
 */
export class Iommufd {
  readonly machine: SimulatedMachine
  /** The engine's context, for what has no method here. */
  readonly context: Context
  readonly #places: Buffer[] = []
  #open = true

  /** Opens `/dev/iommu` on a machine of its own. For several on one, see `SimulatedMachine`. */
  static open({ node, ...machine }: OpenOptions = {}): Iommufd {
    return new SimulatedMachine(machine).open(node)
  }

  /** Use `Iommufd.open` or `SimulatedMachine.open`. */
  constructor(machine: SimulatedMachine, context: Context) {
    this.machine = machine
    this.context = context
  }

  /** The program's memory: allocate here what is to be mapped. */
  get memory(): ProgramMemory {
    return this.machine.memory
  }

  /** Tells of everything that happens on the machine. Returns how to stop that. */
  on(listener: EventListener): () => void {
    return this.machine.on(listener)
  }

  /** IOMMU_IOAS_ALLOC: an empty address space (01 §9). */
  allocIoas(): Ioas {
    return new Ioas(this, this.call(IOMMU_IOAS_ALLOC, { flags: 0 }).out_ioas_id)
  }

  /** IOMMU_DESTROY. Throws IommufdError: ENOENT for no such object, EBUSY while it is used (01 §5.4). */
  destroy(id: number): void {
    this.call(IOMMU_DESTROY, { id: objectId(id) })
  }

  /**
   * The IOAS that VFIO's container calls work on, if there is one: IOMMU_VFIO_IOAS (02 §2.6). Setting
   * it throws IommufdError ENOENT for no such IOAS and, under the strict policy, EBUSY.
   */
  get vfioIoas(): Ioas | undefined {
    const { answer, refusal } = this.attempt(IOMMU_VFIO_IOAS, {
      op: IOMMUFD_VFIO_IOAS_OP.IOMMU_VFIO_IOAS_GET,
    })
    if (refusal?.kind.errno === 'ENODEV') return undefined
    if (refusal !== undefined) throw new IommufdError(IOMMU_VFIO_IOAS.name, refusal)
    return new Ioas(this, answer.ioas_id)
  }

  set vfioIoas(ioas: Ioas | undefined) {
    this.call(
      IOMMU_VFIO_IOAS,
      ioas === undefined
        ? { op: IOMMUFD_VFIO_IOAS_OP.IOMMU_VFIO_IOAS_CLEAR }
        : { op: IOMMUFD_VFIO_IOAS_OP.IOMMU_VFIO_IOAS_SET, ioas_id: ioas.id },
    )
  }

  /** IOMMU_OPTION GET. Throws IommufdError: EOPNOTSUPP, ENOENT (01 §8). */
  option(option: keyof typeof IOMMUFD_OPTION, ioas?: Ioas): bigint {
    return this.call(IOMMU_OPTION, {
      option_id: IOMMUFD_OPTION[option],
      op: IOMMUFD_OPTION_OPS.IOMMU_OPTION_OP_GET,
      object_id: ioas?.id ?? objectId(0),
    }).val64
  }

  /** IOMMU_OPTION SET. Throws IommufdError: EPERM, EBUSY, EINVAL, EADDRINUSE (01 §8). */
  setOption(option: keyof typeof IOMMUFD_OPTION, value: bigint, ioas?: Ioas): void {
    this.call(IOMMU_OPTION, {
      option_id: IOMMUFD_OPTION[option],
      op: IOMMUFD_OPTION_OPS.IOMMU_OPTION_OP_SET,
      object_id: ioas?.id ?? objectId(0),
      val64: value,
    })
  }

  /**
   * Any ioctl that takes a structure, by its declaration: fields that are not given are zero, the size
   * word is filled in. `arrays` are placed in memory and their addresses put into the fields of those
   * names. Returns the structure after the call; throws IommufdError where Linux gives an errno.
   */
  call<F extends Fields>(
    ioctl: StructIoctl<F>,
    args: Partial<DecodedFields<F>>,
    arrays: { readonly [Name in keyof F & string]?: Uint8Array } = {},
  ): DecodedFields<F> {
    const { answer, refusal } = this.attempt(ioctl, args, arrays)
    if (refusal !== undefined) throw new IommufdError(ioctl.name, refusal)
    return answer
  }

  /** As `call`, but a refusal is returned. */
  attempt<F extends Fields, Arrays extends { readonly [Name in keyof F & string]?: Uint8Array }>(
    ioctl: StructIoctl<F>,
    args: Partial<DecodedFields<F>>,
    arrays?: Arrays,
  ): Attempt<F, Arrays> {
    const { struct } = ioctl
    const bytes = struct.encode(args)
    const view = new DataView(bytes.buffer)
    for (const field of struct.fields)
      if (field.role === 'size' || field.role === 'argsz')
        view.setUint32(field.offset, bytes.length, true)
    const given = Object.entries<Uint8Array | undefined>({ ...arrays })
    const placed: { buffer: Buffer; array: Uint8Array }[] = []
    for (const [name, array] of given) {
      if (array === undefined || array.length === 0) continue
      const buffer = this.memory.allocate(array.length)
      buffer.bytes.set(array)
      view.setBigUint64(struct.place(name).offset, buffer.address, true)
      placed.push({ buffer, array })
    }
    const outcome = this.#ioctl(ioctl.request, bytes)
    for (const { buffer, array } of placed) {
      array.set(buffer.bytes)
      this.memory.free(buffer)
    }
    return {
      answer: struct.decode(bytes),
      result: outcome instanceof Refusal ? undefined : outcome,
      refusal: outcome instanceof Refusal ? outcome : undefined,
      arrays: arrays ?? ({} as Arrays),
    }
  }

  /**
   * The raw ioctl: `argument` is the bytes of the structure, which are changed in place, or the value
   * or address itself. Returns the ioctl's result; throws IommufdError where Linux gives an errno.
   */
  ioctl(request: number, argument: Uint8Array | bigint): number {
    const outcome =
      typeof argument === 'bigint'
        ? this.#serve(request, userVa(argument))
        : this.#ioctl(request, argument)
    if (outcome instanceof Refusal)
      throw new IommufdError(
        ioctlOn('iommufd', request)?.name ?? `ioctl 0x${request.toString(16)}`,
        outcome,
      )
    return outcome
  }

  /** As close(2): releases everything that the context has, unless something else holds it. */
  close(): void {
    if (!this.#open) return
    this.#open = false
    this.context.release()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** Makes the call with the structure in the program's memory, and copies it back. */
  #ioctl(request: number, bytes: Uint8Array): number | Refusal {
    if (bytes.length > STRUCT_ROOM)
      throw new RangeError(`a structure of ${bytes.length} bytes is more than ${STRUCT_ROOM}`)
    // A listener may make a call during this one, so one place for all would not do.
    const place = this.#places.pop() ?? this.memory.allocate(STRUCT_ROOM)
    place.bytes.set(bytes)
    try {
      return this.#serve(request, place.address)
    } finally {
      bytes.set(place.bytes.subarray(0, bytes.length))
      this.#places.push(place)
    }
  }

  #serve(request: number, argument: UserVa): number | Refusal {
    if (!this.#open) throw new Error('this iommufd has been closed')
    return this.context.ioctl(this.machine.call(), request, argument)
  }
}
