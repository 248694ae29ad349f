/** What the engine refuses beside the worked examples, each for its own reason. */
import { describe, expect, test } from 'vitest'
import { byteLength, fd, fileOffset, iova, userVa } from '../../src/abi/brands.ts'
import { IOMMU_IOAS_MAP_FILE } from '../../src/abi/iommufd/ioas.ts'
import { Access } from '../../src/engine/access.ts'
import { replaceDevice } from '../../src/engine/attach.ts'
import { Ioas } from '../../src/engine/ioas.ts'
import { TestDmaBuf } from '../../src/iommu/test/test-dma-buf.ts'
import { SimulatedMachine } from '../../src/library/simulated-machine.ts'
import { reasonsOf } from '../reached.ts'
import { B, IoasWorld, Link, must, outcome } from './support/ioas-world.ts'
import { PageDomain } from './support/page-domain.ts'
import { Bench } from './support/setup.ts'

const X = 0x100_0000n
const page = byteLength(0x1000n)

describe('accesses (04 §2)', () => {
  test('attaching one that is attached, or just being moved', () => {
    const world = new IoasWorld()
    const ioas = world.ioas()
    const other = world.ioas()
    let moved: readonly string[] = []
    const access = world.access(ioas, (self) => {
      moved = reasonsOf(() => self.attachTo(ioas))
    })
    expect(reasonsOf(() => access.attachTo(other))).toEqual(['access-attached-already'])
    must(access.replace(world.process.caller, other.id))
    expect(moved).toEqual(['access-in-transition'])
  })

  test('one that did not say that it pins may not', () => {
    const world = new IoasWorld()
    const access = must(Access.create(world.context, { name: 'reader', pins: false }))
    must(access.attachTo(world.ioas()))
    const pin = () => access.pin(world.process.caller, iova(X), page, true)
    expect(reasonsOf(pin)).toEqual(['access-may-not-pin'])
  })

  test('65536 are the most', () => {
    const world = new IoasWorld()
    const ioas = world.ioas()
    const access = world.access(ioas)
    while (ioas.accesses.length < 65536) ioas.accesses.push(access)
    const one = must(Access.create(world.context, { name: 'one more', pins: false }))
    expect(reasonsOf(() => one.attachTo(ioas))).toEqual(['too-many-accesses'])
  })

  test('memory that is gone cannot be copied', () => {
    const world = new IoasWorld()
    const ioas = world.ioas()
    const access = world.access(ioas)
    must(world.map(ioas, X, B, 0x2000n))
    world.process.munmap(B, 0x2000n)
    const by = { space: world.process.addressSpace }
    const read = () => access.read(world.process.caller, by, iova(X), new Uint8Array(0x2000))
    expect(reasonsOf(read)).toEqual(['copy-faults'])
  })

  test('an area that waits for its unmap is not cut', () => {
    const world = new IoasWorld()
    const ioas = world.ioas()
    let cut: readonly string[] = []
    const access = world.access(ioas, () => {
      cut = reasonsOf(() => ioas.cut([iova(X + 0xfffn)]))
    })
    must(world.map(ioas, X, B, 0x2000n))
    must(access.pin(world.process.caller, iova(X), page, true))
    expect(world.unmap(ioas, X, 0x2000n)).toBe('EDEADLK')
    expect(cut).toEqual(['cut-while-unmapping'])
  })
})

test('01 §7.1: a page table without pages as small as the CPU has them', () => {
  const world = new IoasWorld()
  const link = new Link(new PageDomain(0x1_0000n))
  const join = () => world.ioas().addDomain(world.process.caller, link)
  expect(reasonsOf(join)).toEqual(['smallest-page-too-large'])
})

test('03 §5.7: only what is attached is replaced', () => {
  const bench = new Bench()
  const device = bench.bind(bench.iommu.device('d0'))
  const replace = () => replaceDevice(bench.program.call(), device, bench.ioas())
  expect(reasonsOf(replace)).toEqual(['device-not-attached'])
})

test('01 §13.1: a file of ours has no pages to give', () => {
  const bench = new Bench()
  const device = bench.bind(bench.iommu.device('d0'))
  const ioas_id = bench.ioas()
  bench.attach(device, ioas_id)
  const map = () =>
    bench.program.ioctl(bench.context, IOMMU_IOAS_MAP_FILE, {
      flags: 6,
      ioas_id,
      fd: fd(3),
      start: fileOffset(0n),
      length: page,
    })
  expect(reasonsOf(map)).toEqual(['file-not-pinnable'])
})

test('01 §13.2, 04 §2.5: what shows a dma-buf is for devices alone, and is not cut', () => {
  const bench = new Bench()
  const ioas_id = bench.ioas()
  const file = new TestDmaBuf(2, 'read-write')
  const number = must(bench.program.install(file))
  const args = { flags: 7, ioas_id, fd: number, start: fileOffset(0n), iova: iova(X) }
  bench.program.must(bench.context, IOMMU_IOAS_MAP_FILE, { ...args, length: byteLength(0x2000n) })
  const ioas = must(bench.context.objects.find(ioas_id, Ioas, 'IOAS'))
  expect(reasonsOf(() => ioas.cut([iova(X + 0xfffn)]))).toEqual(['cut-of-dma-buf'])
  const access = must(Access.create(bench.context, { name: 'reader', pins: false }))
  must(access.attachTo(ioas))
  const by = { space: bench.program.process.addressSpace }
  const read = () => access.read(bench.program.call(), by, iova(X), new Uint8Array(4))
  expect(reasonsOf(read)).toEqual(['area-is-dma-buf'])
})

test("the library's memory has edges", () => {
  const machine = new SimulatedMachine()
  const take = () => machine.memory.take(5, 1)
  expect(reasonsOf(take)).toEqual(['no-memory-there'])
  expect(outcome(take())).toBe('EFAULT')
  expect(machine.memory.read(userVa(0x5000n), 1)).toHaveLength(0)
})
