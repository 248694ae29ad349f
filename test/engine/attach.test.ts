import { describe, expect, it } from 'vitest'
import { attachDevice, detachDevice } from '../../src/engine/attach.ts'
import type { EngineEvent } from '../../src/engine/events.ts'
import { Refusal } from '../../src/engine/reason.ts'
import { outcomeOf } from './support/program.ts'
import { Bench, EVERYTHING } from './support/setup.ts'
import { MSI, region, TestDriver, TestIommu } from './support/test-iommu.ts'

const AROUND_MSI: [bigint, bigint][] = [
  [0n, 0xfedf_ffffn],
  [0xfef0_0000n, 0xffff_ffff_ffffn],
]

const groupOfTwo = () => {
  const bench = new Bench()
  const group = bench.iommu.newGroup()
  const a = bench.iommu.device('G1', { group })
  const b = bench.iommu.device('G2', { group })
  return { bench, a, b }
}

describe('attach and detach (03 §17)', () => {
  it('example 1: IDs, bind, automatic HWPT, IOVA ranges', () => {
    const bench = new Bench()
    expect(bench.ioas()).toBe(1)
    expect(bench.ranges(1)).toEqual({ ranges: [EVERYTHING], alignment: 1n })
    const a = bench.bind(bench.iommu.device('A'))
    expect(a.id).toBe(2)
    expect(bench.ranges(1).ranges).toEqual([EVERYTHING])
    expect(bench.attach(a, 1)).toBe(3)
    expect(bench.ranges(1)).toEqual({ ranges: AROUND_MSI, alignment: 4096n })
    bench.detach(a)
    expect(bench.ranges(1)).toEqual({ ranges: [EVERYTHING], alignment: 1n })
    expect([bench.destroy(3), bench.destroy(2), bench.destroy(1)]).toEqual(['ENOENT', 'EBUSY', 0])
  })

  it('example 2: devices of different groups share an automatic HWPT', () => {
    const bench = new Bench()
    bench.ioas()
    const a = bench.bind(bench.iommu.device('A'))
    const b = bench.bind(bench.iommu.device('B'))
    expect([bench.attach(a, 1), bench.attach(b, 1)]).toEqual([4, 4])
    expect([bench.destroy(4), bench.destroy(1)]).toEqual(['EBUSY', 'EBUSY'])
    bench.detach(a)
    expect(bench.destroy(4)).toBe('EBUSY')
    bench.detach(b)
    expect([bench.destroy(4), bench.destroy(1)]).toEqual(['ENOENT', 0])
  })

  it('example 3: a manual HWPT and replace', () => {
    const bench = new Bench()
    bench.ioas()
    const a = bench.bind(bench.iommu.device('A'))
    expect(bench.attach(a, 1)).toBe(3)
    expect(bench.hwpt({ dev: 2, pt: 1 })).toBe(4)
    expect(bench.attach(a, 4)).toBe(4)
    expect([bench.destroy(3), bench.destroy(4)]).toEqual(['ENOENT', 'EBUSY'])
    const calls = bench.driver.log.length
    expect(bench.attach(a, 4)).toBe(4)
    expect(bench.driver.log.length).toBe(calls)
    expect(bench.attach(a, 1)).toBe(3)
    expect(bench.destroy(4)).toBe(0)
  })

  it('example 4: a manual HWPT is never chosen, an automatic one may be named', () => {
    const bench = new Bench()
    bench.ioas()
    const a = bench.bind(bench.iommu.device('A'))
    const b = bench.bind(bench.iommu.device('B'))
    expect(bench.hwpt({ dev: 2, pt: 1 })).toBe(4)
    expect(bench.attach(a, 4)).toBe(4)
    expect(bench.attach(b, 1)).toBe(5)
    expect(bench.attach(a, 5)).toBe(5)
    bench.detach(b)
    expect(bench.destroy(5)).toBe('EBUSY')
    bench.detach(a)
    expect([bench.destroy(5), bench.destroy(4)]).toEqual(['ENOENT', 0])
  })

  it('example 5: what pt_id may name', () => {
    const bench = new Bench()
    bench.ioas()
    const a = bench.bind(bench.iommu.device('A'))
    expect([bench.attach(a, 0), bench.attach(a, 99), bench.attach(a, 2)]).toEqual([
      'ENOENT',
      'ENOENT',
      'EINVAL',
    ])
    bench.detach(a)
    expect(bench.attach(a, 1)).toBe(3)
  })

  it('attaching twice is EBUSY for who does not replace', () => {
    const bench = new Bench()
    bench.ioas()
    const a = bench.bind(bench.iommu.device('A'))
    bench.attach(a, 1)
    expect(outcomeOf(attachDevice(bench.program.call(), a, 1))).toBe('EBUSY')
  })

  it('example 6: what a group shares', () => {
    const { bench, a, b } = groupOfTwo()
    bench.ioas()
    bench.ioas()
    const g1 = bench.bind(a)
    const g2 = bench.bind(b)
    const { group } = g1
    expect(bench.attach(g1, 1)).toBe(5)
    expect(bench.driver.log.slice(-2)).toEqual(['attach G1', 'attach G2'])
    expect(bench.attach(g2, 2)).toBe('EINVAL')
    const driverCalls = bench.driver.log.length
    expect(bench.attach(g2, 1)).toBe(5)
    expect(bench.driver.log.length).toBe(driverCalls)
    expect(bench.attach(g1, 2)).toBe(6)
    expect(g2.hwpt?.id).toBe(6)
    expect(bench.destroy(5)).toBe('ENOENT')
    expect(bench.ranges(1)).toEqual({ ranges: [EVERYTHING], alignment: 1n })
    expect(bench.ranges(2).ranges).toEqual(AROUND_MSI)
    bench.detach(g1)
    expect(group.domain).toBe(bench.domain(6))
    expect(bench.destroy(6)).toBe('EBUSY')
    bench.detach(g2)
    expect(group.domain).toBe(bench.driver.blockedDomain)
    expect(bench.destroy(6)).toBe('ENOENT')
    // The second attempt to attach G2 left no HWPT behind.
    expect(bench.driver.domains.size).toBe(0)
  })

  it('example 8: a reserved region against a mapping', () => {
    const bench = new Bench()
    bench.ioas()
    expect(bench.map(1, 0xfee0_0000n, 0x1000n)).toBe(0)
    const a = bench.bind(bench.iommu.device('A'))
    expect(bench.attach(a, 1)).toBe('EADDRINUSE')
    expect(bench.objects()).toEqual(['ioas 1', 'device 2'])
    expect(bench.ranges(1).ranges).toEqual([EVERYTHING])
    expect(bench.hwpt({ dev: 2, pt: 1 })).toBe(3)
    expect(bench.attach(a, 3)).toBe('EADDRINUSE')
    expect(bench.unmap(1, 0xfee0_0000n, 0x1000n)).toBe(0)
    expect(bench.attach(a, 3)).toBe(3)
    expect(bench.map(1, 0xfee0_0000n, 0x1000n)).toBe('EINVAL')
  })

  it('example 21: closing the iommufd stops nothing while a device is bound', () => {
    const bench = new Bench()
    bench.ioas()
    bench.map(1, 0x10_0000n, 0x1000n)
    const a = bench.bind(bench.iommu.device('A'))
    const domain = bench.domain(bench.attach(a, 1))
    bench.program.closeAll()
    expect(domain.leaves.size).toBe(1)
    expect(a.group.domain).toBe(domain)
    bench.unbind(a)
    expect(domain.freed).toBe(true)
    expect(bench.context.released).toBe(true)
  })

  it('example 22: an HWPT outlives the device it was made for', () => {
    const bench = new Bench()
    bench.ioas()
    const device = bench.iommu.device('A')
    const a = bench.bind(device)
    expect(bench.hwpt({ dev: 2, pt: 1 })).toBe(3)
    bench.attach(a, 3)
    bench.unbind(a)
    expect(bench.destroy(2)).toBe('ENOENT')
    expect(bench.hwpt({ dev: 2, pt: 1 })).toBe('ENOENT')
    const again = bench.bind(device)
    expect(again.id).toBe(2)
    expect(bench.attach(again, 3)).toBe(3)
  })

  it('example 23: enforcing and non-enforcing devices', () => {
    const bench = new Bench()
    const other = new TestIommu(bench.driver, 'iommu1')
    bench.ioas()
    const a = bench.bind(bench.iommu.device('A'))
    const n = bench.bind(other.device('N', { without: ['enforce-coherency'] }))
    expect([bench.attach(a, 1), bench.attach(n, 1)]).toEqual([4, 5])
    expect([bench.domain(4).coherencyEnforced, bench.domain(5).coherencyEnforced]).toEqual([
      true,
      false,
    ])
    bench.detach(a)
    expect(bench.attach(a, 1)).toBe(5)
  })

  it('example 24: two devices, replace', () => {
    const bench = new Bench()
    bench.ioas()
    const first = bench.bind(bench.iommu.device('1'))
    const second = bench.bind(bench.iommu.device('2'))
    expect([bench.attach(first, 1), bench.attach(second, 1)]).toEqual([4, 4])
    expect(bench.ioas()).toBe(5)
    expect(bench.attach(first, 5)).toBe(6)
    expect(bench.attach(first, 4)).toBe(4)
    expect(bench.attach(first, 6)).toBe('ENOENT')
    bench.unbind(first)
    expect(bench.destroy(4)).toBe('EBUSY')
    bench.unbind(second)
    expect(bench.objects()).toEqual(['ioas 1', 'ioas 5'])
  })
})

