/** Accesses that behave and some that do not: worked examples of 04 §12 that no ioctl reaches. */
import { describe, expect, test } from 'vitest'
import { byteLength, iova } from '../../src/abi/brands.ts'
import { Access } from '../../src/engine/access.ts'
import type { EngineEvent } from '../../src/engine/events.ts'
import { Refusal } from '../../src/engine/reason.ts'
import { B, IoasWorld, must, outcome, TestProcess } from './support/ioas-world.ts'

const X = 0x100_0000n
const page = byteLength(0x1000n)
const all = [0n, 0xffff_ffff_ffff_ffffn] as const

test('04 E25: a driver that ignores notifications', () => {
  const world = new IoasWorld()
  const ioas = world.ioas()
  let callbacks = 0
  const access = world.access(ioas, () => {
    callbacks += 1
  })
  must(world.map(ioas, X, B, 0x2000n))
  const { caller } = world.process
  must(access.pin(caller, iova(X), page, true))
  expect(world.unmap(ioas, X, 0x2000n)).toBe('EDEADLK')
  expect(callbacks).toBe(101)
  expect(outcome(access.pin(caller, iova(X), page, true))).toBe('EINVAL')
  const by = { space: world.process.addressSpace }
  expect(outcome(access.read(caller, by, iova(X + 0x1000n), new Uint8Array(4)))).toBe('EINVAL')
  expect(outcome(world.map(ioas, X, B, 0x1000n))).toBe('EEXIST')
  const link = world.join(ioas)
  world.process.fill(B, 7, 1)
  expect(world.dmaRead(link, X)).toBe(7)
  expect(access.unpin(iova(X), page)).toBe(true)
  expect(world.unmap(ioas, X, 0x2000n)).toBe('ok')
})

describe('04 E26: adjoining pinned areas', () => {
  const unmapAreas = (count: number, gapAfter?: number) => {
    const world = new IoasWorld()
    const ioas = world.ioas()
    const pins = new Set<bigint>()
    const access = world.access(ioas, (self, start, length) => {
      for (const pin of pins)
        if (pin >= start && pin < start + length && pins.delete(pin))
          expect(self.unpin(iova(pin), page)).toBe(true)
    })
    let at = X
    for (let i = 0; i < count; i += 1) {
      must(world.map(ioas, at, B, 0x1000n))
      must(access.pin(world.process.caller, iova(at), page, false))
      pins.add(at)
      at += i === gapAfter ? 0x2000n : 0x1000n
    }
    const result = world.unmap(ioas, X, at - X)
    const left: [bigint, number][] = []
    ioas.forEachArea(({ start, accessPins }) => left.push([start, accessPins]))
    return { world, ioas, result, left }
  }

  test('100 are unmapped', () => {
    expect(unmapAreas(100)).toMatchObject({ result: 'ok', left: [] })
  })

  test('of 101 the last is left, without pins', () => {
    const { world, ioas, result, left } = unmapAreas(101)
    expect(result).toBe('EDEADLK')
    expect(left).toEqual([[X + 100n * 0x1000n, 0]])
    expect(world.unmap(ioas, X + 100n * 0x1000n, 0x1000n)).toBe('ok')
  })

  test('a gap makes the rounds count anew', () => {
    expect(unmapAreas(101, 50)).toMatchObject({ result: 'ok', left: [] })
  })
})

test('04 §2.7: every external access is told, in slot order, with the bounds of the area', () => {
  const world = new IoasWorld()
  const ioas = world.ioas()
  const told: [string, bigint, bigint][] = []
  const first = world.access(ioas, (_, start, length) => told.push(['first', start, length]))
  const second = world.access(ioas, (self, start, length) => {
    told.push(['second', start, length])
    self.unpin(iova(X), page)
  })
  const internal = must(
    Access.create(
      world.context,
      { name: 'queue', pins: true, unmap: () => told.push(['internal', 0n, 0n]) },
      { internal: true },
    ),
  )
  must(internal.attachTo(ioas))
  must(world.map(ioas, X, B, 0x2000n))
  must(world.map(ioas, X + 0x2000n, B, 0x2000n))
  must(second.pin(world.process.caller, iova(X), page, true))
  expect(world.unmap(ioas, 0n, 0x1_0000_0000n)).toBe('ok')
  expect(told).toEqual([
    ['first', X, 0x2000n],
    ['second', X, 0x2000n],
  ])
  first.destroy()
  expect(told.at(-1)).toEqual(['first', ...all])
})

test('01 §15.1 step 2: a pin by an internal access locks its area', () => {
  const world = new IoasWorld()
  const ioas = world.ioas()
  const queue = must(
    Access.create(world.context, { name: 'queue', pins: true }, { internal: true }),
  )
  must(queue.attachTo(ioas))
  must(world.map(ioas, X, B, 0x1000n))
  must(world.map(ioas, X + 0x1000n, B, 0x1000n))
  must(queue.pin(world.process.caller, iova(X + 0x1000n), page, false))
  const { refusal, removed } = ioas.unmap({ start: iova(X), last: iova(X + 0x1fffn) })
  expect(removed).toBe(0x1000n)
  expect(refusal?.code).toBe('area-locked')
  expect(queue.unpin(iova(X + 0x1000n), page)).toBe(true)
  expect(world.unmap(ioas, X, 0x2000n)).toBe('ok')
  queue.destroy()
})

