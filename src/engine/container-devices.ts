/**
 * The devices that were given a compat IOAS when they were opened through their group, while they are
 * open (02 §2.5). Kept per context, to say when one container spans several IOASes, and which SET made
 * it so.
 */
import type { CallNumber } from './events.ts'
import type { Ioas } from './ioas.ts'

export interface ContainerDevice {
  readonly device: string
  readonly ioas: Ioas
}

export class ContainerDevices {
  readonly #devices = new Set<ContainerDevice>()
  /** For an IOAS with devices: the last SET or CLEAR that made the pointer leave it. */
  readonly #leftBy = new Map<Ioas, CallNumber>()

  add(device: ContainerDevice): void {
    this.#devices.add(device)
  }

  remove(device: ContainerDevice): void {
    this.#devices.delete(device)
    if (![...this.#devices].some(({ ioas }) => ioas === device.ioas))
      this.#leftBy.delete(device.ioas)
  }

  /** Devices that are not on `ioas`. */
  elsewhere(ioas: Ioas | undefined): readonly ContainerDevice[] {
    return [...this.#devices].filter((device) => device.ioas !== ioas)
  }

  pointerLeft(ioas: Ioas, call: CallNumber): void {
    if ([...this.#devices].some((device) => device.ioas === ioas)) this.#leftBy.set(ioas, call)
  }

  leftBy(ioas: Ioas): CallNumber {
    return this.#leftBy.get(ioas) ?? 0
  }

  all(): readonly ContainerDevice[] {
    return [...this.#devices]
  }
}