describe('who owns the DMA of a failed attach', () => {
  it('puts members back that were moved already', () => {
    const { bench, a, b } = groupOfTwo()
    bench.ioas()
    const g1 = bench.bind(a)
    bench.driver.refuseAttach = (what) => (what === 'attach G2' ? 'ENOMEM' : undefined)
    expect(bench.attach(g1, 1)).toBe('ENOMEM')
    expect(bench.driver.log.slice(-3)).toEqual(['attach G1', 'attach G2 ENOMEM', 'blocked G1'])
    expect(g1.group.domain).toBe(bench.driver.blockedDomain)
    expect(bench.objects()).toEqual(['ioas 1', 'device 2'])
    expect(bench.ranges(1).ranges).toEqual([EVERYTHING])
    bench.bind(b)
  })

  it('detaches again when the IOAS does not fit the new domain', () => {
    const bench = new Bench()
    bench.ioas()
    expect(bench.map(1, 1n << 48n, 0x1000n)).toBe(0)
    const a = bench.bind(bench.iommu.device('A'))
    expect(bench.attach(a, 1)).toBe('EADDRINUSE')
    expect(bench.driver.log.slice(-2)).toEqual(['attach A', 'blocked A'])
    expect([a.hwpt, a.users]).toEqual([undefined, 2])
    expect(bench.objects()).toEqual(['ioas 1', 'device 2'])
    expect(bench.driver.domains.size).toBe(0)
  })

  it('tells of attachments that hold, not of those that were taken back', () => {
    const events: EngineEvent[] = []
    const bench = new Bench(undefined, { observer: { event: (event) => events.push(event) } })
    bench.ioas()
    bench.map(1, 1n << 48n, 0x1000n)
    const a = bench.bind(bench.iommu.device('A'))
    const told = () =>
      events.splice(0).flatMap((event) => {
        if (event.type === 'attached') return [`attached ${event.device} ${event.hwpt}`]
        return event.type === 'detached' ? [`detached ${event.device} ${event.hwpt}`] : []
      })
    expect([bench.attach(a, 1), told()]).toEqual(['EADDRINUSE', []])
    bench.unmap(1, 1n << 48n, 0x1000n)
    expect([bench.attach(a, 1), bench.attach(a, 1), told()]).toEqual([3, 3, ['attached A 3']])
    bench.detach(a)
    expect(told()).toEqual(['detached A 3'])
  })

  it('replace fills the new domain first, so that the device is not touched', () => {
    const bench = new Bench()
    bench.ioas()
    bench.ioas()
    expect(bench.map(2, 1n << 48n, 0x1000n)).toBe(0)
    const a = bench.bind(bench.iommu.device('A'))
    bench.attach(a, 1)
    const calls = bench.driver.log.length
    expect(bench.attach(a, 2)).toBe('EADDRINUSE')
    expect(bench.driver.log.length).toBe(calls)
    expect(a.hwpt?.id).toBe(4)
  })

  it('refuses members in reset, and domains of other drivers', () => {
    const bench = new Bench()
    bench.ioas()
    const device = bench.iommu.device('A')
    const a = bench.bind(device)
    device.inReset = true
    expect(bench.attach(a, 1)).toBe('EBUSY')
    device.inReset = false
    const foreign = new TestIommu(new TestDriver({ name: 'other' }), 'other')
    const f = bench.bind(foreign.device('F'))
    const hwpt = bench.attach(f, 1)
    expect(hwpt).toBe(4)
    expect(bench.attach(a, 4)).toBe('EINVAL')
    // Automatic selection goes on to an HWPT of the device's own driver.
    expect(bench.attach(a, 1)).toBe(5)
  })

  it('refuses a fault HWPT for a virtual function whose physical function has PRI', () => {
    const bench = new Bench()
    bench.ioas()
    const pci = { isVf: true, pfHasPri: true, pasidExec: false, pasidPriv: false }
    const a = bench.bind(bench.iommu.device('A', { pci }))
    const { id: fault } = bench.faultQueue()
    const hwpt = Number(bench.hwpt({ dev: a.id, pt: 1, flags: 4, fault }))
    expect(bench.attach(a, hwpt)).toBe('EINVAL')
    expect(bench.attach(a, 1)).toBe(hwpt + 1)
  })
})

