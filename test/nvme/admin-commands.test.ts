/** Admin commands: 06 §14.5 to §14.10, and the worked examples E28 and E29. */
import { describe, expect, test } from 'vitest'
import { ADMIN_SQ, BUFFER, ControllerWorld, IO_CQ, IO_SQ, statusOf } from './controller-world.ts'

const enabled = (blocks?: number): ControllerWorld => {
  const world = new ControllerWorld(blocks)
  world.enable()
  return world
}
const SIZE = 31 << 16

describe('every command', () => {
  test.each([
    ['fused', 0x01],
    ['with SGLs', 0x40],
  ])('that is %s is an invalid field', (_what, flags) => {
    expect(enabled().adminStatus({ opcode: 0x0a, flags, dwords: [1] })).toBe(0x4002)
  })

  test('of an unknown opcode is refused', () => {
    const world = enabled()
    for (const opcode of [0x03, 0x07, 0x0d, 0x10, 0x18, 0x7c, 0x80, 0xff])
      expect(world.adminStatus({ opcode })).toBe(0x4001)
  })
})

describe('Create I/O Completion Queue', () => {
  const create = (world: ControllerWorld, size: number, flags: number, prp1 = IO_CQ): number =>
    world.adminStatus({ opcode: 5, prp1, dwords: [size, flags] })

  test.each([
    ['queue 0', SIZE, 0x4101],
    ['a queue above those allocated', SIZE | 33, 0x4101],
    ['one entry', 1, 0x4102],
    ['more entries than CAP.MQES', (0x800 << 16) | 1, 0x4102],
  ])('refuses %s', (_what, size, status) => {
    expect(create(enabled(), size, 1)).toBe(status)
  })

  test('refuses an address within a page, a vector that is not there, and scattered memory', () => {
    const world = enabled()
    expect(create(world, SIZE | 1, 1, IO_CQ + 8)).toBe(0x4013)
    expect(create(world, SIZE | 1, 1 | 2 | (33 << 16))).toBe(0x4108)
    expect(create(world, SIZE | 1, 0)).toBe(0x4002)
    world.interrupts.kind = 'intx'
    expect(create(world, SIZE | 1, 1 | 2 | (1 << 16))).toBe(0x4108)
  })

  test('takes 2048 entries and 32 queues, each ID once', () => {
    const world = enabled()
    for (let id = 1; id <= 32; id++) expect(create(world, (0x7ff << 16) | id, 1)).toBe(0)
    expect(create(world, SIZE | 7, 1)).toBe(0x4101)
  })

  test('knows how many queues were asked for', () => {
    const world = enabled()
    world.adminStatus({ opcode: 9, dwords: [7, 0x0001_0001] })
    expect(create(world, SIZE | 2, 1)).toBe(0)
    expect(create(world, SIZE | 3, 1)).toBe(0x4101)
  })
})

describe('Create I/O Submission Queue', () => {
  const create = (world: ControllerWorld, size: number, flags: number, prp1 = IO_SQ): number =>
    world.adminStatus({ opcode: 1, prp1, dwords: [size, flags] })

  test('checks the completion queue first, then ID, size, address and contiguity', () => {
    const world = enabled()
    expect(create(world, 0, 0x0001_0001)).toBe(0x4100)
    world.adminStatus({ opcode: 5, prp1: IO_CQ, dwords: [SIZE | 1, 1] })
    expect(create(world, SIZE, 0x0000_0001)).toBe(0x4100)
    expect(create(world, SIZE, 0x0001_0001)).toBe(0x4101)
    expect(create(world, SIZE | 33, 0x0001_0001)).toBe(0x4101)
    expect(create(world, 1, 0x0001_0001)).toBe(0x4102)
    expect(create(world, SIZE | 1, 0x0001_0001, IO_SQ + 4)).toBe(0x4013)
    expect(create(world, SIZE | 1, 0x0001_0000)).toBe(0x4002)
    expect(create(world, SIZE | 1, 0x0001_0001)).toBe(0)
    expect(create(world, SIZE | 1, 0x0001_0001)).toBe(0x4101)
  })
})

describe('deleting queues', () => {
  test('E28: a completion queue that is used stays; then both go', () => {
    const world = enabled()
    world.createQueues()
    expect(world.do(world.admin, { opcode: 4, dwords: [1], id: 0 })[3] >>> 17).toBe(0x410c)
    expect(world.adminStatus({ opcode: 0, dwords: [1] })).toBe(0)
    expect(world.adminStatus({ opcode: 4, dwords: [1] })).toBe(0)
    expect(world.adminStatus({ opcode: 4, dwords: [1] })).toBe(0x4101)
  })

  test('the admin queues cannot be deleted', () => {
    const world = enabled()
    expect(world.adminStatus({ opcode: 0, dwords: [0] })).toBe(0x4101)
    expect(world.adminStatus({ opcode: 4, dwords: [0] })).toBe(0x4101)
  })
})

