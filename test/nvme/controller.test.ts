/** The controller by its registers and queues: 06 §14.2 to §14.4, §14.12, and the worked examples E27 to E30. */
import { describe, expect, test } from 'vitest'
import { Register } from '../../src/devices/nvme/registers.ts'
import {
  ADMIN_CQ,
  ADMIN_SQ,
  BUFFER,
  ControllerWorld,
  IO_CQ,
  IO_SQ,
  statusOf,
} from './controller-world.ts'

const READY = 1
const FATAL = 2
const enabled = (): ControllerWorld => {
  const world = new ControllerWorld()
  world.enable()
  return world
}
const withQueues = (options?: Parameters<ControllerWorld['createQueues']>[0]): ControllerWorld => {
  const world = enabled()
  world.createQueues(options)
  return world
}

describe('registers', () => {
  test('hold the values of the reference model after a reset', () => {
    const world = new ControllerWorld()
    expect([world.register(Register.CAP + 4), world.register(Register.CAP)]).toEqual([
      0x20, 0x1e01_07ff,
    ])
    expect(world.register(Register.VS)).toBe(0x0001_0400)
    for (const zero of [0x0c, 0x10, 0x14, 0x1c, 0x20, 0x24, 0x28, 0x30, 0x38, 0x3c, 0xe00])
      expect(world.register(zero)).toBe(0)
  })

  test('constants and the status are put back where a client stores something else', () => {
    const world = enabled()
    for (const offset of [0, 4, 8, 0x1c, 0x20, 0x38, 0x3c]) world.store(offset, 0xdead_beef)
    world.run()
    expect(world.register(Register.CAP)).toBe(0x1e01_07ff)
    expect(world.register(Register.VS)).toBe(0x0001_0400)
    expect(world.status).toBe(READY)
    expect(world.register(Register.NSSR)).toBe(0)
    expect(world.register(Register.CMBSZ)).toBe(0)
  })

  test('INTMS sets bits of the interrupt mask and reads as it, INTMC clears them', () => {
    const world = enabled()
    world.store(Register.INTMS, 5)
    world.run()
    world.store(Register.INTMS, 2)
    world.run()
    expect(world.register(Register.INTMS)).toBe(7)
    world.store(Register.INTMC, 5)
    world.run()
    expect(world.register(Register.INTMS)).toBe(2)
    // All that is set, at once: it must not look like nothing new.
    world.store(Register.INTMC, 2)
    world.run()
    expect(world.register(Register.INTMS)).toBe(0)
  })
})

describe('enabling (06 §14.3)', () => {
  test('makes the controller ready, with the doorbells at 0', () => {
    const world = new ControllerWorld()
    world.store(0x1000, 7)
    world.store(0x1004, 7)
    world.enable()
    expect(world.status).toBe(READY)
    expect([world.register(0x1000), world.register(0x1004)]).toEqual([0, 0])
  })

  test('works without entry sizes, which are needed only for I/O queues', () => {
    const world = new ControllerWorld()
    world.enable(1)
    expect(world.status).toBe(READY)
    const size = (31 << 16) | 1
    expect(world.adminStatus({ opcode: 5, prp1: IO_CQ, dwords: [size, 1] })).toBe(0x4102)
  })

  test.each([
    ['a command set', 0x0046_0011, 0x001f_001f],
    ['a page size', 0x0046_0081, 0x001f_001f],
    ['an arbitration', 0x0046_0801, 0x001f_001f],
    ['an admin submission queue of one entry', 0x0046_0001, 0x001f_0000],
    ['an admin completion queue of one entry', 0x0046_0001, 0x0000_001f],
  ])('with %s that it does not have is fatal', (_what, configuration, aqa) => {
    const world = new ControllerWorld()
    world.store(Register.AQA, aqa)
    world.store(Register.CC, configuration)
    world.run()
    expect(world.status).toBe(FATAL)
    world.store(Register.CC, 0)
    world.run()
    expect(world.status).toBe(0)
  })

  test('disabling drops queues and features; AQA, ASQ and ACQ stay', () => {
    const world = withQueues()
    world.adminStatus({ opcode: 9, dwords: [0x01, 5] })
    world.store(Register.CC, 0x0046_0000)
    world.run()
    expect(world.status).toBe(0)
    expect(world.register(Register.AQA)).toBe(0x001f_001f)
    expect(world.register(Register.ASQ)).toBe(ADMIN_SQ)
    world.enable()
    const [value] = world.do(world.admin, { opcode: 0x0a, dwords: [0x01] })
    expect(value).toBe(7)
    // Queue 1 is not there any more.
    expect(world.adminStatus({ opcode: 0, dwords: [1] })).toBe(0x4101)
  })

  test('a shutdown flushes, says so, and takes no more commands until the next enable', () => {
    const world = withQueues()
    world.store(Register.CC, 0x0046_4001)
    world.run()
    expect(world.status).toBe(READY | (2 << 2))
    expect(world.image.flushes).toBe(1)
    world.put(world.io, { opcode: 0, nsid: 1 })
    world.ring(world.io)
    world.run()
    expect(world.reap(world.io)).toEqual([])
    world.store(Register.CC, 0)
    world.run()
    world.enable()
    expect(world.status).toBe(READY)
  })

  test('a shutdown of a disabled controller is complete at once', () => {
    const world = new ControllerWorld()
    world.store(Register.CC, 0x4000)
    world.run()
    expect(world.status).toBe(2 << 2)
  })

  test('a reset of the function forgets everything', () => {
    const world = withQueues()
    world.words.fill(0)
    world.controller.reset()
    world.run()
    expect(world.status).toBe(0)
    world.enable()
    expect(world.adminStatus({ opcode: 0, dwords: [1] })).toBe(0x4101)
  })
})