test('04 E24: replace', () => {
  const world = new IoasWorld()
  const [one, two, three] = [world.ioas(), world.ioas(), world.ioas()]
  const told: [bigint, bigint][] = []
  const duringMove: string[] = []
  const { caller } = world.process
  const access = world.access(one, (self, start, length) => {
    told.push([start, length])
    duringMove.push(outcome(self.pin(caller, iova(X), page, true)))
    expect(self.unpin(iova(X), page)).toBe(true)
  })
  must(world.map(one, X, B, 0x1000n))
  must(world.map(two, X, B, 0x1000n))
  must(world.map(three, X, B + 0x800n, 0x1000n))
  must(access.pin(caller, iova(X), page, true))
  expect(outcome(access.replace(caller, one.id))).toBe('ok')
  expect(outcome(access.replace(caller, 99))).toBe('ENOENT')
  expect(outcome(access.replace(caller, three.id))).toBe('EADDRINUSE')
  expect(told).toEqual([])
  expect(access.ioas).toBe(one)
  expect(outcome(access.replace(caller, two.id))).toBe('ok')
  expect(told).toEqual([all])
  expect(duringMove).toEqual(['ENOENT'])
  expect(outcome(world.context.objects.removeUnused(one, 'destroy'))).toBe('ok')
  expect(outcome(world.context.objects.removeUnused(two, 'destroy'))).toBe('EBUSY')
})

test('04 E27: the owner is gone', () => {
  const world = new IoasWorld()
  const ioas = world.ioas()
  const child = new TestProcess(2)
  child.mmap(B, 0x2000n)
  child.fill(B, 9, 0x2000)
  must(world.map(ioas, X, B, 0x2000n, { process: child }))
  const access = world.access(ioas)
  const by = { space: world.process.addressSpace }
  const { caller } = world.process
  child.exit()
  expect(outcome(access.read(caller, by, iova(X), new Uint8Array(16)))).toBe('EFAULT')
  expect(outcome(access.pin(caller, iova(X), page, true))).toBe('EFAULT')
})

test('04 §3.4: pages that are recorded outlive their owner and what it maps since', () => {
  const world = new IoasWorld()
  const ioas = world.ioas()
  const child = new TestProcess(2)
  child.mmap(B, 0x2000n)
  child.fill(B, 0x11, 0x2000)
  must(world.map(ioas, X, B, 0x2000n, { process: child }))
  const access = world.access(ioas, (self) => self.unpin(iova(X), page))
  const { caller } = world.process
  must(access.pin(caller, iova(X), page, true))
  child.mmap(B, 0x2000n)
  child.fill(B, 0x22, 0x2000)
  const read = (at: bigint, length: number, by: TestProcess): number[] => {
    const bytes = new Uint8Array(length)
    must(access.read(caller, { space: by.addressSpace }, iova(at), bytes))
    return [bytes[0] ?? 0, bytes[length - 1] ?? 0]
  }
  // Its own thread sees its addresses; another process a page at a time, or what is recorded.
  expect(read(X, 0x2000, child)).toEqual([0x22, 0x22])
  expect(read(X, 16, world.process)).toEqual([0x22, 0x22])
  expect(read(X, 0x2000, world.process)).toEqual([0x11, 0x22])
  child.exit()
  expect(read(X, 16, world.process)).toEqual([0x11, 0x11])
  const rest = access.read(
    caller,
    { space: world.process.addressSpace },
    iova(X),
    new Uint8Array(0x2000),
  )
  expect(rest instanceof Refusal && rest.code).toBe('address-space-gone')
})

test('01 §22.24, 04 §2.2: an access keeps its context alive', () => {
  const world = new IoasWorld()
  const ioas = world.ioas()
  const link = world.join(ioas)
  must(world.map(ioas, X, B, 0x1000n))
  world.process.fill(B, 5, 1)
  const access = world.access(ioas)
  world.context.release()
  expect(world.context.released).toBe(false)
  expect(world.dmaRead(link, X)).toBe(5)
  access.destroy()
  expect(world.context.released).toBe(true)
  expect(world.machine.frames.isEmpty).toBe(true)
})

test('events tell where accesses are, what they pin, and what then rules the address space', () => {
  const events: EngineEvent[] = []
  const world = new IoasWorld({ observer: { event: (event) => events.push(event) } })
  const ioas = world.ioas()
  must(world.map(ioas, X, B, 0x1000n))
  const access = world.access(ioas, (self) => self.unpin(iova(X), page))
  must(access.pin(world.process.caller, iova(X), page, true))
  access.destroy()
  const told = events.filter(({ type }) => /^access-|^ioas-rules/.test(type))
  expect(told.map(({ type }) => type)).toEqual([
    'ioas-rules',
    'access-attached',
    'access-pinned',
    'access-unpinned',
    'ioas-rules',
    'access-detached',
  ])
  expect(told[0]).toMatchObject({
    ioas: ioas.id,
    alignment: 4096,
    largePages: true,
    usable: [{ start: 0n, last: 0xffff_ffff_ffff_ffffn }],
    allowed: [],
  })
  expect(told[2]).toMatchObject({ access: access.id, ioas: ioas.id, iova: X, length: 0x1000n })
})
