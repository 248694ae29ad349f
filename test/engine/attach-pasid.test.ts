import { describe, expect, it } from 'vitest'
import { pasid } from '../../src/abi/brands.ts'
import { attachPasid } from '../../src/engine/attach-pasid.ts'
import { outcomeOf } from './support/program.ts'
import { Bench } from './support/setup.ts'
import { TestDriver, TestIommu } from './support/test-iommu.ts'

const setUp = () => {
  const bench = new Bench()
  bench.ioas()
  const device = bench.bind(bench.iommu.device('A'))
  const plain = Number(bench.hwpt({ dev: 2, pt: 1 }))
  const first = Number(bench.hwpt({ dev: 2, pt: 1, flags: 8 }))
  const second = Number(bench.hwpt({ dev: 2, pt: 1, flags: 8 }))
  return { bench, device, plain, first, second }
}

describe('PASIDs (03 §6)', () => {
  it('example 14: RID and PASIDs must agree on compatibility', () => {
    const { bench, device: a } = setUp()
    expect(bench.objects().slice(-3)).toEqual(['hwpt-paging 3', 'hwpt-paging 4', 'hwpt-paging 5'])
    expect(bench.attach(a, 3)).toBe(3)
    expect(bench.attachPasid(a, 100, 4)).toBe('EINVAL')
    expect(bench.attach(a, 4)).toBe(4)
    expect(bench.attachPasid(a, 100, 4)).toBe(4)
    const { ranges } = bench.ranges(1)
    expect(bench.attachPasid(a, 100, 5)).toBe(5)
    expect(bench.attachPasid(a, 100, 3)).toBe('EINVAL')
    expect(a.hwptOfPasid(pasid(100))?.id).toBe(5)
    expect(bench.ranges(1).ranges).toEqual(ranges)
    expect(bench.attach(a, 3)).toBe('EINVAL')
    expect(bench.ranges(1).ranges).toEqual([[0n, 0xffff_ffff_ffffn]])
    expect(bench.attach(a, 1)).toBe('EINVAL')
    expect(bench.attachPasid(a, 101, 1)).toBe('EINVAL')
    expect(bench.attachPasid(a, 0x100000, 4)).toBe('EINVAL')
    expect(bench.destroy(5)).toBe('EBUSY')
    bench.detachPasid(a, 100)
    bench.detachPasid(a, 100)
    expect(bench.destroy(5)).toBe(0)
    expect(bench.attach(a, 3)).toBe(3)
    bench.detach(a)
    expect(bench.attachPasid(a, 7, 4)).toBe(4)
    expect(bench.attach(a, 1)).toBe('EINVAL')
    expect(bench.attach(a, 4)).toBe(4)
    expect(bench.ranges(1).ranges).toHaveLength(2)
    expect(outcomeOf(attachPasid(bench.program.call(), a, pasid(0), 4))).toBe('EBUSY')
  })

  it('example 15: a second attach is EBUSY, before compatibility, also to an IOAS', () => {
    const { bench, device, plain, first } = setUp()
    const attach = (pt: number) =>
      outcomeOf(attachPasid(bench.program.call(), device, pasid(100), pt))
    expect(attach(first)).toBe(0)
    expect([attach(first), attach(plain), attach(1)]).toEqual(['EBUSY', 'EBUSY', 'EBUSY'])
    expect(bench.objects()).toHaveLength(5)
  })

  it('goes to every member that has PASIDs, and skips the others', () => {
    const bench = new Bench()
    bench.ioas()
    const group = bench.iommu.newGroup()
    const a = bench.bind(bench.iommu.device('A', { group }))
    const none = bench.bind(bench.iommu.device('B', { group, maxPasids: 0 }))
    const hwpt = Number(bench.hwpt({ dev: a.id, pt: 1, flags: 8 }))
    const other = Number(bench.hwpt({ dev: a.id, pt: 1, flags: 8 }))
    const from = bench.driver.log.length
    expect(bench.attachPasid(a, 7, hwpt)).toBe(hwpt)
    expect(bench.attachPasid(none, 7, other)).toBe('EINVAL')
    expect(bench.attachPasid(none, 7, hwpt)).toBe(hwpt)
    // Replace through one moves the PASID of the whole group.
    expect(bench.attachPasid(none, 7, other)).toBe(other)
    expect(a.hwptOfPasid(pasid(7))?.id).toBe(other)
    bench.detachPasid(a, 7)
    bench.detachPasid(none, 7)
    expect(bench.driver.log.slice(from)).toEqual(['pasid A.7', 'pasid A.7', 'blocked A.7'])
    expect([bench.destroy(hwpt), bench.destroy(other)]).toEqual([0, 0])
  })

  it('accepts every number where nobody has PASIDs, and still binds the RID to the rule', () => {
    const bench = new Bench()
    bench.ioas()
    const a = bench.bind(bench.iommu.device('A', { maxPasids: 0 }))
    const hwpt = Number(bench.hwpt({ dev: a.id, pt: 1, flags: 8 }))
    expect(bench.attachPasid(a, 0x7fff_ffff, hwpt)).toBe(hwpt)
    expect(bench.driver.log.filter((line) => line.startsWith('pasid'))).toEqual([])
    expect([bench.destroy(hwpt), bench.attach(a, 1)]).toEqual(['EBUSY', 'EINVAL'])
    bench.detachPasid(a, 0x7fff_ffff)
    expect(bench.destroy(hwpt)).toBe(0)
  })

  it('refuses any PASID from 1 on where a member handles only one', () => {
    const { bench, first } = setUp()
    const one = bench.bind(bench.iommu.device('B', { maxPasids: 1 }))
    expect(bench.attachPasid(one, 1, first)).toBe('EINVAL')
  })

  it('puts members back when a later one refuses', () => {
    const bench = new Bench()
    bench.ioas()
    const group = bench.iommu.newGroup()
    const a = bench.bind(bench.iommu.device('A', { group }))
    bench.iommu.device('B', { group })
    const hwpt = Number(bench.hwpt({ dev: a.id, pt: 1, flags: 8 }))
    bench.driver.refuseAttach = (what) => (what === 'pasid B.9' ? 'ENOMEM' : undefined)
    expect(bench.attachPasid(a, 9, hwpt)).toBe('ENOMEM')
    expect(bench.driver.log.slice(-3)).toEqual(['pasid A.9', 'pasid B.9 ENOMEM', 'blocked A.9'])
    expect([a.hwptOfPasid(pasid(9)), bench.destroy(hwpt)]).toEqual([undefined, 0])
  })

  it('is EOPNOTSUPP where the page table has no PASID operation', () => {
    const bench = new Bench(new TestIommu(new TestDriver({ noPasids: true })))
    bench.ioas()
    const a = bench.bind(bench.iommu.device('A'))
    const hwpt = Number(bench.hwpt({ dev: a.id, pt: 1, flags: 8 }))
    expect(bench.attachPasid(a, 7, hwpt)).toBe('EOPNOTSUPP')
  })

  it('answers DMA of a PASID by its own table entry or not at all (03 §14.6)', () => {
    const { bench, device, first, second } = setUp()
    bench.attach(device, first)
    bench.attachPasid(device, 7, second)
    const { group } = device
    expect(group.translation()).toBe(bench.domain(first))
    expect(group.translation(pasid(7))).toBe(bench.domain(second))
    expect(group.translation(pasid(8))).toBe(bench.driver.blockedDomain)
  })

  it('is detached with the device, PASIDs first', () => {
    const { bench, device, first } = setUp()
    bench.attach(device, first)
    bench.attachPasid(device, 9, first)
    bench.attachPasid(device, 3, first)
    const from = bench.driver.log.length
    bench.unbind(device)
    expect(bench.driver.log.slice(from)).toEqual([
      'blocked A.3',
      'blocked A.9',
      'blocked A',
      'identity A',
    ])
    expect(bench.destroy(first)).toBe(0)
  })
})