describe('Identify (06 §14.7)', () => {
  const identify = (world: ControllerWorld, cns: number, nsid = 0): number =>
    world.adminStatus({ opcode: 6, nsid, prp1: BUFFER, dwords: [cns] })

  test('the controller, whatever namespace is named', () => {
    const world = enabled()
    expect(identify(world, 1, 77)).toBe(0)
    const view = world.memory.view(BUFFER)
    const at = (offset: number): number => view.getUint8(offset)
    expect(view.getUint16(0, true)).toBe(0x1b36)
    expect(view.getUint16(2, true)).toBe(0x1af4)
    expect(new TextDecoder().decode(world.memory.bytes(BUFFER + 24, 40))).toMatch(/^iommufd-user/)
    expect([at(72), at(77), at(111), at(258), at(259), at(260)]).toEqual([6, 7, 1, 3, 3, 3])
    expect(view.getUint32(80, true)).toBe(0x0001_0400)
    expect(view.getUint16(78, true)).toBe(0)
    expect(view.getUint32(92, true)).toBe(0)
    expect(view.getUint16(256, true)).toBe(0)
    expect([at(261), at(262), at(263)]).toEqual([0, 0, 0])
    expect([view.getUint16(266, true), view.getUint16(268, true)]).toEqual([0x157, 0x175])
    expect([at(512), at(513)]).toEqual([0x66, 0x44])
    expect(view.getUint32(516, true)).toBe(1)
    expect(view.getUint16(520, true)).toBe(0x000c)
    expect(at(525)).toBe(0x07)
    expect(view.getUint32(536, true)).toBe(0)
    expect(new TextDecoder().decode(world.memory.bytes(BUFFER + 768, 68))).toMatch(
      /^nqn\.2014-08\.org\.nvmexpress:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
    )
    expect(view.getUint16(2048, true)).toBe(2500)
  })

  test('the namespace', () => {
    const world = enabled(5000)
    expect(identify(world, 0, 1)).toBe(0)
    const view = world.memory.view(BUFFER)
    for (const at of [0, 8, 16]) expect(view.getBigUint64(at, true)).toBe(5000n)
    expect([24, 25, 26, 33, 99].map((at) => view.getUint8(at))).toEqual([0, 0, 0, 0x09, 0])
    expect(view.getBigUint64(120, true)).not.toBe(0n)
    expect(view.getUint32(128, true)).toBe(9 << 16)
    for (const nsid of [0, 2, 0xffff_ffff]) expect(identify(world, 0, nsid)).toBe(0x400b)
  })

  test('a read-only namespace says so', () => {
    const world = enabled()
    world.image.readOnly = true
    identify(world, 0, 1)
    expect(world.memory.view(BUFFER).getUint8(99)).toBe(1)
  })

  test('the active namespaces above a number', () => {
    const world = enabled()
    expect(identify(world, 2, 0)).toBe(0)
    expect([...world.memory.bytes(BUFFER, 8)]).toEqual([1, 0, 0, 0, 0, 0, 0, 0])
    expect(identify(world, 2, 1)).toBe(0)
    expect([...world.memory.bytes(BUFFER, 4)]).toEqual([0, 0, 0, 0])
    expect(identify(world, 2, 0xffff_fffe)).toBe(0x400b)
    expect(identify(world, 2, 0xffff_ffff)).toBe(0x400b)
  })

  test('descriptors that name the namespace, ended by zeroes', () => {
    const world = enabled()
    expect(identify(world, 3, 1)).toBe(0)
    const view = world.memory.view(BUFFER)
    let at = 0
    const types: number[] = []
    while (view.getUint8(at) !== 0) {
      types.push(view.getUint8(at))
      at += 4 + view.getUint8(at + 1)
    }
    expect(types).toEqual([1, 2])
    expect(identify(world, 3, 2)).toBe(0x400b)
  })

  test('anything else is an invalid field', () => {
    const world = enabled()
    for (const cns of [4, 5, 6, 0x10, 0x13, 0xff]) expect(identify(world, cns, 1)).toBe(0x4002)
  })

  test('to memory that is not there is a data transfer error', () => {
    const world = enabled()
    expect(world.adminStatus({ opcode: 6, prp1: 0x90_0000, dwords: [1] })).toBe(0x4004)
    expect(world.adminStatus({ opcode: 6, prp1: BUFFER + 2, dwords: [1] })).toBe(0x4013)
  })
})

