/**
 * A group's container (02 §4.1): an iommufd, whose compat IOAS its devices get, or a native container
 * (type1-container.ts). The group file asks; what kind it is decides.
 */
import { admitNoIommu, ensureCompatIoas } from '../engine/compat-ioas.ts'
import type { Context } from '../engine/context.ts'
import type { Call } from '../engine/ports.ts'
import { Refusal, type Result } from '../engine/reason.ts'
import type { VfioDevice } from './device.ts'
import type { VfioGroup } from './group.ts'

export interface ContainerLink {
  /** GET_DEVICE_FD: counts one more file of the device, which it opens and attaches if need be. */
  openDevice(device: VfioDevice, call: Call): Result<void>
  /** Device files obtained under this link keep the group file open (02 §4.7). */
  readonly holdsGroup: boolean
  /** VFIO_GROUP_UNSET_CONTAINER; `openFiles` counts the device files obtained under the link. */
  unset(openFiles: number): Result<void>
  /** The group file is released. */
  drop(): void
}

class IommufdLink implements ContainerLink {
  readonly holdsGroup = false
  readonly #context: Context

  constructor(context: Context) {
    this.#context = context
    context.hold()
  }

  openDevice(device: VfioDevice, call: Call): Result<void> {
    return device.openThroughIommufd(this.#context, call)
  }

  /** Always succeeds: open devices stay bound, attached and usable (02 §4.5). */
  unset(): Result<void> {
    this.drop()
  }

  drop(): void {
    this.#context.drop()
  }
}

/** SET_CONTAINER with an iommufd (02 §4.4 step 6): no device is touched, nothing is attached. */
export const linkToIommufd = (
  context: Context,
  group: VfioGroup,
  call: Call,
): Result<ContainerLink> => {
  const admitted =
    group.kind === 'no-iommu' ? admitNoIommu(context) : ensureCompatIoas(context, call)
  return admitted instanceof Refusal ? admitted : new IommufdLink(context)
}
