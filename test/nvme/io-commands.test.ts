/** I/O commands and their data pointers: 06 §14.5, §14.11, and the worked example E28. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ImageFailure } from '../../src/devices/nvme/image.ts'
import { BUFFER, ControllerWorld } from './controller-world.ts'

const FLUSH = 0
const WRITE = 1
const READ = 2
const WRITE_ZEROES = 8
const DSM = 9
const PAGE = 4096

const withQueues = (blocks?: number): ControllerWorld => {
  const world = new ControllerWorld(blocks)
  world.enable()
  world.createQueues()
  return world
}
/** cdw10 to cdw12 of so many blocks from `first` on. */
const blocks = (first: number, count: number): number[] => [
  first % 2 ** 32,
  Math.floor(first / 2 ** 32),
  count - 1,
]

describe('E28: errors', () => {
  test.each([
    ['a namespace that is not there', { nsid: 2, dwords: blocks(0, 1) }, 0x400b],
    ['all namespaces', { nsid: 0xffff_ffff, dwords: blocks(0, 1) }, 0x400b],
    ['a block behind the last', { dwords: blocks(131072, 1) }, 0x4080],
    ['blocks of which the last is not there', { dwords: blocks(131071, 2) }, 0x4080],
    ['a block far beyond', { dwords: blocks(2 ** 63, 1) }, 0x4080],
    ['more than the largest transfer', { dwords: blocks(0, 2048) }, 0x4002],
    ['memory that is not mapped', { prp1: 0x90_0000, dwords: blocks(0, 1) }, 0x4004],
    ['an address that is not dword-aligned', { prp1: BUFFER + 2, dwords: blocks(0, 1) }, 0x4013],
    [
      'a second page that does not start at 0',
      { prp1: BUFFER, prp2: BUFFER + PAGE + 4, dwords: blocks(0, 16) },
      0x4013,
    ],
    ['a list that is not mapped', { prp2: 0x90_0000, dwords: blocks(0, 24) }, 0x4004],
    ['a list at an odd address', { prp2: BUFFER + 4, dwords: blocks(0, 24) }, 0x4013],
    ['SGLs', { flags: 0x40, dwords: blocks(0, 1) }, 0x4002],
  ])('a read with %s', (_what, command, status) => {
    const world = withQueues(131072)
    expect(world.ioStatus({ opcode: READ, prp1: BUFFER, ...command })).toBe(status)
  })

  test('the status is in DW3, above the phase', () => {
    const world = withQueues(131072)
    const read = { opcode: READ, prp1: BUFFER, id: 0x77 }
    expect(world.do(world.io, { ...read, nsid: 2 })[3]).toBe(0x8017_0077)
    expect(world.do(world.io, { ...read, nsid: 1, dwords: blocks(131072, 1) })[3]).toBe(0x8101_0077)
    expect(world.do(world.io, { ...read, nsid: 1, dwords: blocks(0, 2048) })[3]).toBe(0x8005_0077)
  })

  test('unknown opcodes, Compare among them', () => {
    const world = withQueues()
    for (const opcode of [0x03, 0x04, 0x05, 0x0c, 0x0d, 0x7f])
      expect(world.ioStatus({ opcode })).toBe(0x4001)
  })

  test('a flush of all namespaces succeeds', () => {
    const world = withQueues()
    expect(world.ioStatus({ opcode: FLUSH, nsid: 0xffff_ffff })).toBe(0)
    expect(world.ioStatus({ opcode: FLUSH, nsid: 0 })).toBe(0x400b)
    expect(world.image.flushes).toBe(1)
  })
})

