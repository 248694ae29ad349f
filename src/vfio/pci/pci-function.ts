/** A PCI function of the machine: what is there whether or not a driver has it. */
import type { IommuDevice } from '../../engine/iommu-driver.ts'
import type { VfioDevice } from '../device.ts'
import type { PciAddress } from './pci-slot.ts'
import type { VfioPci } from './vfio-pci.ts'

export class PciFunction {
  readonly pci: VfioPci
  readonly device: IommuDevice
  /** The root port above it; undefined on the root bus. */
  readonly rootPort: PciAddress | undefined
  /** What VFIO offers of it; undefined while vfio-pci does not have it. */
  vfio: VfioDevice | undefined
  /** It is being unbound and somebody still has it open. */
  leaving = false
  /** The only driver that may have it; undefined: any that knows its IDs (06 §10.3). */
  driverOverride: string | undefined

  constructor(pci: VfioPci, device: IommuDevice, rootPort: PciAddress | undefined) {
    this.pci = pci
    this.device = device
    this.rootPort = rootPort
  }

  get bdf(): string {
    return this.pci.bdf
  }
}