describe('queues and completions (06 §14.4)', () => {
  test('E27: bring-up, entry by entry', () => {
    const world = enabled()
    const { admin } = world
    expect(world.do(admin, { opcode: 6, id: 1, prp1: BUFFER, dwords: [1] })).toEqual([
      0, 0, 0x0000_0001, 0x0001_0001,
    ])
    expect([...world.memory.bytes(BUFFER, 4)]).toEqual([0x36, 0x1b, 0xf4, 0x1a])
    expect(world.do(admin, { opcode: 9, id: 2, dwords: [7, 0x003f_003f] })).toEqual([
      0x001f_001f, 0, 0x0000_0002, 0x0001_0002,
    ])
    expect(world.do(admin, { opcode: 0x7f, id: 3 })).toEqual([0, 0, 3, 0x8003_0003])
  })

  test('an entry that looks new is whole: its phase bit is written after all the rest', () => {
    const world = withQueues()
    world.memory.writes.length = 0
    for (let id = 1; id <= 3; id++) world.put(world.io, { opcode: 0, id, nsid: 1 })
    world.ring(world.io)
    world.run()
    const [bodies, phases, ...more] = world.memory.writes.filter(({ address }) => address >= IO_CQ)
    expect(more).toEqual([])
    expect(bodies?.address).toBe(IO_CQ)
    for (const at of [14, 30, 46]) expect((bodies?.bytes[at] ?? 1) & 1).toBe(0)
    expect(phases?.address).toBe(IO_CQ + 14)
    for (const at of [0, 16, 32]) expect((phases?.bytes[at] ?? 0) & 1).toBe(1)
  })

  test('the phase flips with each pass, and the head of the submission queue comes back', () => {
    const world = withQueues({ entries: 4 })
    const seen: number[] = []
    for (let i = 0; i < 10; i++) {
      const [, , dw2, dw3] = world.do(world.io, { opcode: 0, nsid: 1, id: i })
      expect(dw2 & 0xffff).toBe((i + 1) % 4)
      seen.push((dw3 >>> 16) & 1)
    }
    expect(seen).toEqual([1, 1, 1, 1, 0, 0, 0, 0, 1, 1])
  })

  test('nothing is posted to a full queue until its head moves', () => {
    const world = withQueues({ entries: 4 })
    const { io } = world
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 3; i++) world.put(io, { opcode: 0, nsid: 1, id: 10 * round + i })
      world.ring(io)
      world.run()
    }
    expect(world.reap(io).map(([, , , dw3]) => dw3 & 0xffff)).toEqual([0, 1, 2])
    expect(world.reap(io)).toEqual([])
    world.consume(io)
    world.run()
    expect(world.reap(io).map(([, , , dw3]) => dw3 & 0xffff)).toEqual([10, 11, 12])
  })

  test('a doorbell beyond the queue is ignored, and so is one of a queue that is not there', () => {
    const world = withQueues({ entries: 4 })
    world.store(0x1008, 4)
    world.store(0x100c, 0xffff)
    world.store(0x1010, 1)
    world.run()
    expect(world.status).toBe(READY)
    expect(world.reap(world.io)).toEqual([])
    expect(world.ioStatus({ opcode: 0 })).toBe(0)
  })

  test('E30: what a former queue has left in a doorbell is no news', () => {
    const world = withQueues()
    for (let i = 0; i < 3; i++) world.ioStatus({ opcode: 0 })
    expect(world.register(0x1008)).toBe(3)
    expect(world.adminStatus({ opcode: 0, dwords: [1] })).toBe(0)
    expect(world.adminStatus({ opcode: 4, dwords: [1] })).toBe(0)
    world.createQueues()
    expect([world.register(0x1008), world.register(0x100c)]).toEqual([0, 0])
    world.run()
    expect(world.reap(world.io)).toEqual([])
    expect(world.ioStatus({ opcode: 0 })).toBe(0)
  })

  test.each([
    ['entry that cannot be fetched', IO_SQ],
    ['completion that cannot be written', IO_CQ],
  ])('an %s is fatal, until a controller reset', (_what, address) => {
    const world = withQueues()
    world.memory.unmap(address)
    world.store(0x1008, 1)
    world.run()
    expect(world.status).toBe(READY | FATAL)
    world.store(Register.CC, 0)
    world.run()
    expect(world.status).toBe(0)
  })

  test('a queue whose memory is gone may be deleted, if nobody rings', () => {
    const world = withQueues()
    world.memory.unmap(IO_SQ)
    world.memory.unmap(IO_CQ)
    expect(world.adminStatus({ opcode: 0, dwords: [1] })).toBe(0)
    expect(world.adminStatus({ opcode: 4, dwords: [1] })).toBe(0)
    expect(world.status).toBe(READY)
  })

  test('while bus mastering is off commands wait', () => {
    const world = withQueues()
    world.put(world.io, { opcode: 0, nsid: 1, id: 9 })
    world.memory.busMaster = false
    world.ring(world.io)
    world.run()
    expect(world.status).toBe(READY)
    world.memory.busMaster = true
    world.run()
    expect(world.reap(world.io)).toHaveLength(1)
  })

  test('both rings may lie in one page', () => {
    const world = enabled()
    const size = (7 << 16) | 1
    expect(world.adminStatus({ opcode: 5, prp1: IO_SQ, dwords: [size, 1] })).toBe(0)
    expect(world.adminStatus({ opcode: 1, prp1: IO_SQ, dwords: [size, 0x0001_0001] })).toBe(0)
    // The first completion falls onto the first entry, which has been fetched by then.
    Object.assign(world.io, { completion: IO_SQ, entries: 8, tail: 0, head: 0, phase: 1 })
    world.put(world.io, { opcode: 0, id: 5, nsid: 1 })
    world.ring(world.io)
    world.run()
    expect(world.memory.view(IO_SQ, 16).getUint32(12, true)).toBe(0x0001_0005)
    expect(world.status).toBe(READY)
  })
})