describe('data', () => {
  test('a read needs write permission, a write only read permission', () => {
    const world = withQueues()
    world.memory.map(BUFFER, PAGE, false)
    expect(world.ioStatus({ opcode: WRITE, prp1: BUFFER, dwords: blocks(0, 1) })).toBe(0)
    expect(world.ioStatus({ opcode: READ, prp1: BUFFER, dwords: blocks(0, 1) })).toBe(0x4004)
  })

  test('a write that cannot be read from memory leaves the medium alone', () => {
    const world = withQueues()
    world.image.bytes.fill(0xaa)
    world.memory.unmap(BUFFER + PAGE)
    const command = { opcode: WRITE, prp1: BUFFER, prp2: BUFFER + PAGE, dwords: blocks(0, 16) }
    expect(world.ioStatus(command)).toBe(0x4004)
    expect(world.image.bytes.every((byte) => byte === 0xaa)).toBe(true)
  })

  test('an entry of a list with an offset is refused', () => {
    const world = withQueues()
    const list = world.memory.view(BUFFER)
    for (let i = 0; i < 2; i++) list.setBigUint64(8 * i, BigInt(BUFFER + (1 + i) * PAGE), true)
    const command = { opcode: READ, prp1: BUFFER + PAGE, prp2: BUFFER, dwords: blocks(0, 24) }
    expect(world.ioStatus(command)).toBe(0)
    list.setBigUint64(8, BigInt(BUFFER + 2 * PAGE + 8), true)
    expect(world.ioStatus(command)).toBe(0x4013)
  })

  /** Wherever the data and the lists lie, what is written to the medium is what the pages hold, in order. */
  test('PRPs lead to all the bytes, in order (06 §14.5)', () => {
    const layout = fc.record({
      count: fc.integer({ min: 1, max: 1024 }),
      offset: fc.integer({ min: 0, max: 1023 }).map((n) => 4 * n),
      // Where in their pages lists begin: also in the last slot of one.
      slot: fc.oneof(fc.integer({ min: 0, max: 511 }), fc.constantFrom(510, 511)),
      order: fc.infiniteStream(fc.integer({ min: 0, max: 0xffff })),
      neighbours: fc.boolean(),
    })
    fc.assert(
      fc.property(layout, ({ count, offset, slot, order, neighbours }) => {
        const world = withQueues(1024)
        const length = count * 512
        let next = 0x100_0000
        const newPage = (): number => {
          const gap = neighbours ? 0 : (order.next().value ?? 0) % 3
          next += (1 + gap) * PAGE
          world.memory.map(next)
          return next
        }
        const pages = Array.from({ length: Math.ceil((offset + length) / PAGE) }, newPage)
        const expected = new Uint8Array(length)
        for (let i = 0; i < length; i++) {
          const at = offset + i
          const value = (i * 31 + (i >>> 8)) & 0xff
          expected[i] = value
          const page = pages[Math.floor(at / PAGE)] ?? 0
          world.memory.view(page).setUint8(at % PAGE, value)
        }
        const [first = 0, ...rest] = pages
        let prp2 = rest[0] ?? 0
        if (rest.length > 1) {
          prp2 = newPage() + 8 * slot
          let at = prp2
          for (const [i, page] of rest.entries()) {
            const isLastSlot = at % PAGE === PAGE - 8
            if (isLastSlot && i < rest.length - 1) {
              const chained = newPage()
              world.memory.view(at).setBigUint64(0, BigInt(chained), true)
              at = chained
            }
            world.memory.view(at).setBigUint64(0, BigInt(page), true)
            at += 8
          }
        }
        const command = { prp1: first + offset, prp2, dwords: blocks(0, count) }
        expect(world.ioStatus({ opcode: WRITE, ...command })).toBe(0)
        expect(
          Buffer.from(world.image.bytes.subarray(0, length)).equals(Buffer.from(expected)),
        ).toBe(true)
        for (const page of pages) world.memory.map(page)
        expect(world.ioStatus({ opcode: READ, ...command })).toBe(0)
        for (let i = 0; i < length; i++) {
          const at = offset + i
          const page = pages[Math.floor(at / PAGE)] ?? 0
          if (world.memory.view(page).getUint8(at % PAGE) !== expected[i])
            throw new Error(`byte ${i} differs`)
        }
      }),
      { numRuns: 30 },
    )
  })
})

