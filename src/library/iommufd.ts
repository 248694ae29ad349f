import { type Fd, objectId } from '../abi/brands.ts'
import {
  IOMMU_DESTROY,
  IOMMU_OPTION,
  IOMMU_VFIO_IOAS,
  IOMMUFD_OPTION,
  IOMMUFD_OPTION_OPS,
  IOMMUFD_VFIO_IOAS_OP,
} from '../abi/iommufd/context.ts'
import { IOMMU_IOAS_ALLOC } from '../abi/iommufd/ioas.ts'
import type { Context } from '../engine/context.ts'
import type { ContextNode } from '../engine/machine.ts'
import { Ioas } from './ioas.ts'
import { IommufdError } from './iommufd-error.ts'
import { SimulatedFile } from './simulated-file.ts'
import { type MachineOptions, SimulatedMachine } from './simulated-machine.ts'

export interface OpenOptions extends MachineOptions {
  /** Which node is opened; it decides how locked memory is counted at first. Default: `/dev/iommu`. */
  readonly node?: ContextNode
}

/**
 * An open iommufd: one context. Every method makes the same ioctl that a program makes, with the same
 * checks in the same order, and throws IommufdError where that gives an errno.
 *
 *     using iommufd = Iommufd.open()
 *     const ioas = iommufd.allocIoas()
 */
export class Iommufd extends SimulatedFile {
  /** The engine's context, for what has no method here. */
  readonly context: Context

  /** Opens `/dev/iommu` on a machine of its own. For several on one, see `SimulatedMachine`. */
  static open({ node, ...machine }: OpenOptions = {}): Iommufd {
    return new SimulatedMachine(machine).open(node)
  }

  /** Use `Iommufd.open` or `SimulatedMachine.open`. */
  constructor(machine: SimulatedMachine, fd: Fd, context: Context) {
    super(machine, fd, context)
    this.context = context
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
}
