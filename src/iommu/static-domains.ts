/** The translations that need no table: none at all, and the one an unowned device runs on. */
import type { Iova, PhysAddr } from '../abi/brands.ts'
import type { DmaTarget, IommuDriver, StaticDomain } from '../engine/iommu-driver.ts'
import type { Result } from '../engine/reason.ts'

/** No DMA passes; attaching to it never fails. */
export class BlockedDomain implements StaticDomain {
  readonly type = 'blocked'
  readonly driver: IommuDriver
  faultCapable = false

  constructor(driver: IommuDriver) {
    this.driver = driver
  }

  attach(): Result<void> {}
  attachPasid(): Result<void> {}
  free(): void {}
}

/** Addresses go through as they are: the kernel's own DMA, while nobody owns the device. */
export class IdentityDomain implements StaticDomain {
  readonly type = 'identity'
  readonly driver: IommuDriver
  faultCapable = false

  constructor(driver: IommuDriver) {
    this.driver = driver
  }

  attach(): Result<void> {}
  free(): void {}

  translate(iova: Iova): DmaTarget {
    return { phys: iova as bigint as PhysAddr, length: Number.MAX_SAFE_INTEGER }
  }
}