describe('zeroing', () => {
  test('Write Zeroes has no limit but the end of the medium', () => {
    const world = withQueues(0x10000)
    world.image.bytes.fill(0xaa)
    expect(world.ioStatus({ opcode: WRITE_ZEROES, dwords: blocks(1, 0xffff) })).toBe(0)
    expect(world.image.bytes.subarray(0, 512).every((byte) => byte === 0xaa)).toBe(true)
    expect(world.image.bytes.subarray(512).every((byte) => byte === 0)).toBe(true)
    expect(world.ioStatus({ opcode: WRITE_ZEROES, dwords: blocks(1, 0x10000) })).toBe(0x4080)
  })

  const deallocate = (
    world: ControllerWorld,
    ranges: readonly (readonly number[])[],
    cdw11 = 4,
  ) => {
    for (const [i, [first = 0, count = 0]] of ranges.entries()) {
      world.memory.view(BUFFER).setUint32(16 * i + 4, count, true)
      world.memory.view(BUFFER).setBigUint64(16 * i + 8, BigInt(first), true)
    }
    return world.ioStatus({ opcode: DSM, prp1: BUFFER, dwords: [ranges.length - 1, cdw11] })
  }

  test('deallocated blocks read as zeroes; ranges of no blocks are skipped', () => {
    const world = withQueues()
    world.image.bytes.fill(0xaa)
    expect(
      deallocate(world, [
        [1, 1],
        [9999, 0],
        [3, 2],
      ]),
    ).toBe(0)
    const zeroed = Array.from({ length: 6 }, (_, block) => world.image.bytes[block * 512] === 0)
    expect(zeroed).toEqual([false, true, false, true, true, false])
  })

  test('one range too far, and none is deallocated; a mere hint changes nothing', () => {
    const world = withQueues()
    world.image.bytes.fill(0xaa)
    expect(
      deallocate(world, [
        [1, 1],
        [2047, 2],
      ]),
    ).toBe(0x4080)
    expect(deallocate(world, [[1, 1]], 1)).toBe(0)
    expect(world.image.bytes.every((byte) => byte === 0xaa)).toBe(true)
  })
})

describe('the medium', () => {
  test('a write is flushed at once where it or the write cache feature says so', () => {
    const world = withQueues()
    const write = { opcode: WRITE, prp1: BUFFER }
    world.ioStatus({ ...write, dwords: blocks(0, 1) })
    expect(world.image.flushes).toBe(0)
    world.ioStatus({ ...write, dwords: [0, 0, 1 << 30] })
    expect(world.image.flushes).toBe(1)
    world.adminStatus({ opcode: 9, dwords: [6, 0] })
    world.ioStatus({ ...write, dwords: blocks(0, 1) })
    expect(world.image.flushes).toBe(2)
  })

  test('a read-only one refuses whatever changes it', () => {
    const world = withQueues()
    world.image.readOnly = true
    for (const opcode of [WRITE, WRITE_ZEROES])
      expect(world.ioStatus({ opcode, prp1: BUFFER, dwords: blocks(0, 1) })).toBe(0x4182)
    expect(world.ioStatus({ opcode: DSM, prp1: BUFFER, dwords: [0, 4] })).toBe(0x4182)
    expect(world.ioStatus({ opcode: READ, prp1: BUFFER, dwords: blocks(0, 1) })).toBe(0)
    expect(world.ioStatus({ opcode: FLUSH })).toBe(0)
  })

  test.each<[ImageFailure, number]>([
    ['input-output', 0x4280],
    ['no-space', 0x4081],
  ])('%s when writing comes to a status of its own', (failure, status) => {
    const world = withQueues()
    world.image.failure = failure
    expect(world.ioStatus({ opcode: WRITE, prp1: BUFFER, dwords: blocks(0, 1) })).toBe(status)
    expect(world.ioStatus({ opcode: WRITE_ZEROES, dwords: blocks(0, 1) })).toBe(status)
    expect(world.ioStatus({ opcode: FLUSH })).toBe(status)
  })

  test('an error of the disk below is an unrecovered read error', () => {
    const world = withQueues()
    world.image.failure = 'input-output'
    expect(world.ioStatus({ opcode: READ, prp1: BUFFER, dwords: blocks(0, 1) })).toBe(0x4281)
  })
})