describe('interrupts (06 §14.12)', () => {
  test('a message for the vector of the queue follows its completions', () => {
    const world = withQueues({ vector: 3 })
    world.interrupts.kind = 'msix'
    world.ioStatus({ opcode: 0 })
    world.adminStatus({ opcode: 0x0a, dwords: [1] })
    expect(world.interrupts.messages).toEqual([3, 0])
  })

  test('a queue without interrupts sends none', () => {
    const world = withQueues({ interrupts: false })
    world.interrupts.kind = 'msix'
    world.ioStatus({ opcode: 0 })
    expect(world.interrupts.messages).toEqual([])
  })

  test('INTx is asserted until the heads have caught up, and not while it is masked', () => {
    const world = withQueues()
    world.interrupts.kind = 'intx'
    world.put(world.io, { opcode: 0, nsid: 1 })
    world.ring(world.io)
    world.run()
    expect(world.interrupts.asserted).toBe(true)
    world.store(Register.INTMS, 1)
    world.run()
    expect(world.interrupts.asserted).toBe(false)
    world.store(Register.INTMC, 1)
    world.run()
    expect(world.interrupts.asserted).toBe(true)
    world.reap(world.io)
    world.consume(world.io)
    world.run()
    expect(world.interrupts.asserted).toBe(false)
  })
})

test('admin completions of the first queue are found where ACQ says', () => {
  const world = enabled()
  const completion = world.do(world.admin, { opcode: 0x0a, dwords: [0x02], id: 0xfffe })
  expect(statusOf(completion)).toBe(0)
  expect(world.memory.view(ADMIN_CQ, 16).getUint16(12, true)).toBe(0xfffe)
})