describe('the loss of reserved regions (03 §5.7)', () => {
  const lost = () => {
    const events: EngineEvent[] = []
    const bench = new Bench(undefined, { observer: { event: (event) => events.push(event) } })
    bench.ioas()
    const a = bench.bind(bench.iommu.device('A'))
    const plain = Number(bench.hwpt({ dev: a.id, pt: 1 }))
    const pasid = Number(bench.hwpt({ dev: a.id, pt: 1, flags: 8 }))
    bench.attach(a, pasid)
    expect(bench.attachPasid(a, 7, pasid)).toBe(pasid)
    return { bench, a, plain, pasid, events }
  }

  it('happens when a replace within one IOAS fails, and is told', () => {
    const { bench, a, plain, events } = lost()
    expect(bench.ranges(1).ranges).toEqual(AROUND_MSI)
    expect(bench.attach(a, plain)).toBe('EINVAL')
    expect(bench.ranges(1).ranges).toEqual([[0n, 0xffff_ffff_ffffn]])
    expect(bench.map(1, 0xfee0_0000n, 0x1000n)).toBe(0)
    expect(events.find(({ type }) => type === 'reservations-lost')).toMatchObject({
      devices: ['A'],
      ioas: 1,
    })
  })

  it('is mended by a new attach', () => {
    const { bench, a, plain, pasid } = lost()
    bench.attach(a, plain)
    bench.detachPasid(a, 7)
    bench.detach(a)
    expect(bench.attach(a, pasid)).toBe(pasid)
    expect(bench.ranges(1).ranges).toEqual(AROUND_MSI)
  })

  it('does not happen when the target is another IOAS', () => {
    const { bench, a } = lost()
    const second = bench.ioas()
    expect(bench.attach(a, second)).toBe('EINVAL')
    expect(bench.ranges(1).ranges).toEqual(AROUND_MSI)
    expect(bench.ranges(second).ranges).toEqual([EVERYTHING])
  })

  it('also happens when automatic selection rejects a candidate and takes another', () => {
    const bench = new Bench()
    const other = new TestIommu(bench.driver, 'iommu1')
    bench.ioas()
    const a = bench.bind(bench.iommu.device('A'))
    bench.attach(a, 1)
    const n = bench.bind(other.device('N', { without: ['enforce-coherency'], regions: [MSI] }))
    const manual = bench.hwpt({ dev: n.id, pt: 1 })
    bench.attach(n, Number(manual))
    bench.detach(a)
    const again = bench.attach(a, 1)
    // N moves from its manual HWPT to the IOAS: A's enforcing HWPT is tried first and refused.
    bench.attach(n, 1)
    expect(n.hwpt?.id).not.toBe(again)
    bench.detach(a)
    expect(bench.ranges(1).ranges).toEqual([[0n, 0xffff_ffff_ffffn]])
  })
})