describe('features (06 §14.8)', () => {
  const get = (world: ControllerWorld, feature: number, cdw11 = 0): readonly number[] => {
    const completion = world.do(world.admin, { opcode: 0x0a, dwords: [feature, cdw11] })
    return [statusOf(completion), completion[0]]
  }
  const set = (world: ControllerWorld, feature: number, cdw11: number): number =>
    world.adminStatus({ opcode: 9, dwords: [feature, cdw11] })

  test('defaults', () => {
    const world = enabled()
    const defaults = [1, 2, 4, 5, 6, 7, 8, 0x0a, 0x0b].map((feature) => get(world, feature))
    expect(defaults).toEqual([
      [0, 0x07],
      [0, 0],
      [0, 0x157],
      [0, 0],
      [0, 1],
      [0, 0x001f_001f],
      [0, 0],
      [0, 0],
      [0, 0],
    ])
    expect(get(world, 9, 5)).toEqual([0, 5])
    for (const feature of [0, 3, 0x0c, 0x0d, 0x0e, 0x80])
      expect(get(world, feature)[0]).toBe(0x4002)
  })

  test('are stored', () => {
    const world = enabled()
    for (const feature of [1, 5, 8, 0x0a, 0x0b]) {
      expect(set(world, feature, 0x1234)).toBe(0)
      expect(get(world, feature)).toEqual([0, 0x1234])
    }
    expect(set(world, 6, 0xfffe)).toBe(0)
    expect(get(world, 6)).toEqual([0, 0])
  })

  test('what cannot be is refused', () => {
    const world = enabled()
    expect(set(world, 2, 1)).toBe(0x4002)
    expect(set(world, 9, 33)).toBe(0x4002)
    expect(get(world, 9, 33)[0]).toBe(0x4002)
    expect(set(world, 0x0e, 0)).toBe(0x4002)
    expect(set(world, 7, 0x0000_ffff)).toBe(0x4002)
    expect(set(world, 7, 0xffff_0000)).toBe(0x4002)
    expect(set(world, 4, 2 << 20)).toBe(0x4002)
    expect(set(world, 0x8000_0001, 0)).toBe(0x410d)
  })

  test('the number of queues is fixed once there is one', () => {
    const world = enabled()
    const completion = world.do(world.admin, { opcode: 9, dwords: [7, 0x0007_0003] })
    expect(completion[0]).toBe(0x0007_0003)
    world.createQueues()
    expect(set(world, 7, 0x0001_0001)).toBe(0x400c)
  })

  test('thresholds are kept apart by type, for the composite sensor', () => {
    const world = enabled()
    expect(set(world, 4, (1 << 20) | 0x100)).toBe(0)
    expect(get(world, 4)).toEqual([0, 0x157])
    expect(get(world, 4, 1 << 20)).toEqual([0, 0x100])
    expect(set(world, 4, (0xf << 16) | 0x160)).toBe(0)
    expect(get(world, 4)).toEqual([0, 0x160])
    expect(set(world, 4, (3 << 16) | 0x1)).toBe(0)
    expect(get(world, 4)).toEqual([0, 0x160])
  })
})

describe('log pages (06 §14.9)', () => {
  const log = (
    world: ControllerWorld,
    page: number,
    dwords: number,
    { nsid = 0, offset = 0 } = {},
  ): number =>
    world.adminStatus({
      opcode: 2,
      nsid,
      prp1: BUFFER,
      dwords: [page | (((dwords - 1) & 0xffff) << 16), (dwords - 1) >>> 16, offset],
    })

  test('health counts what was read and written', () => {
    const world = enabled()
    world.createQueues()
    for (let i = 0; i < 3; i++)
      expect(world.ioStatus({ opcode: 2, prp1: BUFFER, dwords: [0, 0, 7] })).toBe(0)
    expect(world.ioStatus({ opcode: 1, prp1: BUFFER, dwords: [0, 0, 7] })).toBe(0)
    expect(log(world, 2, 128, { nsid: 0xffff_ffff })).toBe(0)
    const view = world.memory.view(BUFFER)
    expect([view.getUint8(0), view.getUint16(1, true), view.getUint8(3), view.getUint8(4)]).toEqual(
      [0, 0x143, 100, 10],
    )
    expect([32, 48, 64, 80].map((at) => view.getBigUint64(at, true))).toEqual([1n, 1n, 3n, 1n])
    expect(log(world, 2, 128, { nsid: 1 })).toBe(0x4002)
  })

  test('more bytes than a page has are no error, and a part can be read', () => {
    const world = enabled()
    expect(log(world, 2, 1024)).toBe(0)
    expect(log(world, 3, 1, { offset: 8 })).toBe(0)
    expect(new TextDecoder().decode(world.memory.bytes(BUFFER, 3))).toBe('1.0')
    expect(log(world, 3, 1, { offset: 6 })).toBe(0x4002)
    expect(log(world, 3, 1, { offset: 512 })).toBe(0)
    expect(log(world, 3, 1, { offset: 516 })).toBe(0x4002)
  })

  test('unknown pages and transfers that are too long are refused', () => {
    const world = enabled()
    for (const page of [0, 4, 5, 0x80, 0xff]) expect(log(world, page, 1)).toBe(0x4109)
    expect(log(world, 2, 0x20001)).toBe(0x4002)
  })
})

