import { describe, expect, it } from 'vitest'
import { type Iova, physAddr } from '../../src/abi/brands.ts'
import type { Device } from '../../src/engine/device.ts'
import type { Result } from '../../src/engine/reason.ts'
import { translateDoorbell } from '../../src/engine/software-msi.ts'
import { outcomeOf } from './support/program.ts'
import { Bench } from './support/setup.ts'
import { MSI, region } from './support/test-iommu.ts'

const WINDOW = 0x800_0000n
const arm = region('sw-msi', WINDOW, 0x10_0000n)
const doorbell = (device: Device, at: bigint): Result<Iova | undefined> =>
  translateDoorbell(device, physAddr(at))

const setUp = () => {
  const bench = new Bench()
  bench.ioas()
  const a = bench.bind(bench.iommu.device('A', { regions: [arm] }))
  const b = bench.bind(bench.iommu.device('B', { regions: [arm] }))
  return { bench, a, b }
}

describe('the software MSI window (03 §5.6)', () => {
  it('gives doorbell pages IOVAs in order of first use, the same in all HWPTs of the context', () => {
    const { bench, a, b } = setUp()
    const first = bench.attach(a, 1)
    bench.ioas()
    const second = bench.attach(b, Number(bench.context.objects.size))
    expect(second).not.toBe(first)
    expect(doorbell(a, 0xf100_0040n)).toBe(WINDOW + 0x40n)
    expect(doorbell(a, 0xf200_0000n)).toBe(WINDOW + 0x1000n)
    expect(doorbell(b, 0xf200_0010n)).toBe(WINDOW + 0x1010n)
    expect([...bench.domain(second).leaves]).toEqual([
      [
        WINDOW + 0x1000n,
        {
          phys: 0xf200_0000n,
          size: 0x1000n,
          prot: { read: true, write: true, mmio: true },
          dirty: false,
        },
      ],
    ])
  })

  it('maps all pages of the group into a new domain before the group is attached to it', () => {
    const { bench, a } = setUp()
    bench.attach(a, 1)
    doorbell(a, 0xf100_0000n)
    doorbell(a, 0xf200_0000n)
    const other = bench.ioas()
    const moved = bench.domain(bench.attach(a, other))
    expect([...moved.leaves.keys()]).toEqual([WINDOW, WINDOW + 0x1000n])
    bench.detach(a)
    expect(moved.freed).toBe(true)
    expect([...bench.domain(bench.attach(a, 1)).leaves.keys()]).toEqual([WINDOW, WINDOW + 0x1000n])
    expect(bench.map(1, WINDOW, 0x1000n)).toBe('EINVAL')
  })

  it('forgets the pages of a group with its last binding, but not their IOVAs', () => {
    const { bench, a } = setUp()
    bench.attach(a, 1)
    doorbell(a, 0xf100_0000n)
    doorbell(a, 0xf200_0000n)
    const { iommuDevice } = a
    bench.unbind(a)
    const again = bench.bind(bench.iommu.device('C', { regions: [arm] }))
    expect(doorbell(again, 0xf200_0000n)).toBeUndefined()
    expect(bench.domain(bench.attach(again, 1)).leaves.size).toBe(0)
    expect(doorbell(again, 0xf200_0000n)).toBe(WINDOW + 0x1000n)
    expect(bench.program.machine.groups.deviceOf(iommuDevice)).toBeUndefined()
  })

  it('holds 64 pages for a context, whatever the windows', () => {
    const { bench, a } = setUp()
    const other = region('sw-msi', 0x1000_0000n, 0x10_0000n)
    const c = bench.bind(bench.iommu.device('C', { regions: [other] }))
    bench.attach(a, 1)
    bench.attach(c, 1)
    for (let n = 0n; n < 63n; n++) doorbell(a, n << 12n)
    expect(doorbell(c, 0n)).toBe(0x1000_0000n)
    expect(outcomeOf(doorbell(c, 0x1000n))).toBe('EOVERFLOW')
    expect(doorbell(a, 0n)).toBe(WINDOW)
  })

  it('is nothing where interrupts are not translated', () => {
    const bench = new Bench()
    bench.ioas()
    const a = bench.bind(bench.iommu.device('A', { regions: [MSI] }))
    bench.attach(a, 1)
    expect(doorbell(a, 0xfee0_0000n)).toBeUndefined()
  })
})