describe('kinds of reserved regions (03 §5.5)', () => {
  const attachWith = (...regions: ReturnType<typeof region>[]) => {
    const bench = new Bench()
    bench.ioas()
    const a = bench.bind(bench.iommu.device('A', { regions }))
    return { bench, a, outcome: bench.attach(a, 1) }
  }

  it('ignores relaxable ones and reserves the others, overlaps included', () => {
    const { bench } = attachWith(
      region('direct-relaxable', 0n, 0x100_0000n),
      region('reserved', 0x8000n, 0x2000n),
      region('reserved', 0x9000n, 0x2000n),
    )
    expect(bench.ranges(1).ranges).toEqual([
      [0n, 0x7fffn],
      [0xb000n, 0xffff_ffff_ffffn],
    ])
  })

  it('refuses contradicting MSI windows', () => {
    const software = region('sw-msi', 0x800_0000n, 0x10_0000n)
    expect(attachWith(MSI, software).outcome).toBe('EINVAL')
    expect(attachWith(software, software).outcome).toBe('EINVAL')
    expect(attachWith(MSI, MSI).outcome).toBe(3)
  })

  it('fails where the taking is made to fail, and leaves nothing', () => {
    const bench = new Bench()
    bench.ioas()
    const a = bench.bind(bench.iommu.device('A'))
    const call = bench.program.call()
    bench.program.injector.arm(1, 1, ['reserve-regions'])
    expect(outcomeOf(attachDevice(call, a, 1))).toBe('EINVAL')
    bench.program.injector.arm(1, 1, ['look-up-object'])
    expect(outcomeOf(attachDevice(call, a, 1))).toBe('ENOENT')
    expect(bench.objects()).toEqual(['ioas 1', 'device 2'])
    expect(attachDevice(call, a, 1)).not.toBeInstanceOf(Refusal)
    detachDevice(a)
  })
})