describe('asynchronous events (06 §14.10)', () => {
  test('E29: a temperature event, once until its log page is read', () => {
    const world = enabled()
    const { admin } = world
    expect(world.adminStatus({ opcode: 9, dwords: [0x0b, 2] })).toBe(0)
    expect(world.do(admin, { opcode: 0x0a, dwords: [4] })[0]).toBe(0x157)
    const ask = (id: number): void => {
      world.put(admin, { opcode: 0x0c, id })
      world.ring(admin)
      world.run()
    }
    ask(0x8005)
    expect(world.reap(admin)).toEqual([])
    world.put(admin, { opcode: 9, id: 6, dwords: [4, 200] })
    world.ring(admin)
    world.run()
    const both = world.reap(admin)
    world.consume(admin)
    expect(new Map(both.map(([dw0, , , dw3]) => [dw3 & 0xffff, dw0]))).toEqual(
      new Map([
        [6, 0],
        [0x8005, 0x0002_0101],
      ]),
    )
    ask(0x8006)
    expect(world.reap(admin)).toEqual([])
    expect(world.adminStatus({ opcode: 9, dwords: [4, 0x157] })).toBe(0)
    expect(world.adminStatus({ opcode: 2, prp1: BUFFER, dwords: [2 | (1023 << 16)] })).toBe(0)
    expect(world.memory.view(BUFFER).getUint16(1, true)).toBe(0x143)
    expect(world.reap(admin)).toEqual([])
    // Armed again: the next time it is too warm the outstanding request is answered.
    world.put(admin, { opcode: 9, id: 7, dwords: [4, 200] })
    world.ring(admin)
    world.run()
    expect(
      world
        .reap(admin)
        .map(([, , , dw3]) => dw3 & 0xffff)
        .sort((a, b) => a - b),
    ).toEqual([7, 0x8006])
  })

  test('there are four requests at most', () => {
    const world = enabled()
    for (let id = 0; id < 4; id++) world.put(world.admin, { opcode: 0x0c, id })
    world.ring(world.admin)
    world.run()
    expect(world.reap(world.admin)).toEqual([])
    expect(world.adminStatus({ opcode: 0x0c, id: 9 })).toBe(0x4105)
  })

  test('a request can be aborted, once; another command cannot', () => {
    const world = enabled()
    world.put(world.admin, { opcode: 0x0c, id: 3 })
    world.put(world.admin, { opcode: 8, id: 4, dwords: [3 << 16] })
    world.ring(world.admin)
    world.run()
    const completions = world.reap(world.admin)
    world.consume(world.admin)
    const status = new Map(completions.map((each) => [each[3] & 0xffff, [statusOf(each), each[0]]]))
    expect(status).toEqual(
      new Map([
        [3, [0x4007, 0]],
        [4, [0, 0]],
      ]),
    )
    expect(world.do(world.admin, { opcode: 8, dwords: [3 << 16] })[0]).toBe(1)
    expect(world.adminStatus({ opcode: 8, dwords: [5] })).toBe(0x4002)
  })

  test('a doorbell value beyond the queue is an event', () => {
    const world = enabled()
    world.put(world.admin, { opcode: 0x0c, id: 3 })
    world.ring(world.admin)
    world.run()
    world.createQueues()
    world.store(0x1008, 999)
    world.run()
    expect(world.reap(world.admin).map(([dw0]) => dw0)).toEqual([0x0001_0100])
  })

  test('a controller reset drops the requests', () => {
    const world = enabled()
    world.put(world.admin, { opcode: 0x0c, id: 3 })
    world.ring(world.admin)
    world.run()
    world.store(0x14, 0)
    world.run()
    world.memory.map(ADMIN_SQ)
    world.enable()
    world.adminStatus({ opcode: 9, dwords: [0x0b, 2] })
    expect(world.adminStatus({ opcode: 9, dwords: [4, 200] })).toBe(0)
  })
})
