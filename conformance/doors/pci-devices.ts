/** The physical devices of the examples, for a machine of ours: vfio-pci reduced to what they touch. */
import type { UserVa } from '../../src/abi/brands.ts'
import type { Call } from '../../src/engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../../src/engine/reason.ts'
import { PlatformDevice, PlatformGroup } from '../../src/iommu/platform-device.ts'
import { platformNamed } from '../../src/iommu/platforms.ts'
import type { VfioDriver } from '../../src/vfio/driver.ts'
import { matchPciName } from '../../src/vfio/pci-name.ts'
import type { Vfio } from '../../src/vfio/vfio.ts'
import { pciDevices } from '../places.ts'

const NoIoctl = reasonKind({
  code: 'conformance-no-ioctl',
  errno: 'ENOTTY',
  cite: '02 §5.3 step 6',
  say: () => 'the device has no ioctls of its own',
})

const NotSrIov = reasonKind({
  code: 'conformance-not-sr-iov',
  errno: 'EINVAL',
  cite: '02 §5.4 step 9',
  say: () => 'a VF token for a function that is neither PF nor VF',
})

class PciDriver implements VfioDriver {
  readonly name = 'vfio-pci'
  readonly #address: string

  constructor(address: string) {
    this.#address = address
  }

  matches(requested: string): Result<boolean> {
    const match = matchPciName(this.#address, requested)
    if (match === undefined || match instanceof Refusal) return match ?? false
    return this.checkToken(match.token) ?? true
  }

  checkToken(token: Uint8Array | undefined): Result<void> {
    if (token !== undefined) return refuse(NotSrIov, {})
  }

  open(): void {}
  close(): void {}

  ioctl(_call: Call, _request: number, _argument: UserVa): Result<number> {
    return refuse(NoIoctl, {})
  }
}

/** As the real kernel of the comparison has them: behind QEMU's Intel IOMMU. */
export const addPciDevices = (vfio: Vfio): void => {
  const iommu = platformNamed('intel-qemu-48')?.create()
  if (iommu === undefined) throw new Error("QEMU's Intel IOMMU is not among the platforms")
  const groups = new Map<number, PlatformGroup>()
  for (const { address, group: number } of pciDevices) {
    const group = groups.get(number) ?? new PlatformGroup(number)
    groups.set(number, group)
    const device = new PlatformDevice(iommu.instance, group, { name: address })
    vfio.addPhysical({ name: address, device, driver: () => new PciDriver(address) })
  }
}
