/** The worked examples with physical devices, against the tests' own IOMMU, which is like the examples'. */
import { expect, test } from 'vitest'
import * as physical from '../../conformance/cases/02-08-physical.ts'
import { playOnEngine } from '../../conformance/doors/engine.ts'
import { problemsOf } from '../../conformance/example.ts'
import { pciDevices } from '../../conformance/places.ts'
import type { UserVa } from '../../src/abi/brands.ts'
import { Machine } from '../../src/engine/machine.ts'
import type { Call } from '../../src/engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../../src/engine/reason.ts'
import type { VfioDriver } from '../../src/vfio/driver.ts'
import { matchPciName } from '../../src/vfio/pci-name.ts'
import { Vfio } from '../../src/vfio/vfio.ts'
import { TestGroup, TestIommu } from '../engine/support/test-iommu.ts'

const NoIoctl = reasonKind({
  code: 'test-no-ioctl',
  errno: 'ENOTTY',
  cite: 'test fixture',
  say: () => 'the device has no ioctls',
})
const NotSrIov = reasonKind({
  code: 'test-not-sr-iov',
  errno: 'EINVAL',
  cite: '02 §5.4 step 9',
  say: () => 'a token for a function that is neither PF nor VF',
})

/** As little of vfio-pci as the examples touch. */
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

const machineWithPciDevices = (): Machine => {
  const machine = new Machine({ testInterface: true })
  const vfio = new Vfio(machine, { container: 'type1' })
  const iommu = new TestIommu()
  const groups = new Map<number, TestGroup>()
  for (const { address, group: number } of pciDevices) {
    const group = groups.get(number) ?? new TestGroup(number)
    groups.set(number, group)
    // Without snoop control, as the emulated VT-d of the real kernel.
    const device = iommu.device(address, { group, maxPasids: 0, without: ['enforce-coherency'] })
    vfio.addPhysical({ name: address, device, driver: () => new PciDriver(address) })
  }
  return machine
}

for (const example of Object.values(physical))
  test(example.title, () => {
    const transcript = playOnEngine(`${example.script.join('\n')}\n`, machineWithPciDevices())
    expect(problemsOf(example, transcript.trimEnd().split('\n').slice(1))).toEqual([])
  })
