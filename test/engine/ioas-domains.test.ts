/** Domains, limits and cuts: the worked examples of 01 §22 that need a page table in this process. */
import { describe, expect, test } from 'vitest'
import { anonymous } from '../../conformance/doors/simulated-memory.ts'
import { byteLength, iova } from '../../src/abi/brands.ts'
import type { EngineEvent } from '../../src/engine/events.ts'
import { B, IoasWorld, Link, must, outcome, TestProcess } from './support/ioas-world.ts'
import { PageDomain } from './support/page-domain.ts'

const areasOf = (ioas: ReturnType<IoasWorld['ioas']>): [bigint, bigint][] => {
  const areas: [bigint, bigint][] = []
  ioas.forEachArea(({ start, last }) => areas.push([start, last]))
  return areas
}

describe('01 §22.15 memlock limit, per-user mode', () => {
  const prepared = () => {
    const world = new IoasWorld()
    world.process.memlock = 65536n
    return { world, ioas: world.ioas() }
  }

  test('with a domain', () => {
    const { world, ioas } = prepared()
    world.join(ioas)
    expect(outcome(world.map(ioas, 0n, B, 0x1_0000n))).toBe('ok')
    const space = world.process.addressSpace
    expect(world.machine.lockedMemory.ofSpace(space)).toEqual({ pinned: 16, locked: 0 })
    expect(outcome(world.map(ioas, 0x10_0000n, B + 0x10_0000n, 0x1000n))).toBe('ENOMEM')
    const copied = ioas.copy(world.process.caller, {
      from: ioas,
      sourceIova: iova(0n),
      length: byteLength(0x1_0000n),
      iova: iova(0x20_0000n),
      flags: 3,
    })
    expect(outcome(copied)).toBe('ok')
    expect(world.unmap(ioas, 0n, 0x1_0000n)).toBe('ok')
    expect(outcome(world.map(ioas, 0x10_0000n, B + 0x10_0000n, 0x1000n))).toBe('ENOMEM')
    expect(world.unmap(ioas, 0x20_0000n, 0x1_0000n)).toBe('ok')
    expect(outcome(world.map(ioas, 0x10_0000n, B + 0x10_0000n, 0x1000n))).toBe('ok')
    expect(world.machine.lockedMemory.ofUser(1000)).toBe(1)
  })

  test('without a domain nothing is charged until one joins', () => {
    const { world, ioas } = prepared()
    expect(outcome(world.map(ioas, 0n, B, 0x1_0000n))).toBe('ok')
    expect(outcome(world.map(ioas, 0x10_0000n, B + 0x10_0000n, 0x1000n))).toBe('ok')
    const link = new Link()
    expect(outcome(ioas.addDomain(world.process.caller, link))).toBe('ENOMEM')
    expect(link.domain.units.size).toBe(0)
    expect(ioas.alignment).toBe(1)
    expect(world.machine.frames.isEmpty).toBe(true)
    expect(world.machine.lockedMemory.ofUser(1000)).toBe(0)
  })

  test('per-process mode counts with mlock and shows as VmLck', () => {
    const { world, ioas } = prepared()
    world.context.accounting = 'process'
    world.join(ioas)
    world.process.mlocked = 0x1000n
    expect(outcome(world.map(ioas, 0n, B, 0x1_0000n))).toBe('ENOMEM')
    expect(outcome(world.map(ioas, 0n, B, 0xf000n))).toBe('ok')
    const space = world.process.addressSpace
    expect(world.machine.lockedMemory.ofSpace(space)).toEqual({ pinned: 15, locked: 15 })
    expect(world.machine.lockedMemory.ofUser(1000)).toBe(0)
  })

  test('CAP_IPC_LOCK counts when mapping, not when pinning', () => {
    const { world, ioas } = prepared()
    world.process.capabilities.add('CAP_IPC_LOCK')
    must(world.map(ioas, 0n, B, 0x2_0000n))
    world.process.capabilities.delete('CAP_IPC_LOCK')
    world.join(ioas)
    const space = world.process.addressSpace
    expect(world.machine.lockedMemory.ofSpace(space)).toEqual({ pinned: 32, locked: 0 })
    expect(world.machine.lockedMemory.isEmpty).toBe(true)
  })
})

test('01 §22.18 munmap with and without a domain', () => {
  for (const linked of [false, true]) {
    const world = new IoasWorld()
    const ioas = world.ioas()
    const first = linked ? world.join(ioas) : new Link()
    must(world.map(ioas, 0x100_0000n, B, 0x1000n))
    world.process.fill(B, 1, 1)
    world.process.munmap(B, 0x1000n)
    world.process.mmap(B, 0x1000n)
    world.process.fill(B, 2, 1)
    const seen = linked ? first : world.join(ioas)
    expect(world.dmaRead(seen, 0x100_0000n)).toBe(linked ? 1 : 2)
    if (linked) continue
    ioas.removeDomain(seen)
    world.process.munmap(B, 0x1000n)
    expect(outcome(ioas.addDomain(world.process.caller, new Link()))).toBe('EFAULT')
  }
})

test('01 §22.16 a second domain gets the pages of a process that is gone', () => {
  const world = new IoasWorld()
  const ioas = world.ioas()
  const child = new TestProcess(2)
  child.mmap(B, 0x1_0000n)
  child.fill(B, 0x44, 0x1_0000)
  world.join(ioas)
  must(world.map(ioas, 0x100_0000n, B, 0x1_0000n, { process: child }))
  child.exit()
  const second = world.join(ioas)
  expect(world.dmaRead(second, 0x100_ffffn)).toBe(0x44)
  expect(outcome(world.map(ioas, 0n, B, 0x1000n, { process: child }))).toBe('EFAULT')
  expect(world.unmap(ioas, 0x100_0000n, 0x1_0000n)).toBe('ok')
  expect(world.machine.lockedMemory.ofUser(1000)).toBe(0)
})

test('01 §22.22 cut', () => {
  const events: EngineEvent[] = []
  const world = new IoasWorld({ observer: { event: (event) => events.push(event) } })
  const ioas = world.ioas()
  must(ioas.setLargePages(false))
  const { domain } = world.join(ioas)
  must(world.map(ioas, 0x100_0000n, B, 0x1_0000n))
  const before = new Map(domain.units)
  expect(outcome(ioas.cut([iova(0x100_4fffn), iova(0x100_3fffn)]))).toBe('ok')
  expect(areasOf(ioas)).toEqual([
    [0x100_0000n, 0x100_3fffn],
    [0x100_4000n, 0x100_4fffn],
    [0x100_5000n, 0x100_ffffn],
  ])
  expect(domain.units).toEqual(before)
  expect(events.filter(({ type }) => type === 'area-split')).toHaveLength(2)
  expect(ioas.unmap({ start: iova(0x100_4000n), last: iova(0x100_4fffn) })).toEqual({
    removed: 0x1000n,
  })
  expect(outcome(ioas.cut([iova(0x100_6800n)]))).toBe('EINVAL')
  expect(outcome(ioas.cut([iova(0x200_0000n)]))).toBe('ok')
  expect(outcome(ioas.cut([iova(0x100_ffffn)]))).toBe('ok')
  expect(areasOf(ioas)).toHaveLength(2)
  expect(world.machine.lockedMemory.ofUser(1000)).toBe(15)
})

describe('runs', () => {
  test('huge pages are mapped as one run each, ordinary pages one by one', () => {
    const world = new IoasWorld()
    const ioas = world.ioas()
    const { domain } = world.join(ioas, new Link(new PageDomain(0x20_1000n)))
    const huge = 0x7e00_0000_0000n
    world.process.mmap(huge, 0x40_0000n, anonymous(512))
    must(world.map(ioas, 0x4000_0000n, huge + 0x1000n, 0x3f_f000n))
    expect(domain.calls).toEqual([
      [0x4000_0000n, 0x1f_f000n],
      [0x401f_f000n, 0x20_0000n],
    ])
    expect(domain.iovaToPhys(iova(0x401f_f000n))).toSatisfy(
      (phys: bigint) => phys % 0x20_0000n === 0n,
    )
    domain.calls.length = 0
    must(world.map(ioas, 0x1000n, B, 0x3000n))
    expect(domain.calls).toHaveLength(3)
    const phys = [0x1000n, 0x2000n, 0x3000n].map((at) => domain.iovaToPhys(iova(at)) ?? 0n)
    expect((phys[1] ?? 0n) - (phys[0] ?? 0n)).not.toBe(0x1000n)
  })

  test('a domain that refuses in the middle leaves no domain with anything', () => {
    const world = new IoasWorld()
    const ioas = world.ioas()
    const first = world.join(ioas)
    const second = world.join(ioas)
    second.domain.mapsLeft = 3
    expect(outcome(world.map(ioas, 0n, B, 0x1_0000n))).toBe('ENOMEM')
    expect(first.domain.units.size + second.domain.units.size).toBe(0)
    expect(areasOf(ioas)).toEqual([])
    expect(world.machine.frames.isEmpty).toBe(true)
    expect(world.machine.lockedMemory.isEmpty).toBe(true)
  })
})

test('whoever listens may look at the address space while it changes', () => {
  const seen: string[] = []
  const world = new IoasWorld({
    observer: {
      event: ({ type }) => {
        if (type.startsWith('area-')) seen.push(`${type}: ${areasOf(ioas).length} left`)
      },
    },
  })
  const ioas = world.ioas()
  world.join(ioas)
  for (const at of [0x1000n, 0x2000n, 0x3000n]) must(world.map(ioas, at, B, 0x1000n))
  expect(world.unmap(ioas, 0x1000n, 0x2000n)).toBe('ok')
  must(world.map(ioas, 0x1000n, B, 0x1000n))
  expect(ioas.unmapAll()).toEqual({ removed: 0x2000n })
  expect(seen).toEqual([
    'area-mapped: 1 left',
    'area-mapped: 2 left',
    'area-mapped: 3 left',
    'area-unmapped: 2 left',
    'area-unmapped: 1 left',
    'area-mapped: 2 left',
    'area-unmapped: 0 left',
    'area-unmapped: 0 left',
  ])
})

test('a refusal says what it collided with', () => {
  const world = new IoasWorld()
  const ioas = world.ioas()
  must(world.map(ioas, 0x1_0000n, B, 0x2000n))
  ioas.reserve(
    { toString: () => 'device 2' },
    { start: iova(0xfee0_0000n), last: iova(0xfeef_ffffn) },
  )
  const said = (result: unknown): string =>
    result instanceof Object && 'say' in result && typeof result.say === 'function'
      ? result.say()
      : ''
  expect(said(world.map(ioas, 0x1_1000n, B, 0x1000n))).toBe(
    'the range [0x11000, 0x11fff] meets the area [0x10000, 0x11fff] of memory of process 1 (test) at 0x7f0000000000',
  )
  expect(said(world.map(ioas, 0xfedf_f000n, B, 0x2000n))).toBe(
    'the range [0xfedff000, 0xfee00fff] meets [0xfee00000, 0xfeefffff] (a reserved region), which device 2 reserves',
  )
})
