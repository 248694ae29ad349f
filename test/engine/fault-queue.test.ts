import { describe, expect, it } from 'vitest'
import { pasid } from '../../src/abi/brands.ts'
import {
  IOMMU_FAULT_QUEUE_ALLOC,
  iommu_hwpt_page_response,
  iommu_hwpt_pgfault,
} from '../../src/abi/iommufd/events.ts'
import { forgetPartialFaults, reportFault } from '../../src/engine/fault-report.ts'
import { Poll } from '../../src/engine/file.ts'
import type { PageFault } from '../../src/engine/iommu-driver.ts'
import { Refusal } from '../../src/engine/reason.ts'
import { errnoOf, NOWHERE, u32s } from './support/program.ts'
import { Bench, mockDevice, s1, s2 } from './support/setup.ts'

const READABLE = Poll.IN | Poll.RDNORM

type Report = Partial<Omit<PageFault, 'pasid'>> & { readonly pasid?: number }

/** S1 with a fault queue and a fault-capable paging HWPT that the device is attached to (E4). */
const e4 = () => {
  const start = s1()
  const { bench, device, ioas } = start
  const queue = bench.faultQueue()
  const hwpt = Number(bench.hwpt({ dev: device.id, pt: ioas, flags: 4, fault: queue.id }))
  expect(bench.attach(device, hwpt)).toBe(hwpt)
  const buffer = bench.program.place(400)
  const report = ({ pasid: number, ...fault }: Report, of = device.iommuDevice) =>
    reportFault(bench.program.machine.groups, of, {
      grpid: 1,
      perm: 1,
      address: 0x1000n,
      last: true,
      ...(number === undefined ? {} : { pasid: pasid(number) }),
      ...fault,
    })
  const read = (count: number) => bench.program.read(queue.fd, buffer.address, count)
  const message = (index: number) =>
    iommu_hwpt_pgfault.decode(buffer.bytes.slice(index * 40, index * 40 + 40))
  const respond = (...responses: (readonly [cookie: number, code: number])[]) =>
    bench.program.write(queue.fd, u32s(...responses.flat()))
  const poll = () => bench.program.file(queue.fd).poll?.()
  return { ...start, queue, hwpt, report, read, message, respond, poll, buffer }
}

describe('IOMMU_FAULT_QUEUE_ALLOC and its file (04 §4)', () => {
  it('E1: the empty queue', () => {
    const bench = new Bench()
    const { id, fd } = bench.faultQueue()
    const { program } = bench
    const file = program.file(fd)
    const buffer = program.place(80).address
    expect([id, file.linkText, file.mode, file.isDevice]).toEqual([
      1,
      'anon_inode:[iommufd-pgfault]',
      'read-write',
      false,
    ])
    expect(file.poll?.()).toBe(Poll.OUT)
    const reads = [40, 0, 39, 41, 0x7fff_f000, 0x8000_0000].map((count) =>
      program.read(fd, buffer, count),
    )
    expect(reads).toEqual([0, 0, 'ESPIPE', 'ESPIPE', 'ESPIPE', 'ESPIPE'])
    expect(program.write(fd, new Uint8Array(0))).toBe(0)
    expect(program.write(fd, u32s(1, 0))).toBe('EINVAL')
    expect(program.write(fd, new Uint8Array(12))).toBe('ESPIPE')
    expect(file.pread?.(program.call(), buffer, 40, 0n as never)).toMatchObject({ errno: 29 })
    expect(file.pwrite?.(program.call(), buffer, 40, 0n as never)).toMatchObject({ errno: 29 })
    expect([file.ioctl, file.mmap]).toEqual([undefined, undefined])
    expect(bench.destroy(1)).toBe('EBUSY')
    program.close(fd)
    expect(bench.destroy(1)).toBe(0)
  })

  it('E2: sizes and flags; failed calls use up neither ID nor descriptor', () => {
    const bench = new Bench()
    const { program, context } = bench
    const alloc = (args: { size?: number; flags?: number }) =>
      program.ioctl(context, IOMMU_FAULT_QUEUE_ALLOC, args)
    expect(alloc({ size: 15 }).outcome).toBe('EINVAL')
    expect(alloc({ flags: 1 }).outcome).toBe('EOPNOTSUPP')
    program.injector.arm(1, 1, ['copy-to-user'])
    expect(alloc({}).outcome).toBe('EFAULT')
    program.maxFiles = 4
    const full = alloc({})
    expect([full.outcome, full.after.out_fault_id]).toEqual(['EMFILE', 0])
    program.maxFiles = 1024
    const done = alloc({ size: 24 })
    expect([done.outcome, done.after.out_fault_id, done.after.out_fault_fd]).toEqual([0, 1, 4])
    expect([...program.files.keys()]).toEqual([3, 4])
  })

  it('E3: a fault of a PASID without attachment reaches the nested HWPT of the device', () => {
    const { bench, device, ioas } = s1()
    const queue = bench.faultQueue()
    const parent = Number(bench.hwpt({ dev: device.id, pt: ioas, flags: 1 }))
    const nested = (flags: number, pt: number, fault: number) =>
      bench.hwpt({ dev: device.id, pt, flags, fault, dataType: 0xdead, data: new Uint8Array(8) })
    expect(nested(4, parent, 0xffff_ffff)).toBe('ENOENT')
    expect(bench.hwpt({ dev: device.id, pt: ioas, flags: 5, fault: queue.id })).toBe('EOPNOTSUPP')
    const hwpt = Number(nested(4, parent, queue.id))
    expect(bench.attach(device, hwpt)).toBe(hwpt)
    const { program } = bench
    const { groups } = program.machine
    const fault = { grpid: 2, perm: 3, address: 0xdeadbeafn, last: true, pasid: pasid(1) }
    expect(reportFault(groups, device.iommuDevice, fault)).toBe('queued')
    const file = program.file(queue.fd)
    expect(file.poll?.()).toBe(Poll.OUT | READABLE)
    const buffer = program.place(40)
    expect(program.read(queue.fd, buffer.address, 0)).toBe('EINVAL')
    expect(program.read(queue.fd, buffer.address, 40)).toBe(40)
    expect(iommu_hwpt_pgfault.decode(buffer.bytes)).toMatchObject({
      flags: 3,
      dev_id: device.id,
      pasid: 1,
      grpid: 2,
      perm: 3,
      addr: 0xdeadbeafn,
      length: 0,
      cookie: 1,
    })
    expect(file.poll?.()).toBe(Poll.OUT)
    const respond = (cookie: number, code: number) =>
      program.write(queue.fd, iommu_hwpt_page_response.encode({ cookie, code }))
    expect([respond(1, 2), respond(1, 0), respond(1, 0)]).toEqual(['EINVAL', 8, 'EINVAL'])
    expect(bench.driver.responses).toEqual(['D pasid 1 group 2: 0'])
  })

  it('E4: on a paging HWPT a PASID of its own is needed', () => {
    const { report, read, message, bench, device } = e4()
    expect(report({ grpid: 9, perm: 1, address: 0x1000n })).toBe('queued')
    expect(read(400)).toBe(40)
    expect(message(0)).toMatchObject({ flags: 2, dev_id: device.id, pasid: 0, grpid: 9, cookie: 1 })
    expect(report({ pasid: 1 })).toBe('refused')
    expect(read(40)).toBe(0)
    expect(bench.driver.responses).toEqual(['D pasid 1 group 1: 1'])
  })

  it('E5: groups are delivered whole, first complete first', () => {
    const { report, read, message, respond, poll, bench } = e4()
    expect(report({ grpid: 7, last: false, address: 0xan })).toBe('kept')
    expect(poll()).toBe(Poll.OUT)
    report({ grpid: 9, address: 0xbn })
    report({ grpid: 7, last: false, address: 0xcn })
    report({ grpid: 7, address: 0xdn })
    expect(read(120)).toBe(40)
    expect(message(0)).toMatchObject({ addr: 0xbn, cookie: 1 })
    expect(read(80)).toBe('EINVAL')
    expect(read(120)).toBe(120)
    const group = [0, 1, 2].map((index) => message(index))
    expect(group.map(({ addr }) => addr)).toEqual([0xan, 0xcn, 0xdn])
    expect(group.map(({ flags, cookie }) => [flags, cookie])).toEqual([
      [0, 2],
      [0, 2],
      [2, 2],
    ])
    expect(respond([2, 0], [5, 0], [1, 0])).toBe(8)
    expect(respond([1, 1])).toBe(8)
    expect(bench.driver.responses).toEqual(['D group 7: 0', 'D group 9: 1'])
    report({})
    expect(read(40)).toBe(40)
    expect(message(0).cookie).toBe(1)
  })

  it('merges equal group numbers of different PASIDs, and shows what the hardware lets through', () => {
    const { bench, device, ioas, queue, report, read, message } = e4()
    const capable = Number(bench.hwpt({ dev: device.id, pt: ioas, flags: 12, fault: queue.id }))
    expect(bench.attach(device, capable)).toBe(capable)
    expect(bench.attachPasid(device, 5, capable)).toBe(capable)
    report({ grpid: 3, last: false, pasid: 5, internalFlags: 4 })
    report({ grpid: 3 })
    expect(read(400)).toBe(80)
    expect([message(0), message(1)].map(({ flags, pasid: of }) => [flags, of])).toEqual([
      [5, 5],
      [2, 0],
    ])
  })

  it('puts a group back whose copy fails, without using up its cookie', () => {
    const { bench, report, read, message, queue } = e4()
    report({ address: 0x1n })
    report({ address: 0x2n })
    expect(bench.program.read(queue.fd, NOWHERE, 40)).toBe('EFAULT')
    const end = bench.program.place(4096).address + 4096n - 40n
    expect(bench.program.read(queue.fd, end as never, 80)).toBe(40)
    expect(read(40)).toBe(40)
    expect(message(0)).toMatchObject({ addr: 0x2n, cookie: 2 })
  })

  it('is EFAULT for a response that cannot be read, after those before it were taken', () => {
    const { bench, queue, report, read, message } = e4()
    const { program } = bench
    const write = (at: bigint, count: number) => {
      const result = program.file(queue.fd).write?.(program.call(), at as never, count)
      return result instanceof Refusal ? errnoOf(result) : result
    }
    report({})
    read(40)
    expect(write(NOWHERE, 8)).toBe('EFAULT')
    const page = program.place(4096)
    page.bytes.set(u32s(message(0).cookie, 0), 4088)
    expect(write(page.address + 4088n, 16)).toBe(8)
  })

  it('E6: cancelling on replace, unread groups newest first, then read ones', () => {
    const { bench, device, ioas, hwpt, queue, report, read, respond, poll } = e4()
    for (const grpid of [1, 2, 3]) report({ grpid })
    expect(read(40)).toBe(40)
    expect(bench.attach(device, hwpt)).toBe(hwpt)
    expect(bench.driver.responses).toEqual([])
    bench.attach(device, ioas)
    expect(bench.driver.responses).toEqual(['D group 3: 1', 'D group 2: 1', 'D group 1: 1'])
    expect([read(40), poll(), respond([1, 0])]).toEqual([0, Poll.OUT, 'EINVAL'])
    expect([bench.destroy(hwpt), bench.destroy(queue.id)]).toEqual([0, 'EBUSY'])
    bench.program.close(queue.fd)
    expect(bench.destroy(queue.id)).toBe(0)
  })

  it('does not cancel when a replace fails, nor for another device on the queue', () => {
    const { bench, device, ioas, hwpt, report, read } = e4()
    const other = bench.bind(mockDevice(bench.iommu, 'E'), false)
    bench.attach(other, hwpt)
    report({ grpid: 4 }, other.iommuDevice)
    report({ grpid: 5 })
    bench.driver.refuseAttach = (what) => (what === 'attach D' ? 'ENOMEM' : undefined)
    expect(bench.attach(device, ioas)).toBe('ENOMEM')
    expect(bench.driver.responses).toEqual([])
    bench.driver.refuseAttach = () => undefined
    bench.detach(device)
    expect(bench.driver.responses).toEqual(['D group 5: 1'])
    expect(read(400)).toBe(40)
  })

  it('E7: closing the file answers nothing; detaching does', () => {
    const { bench, device, ioas, hwpt, queue, report, read } = e4()
    report({ grpid: 1 })
    read(40)
    bench.program.close(queue.fd)
    expect(bench.destroy(queue.id)).toBe('EBUSY')
    expect(report({ grpid: 2 })).toBe('queued')
    expect(bench.driver.responses).toEqual([])
    bench.attach(device, ioas)
    expect(bench.driver.responses).toEqual(['D group 2: 1', 'D group 1: 1'])
    expect([bench.destroy(hwpt), bench.destroy(queue.id)]).toEqual([0, 0])
  })

  it('drops kept faults without an answer when the last fault-capable HWPT goes', () => {
    const { bench, device, ioas, hwpt, report, read } = e4()
    report({ grpid: 7, last: false })
    bench.attach(device, ioas)
    bench.attach(device, hwpt)
    report({ grpid: 7 })
    expect(read(400)).toBe(40)
    report({ grpid: 8, last: false })
    forgetPartialFaults(bench.program.machine.groups, device.iommuDevice)
    report({ grpid: 8 })
    expect(read(400)).toBe(40)
    expect(bench.driver.responses).toEqual([])
  })

  it('names the device that made the attachment, whoever of the group faults (04 §13.11)', () => {
    const bench = new Bench()
    bench.ioas()
    const group = bench.iommu.newGroup()
    const a = bench.bind(bench.iommu.device('A', { group }))
    const b = bench.bind(bench.iommu.device('B', { group }))
    const queue = bench.faultQueue()
    const hwpt = Number(bench.hwpt({ dev: a.id, pt: 1, flags: 4, fault: queue.id }))
    bench.attach(a, hwpt)
    bench.attach(b, hwpt)
    const { groups } = bench.program.machine
    reportFault(groups, b.iommuDevice, { grpid: 1, perm: 1, address: 0n, last: true })
    const buffer = bench.program.place(40)
    bench.program.read(queue.fd, buffer.address, 40)
    expect(iommu_hwpt_pgfault.decode(buffer.bytes).dev_id).toBe(a.id)
    bench.program.write(queue.fd, u32s(1, 0))
    expect(bench.driver.responses).toEqual(['B group 1: 0'])
  })

  it('tells those who poll when something comes and when it is gone', () => {
    const { bench, queue, report, read, poll } = e4()
    const seen: (number | undefined)[] = []
    const stop = bench.program.file(queue.fd).onPollChange?.(() => seen.push(poll()))
    report({})
    read(40)
    stop?.()
    report({})
    expect(seen).toEqual([Poll.OUT | READABLE, Poll.OUT])
  })

  it('E28: the file keeps the context alive', () => {
    const bench = new Bench()
    const { fd } = bench.faultQueue()
    bench.program.close(3)
    expect(bench.program.read(fd, NOWHERE, 40)).toBe(0)
    expect(bench.context.released).toBe(false)
    bench.program.close(fd)
    expect(bench.context.released).toBe(true)
  })

  it('answers what is pending when everything is closed', () => {
    const { bench, report } = e4()
    report({ grpid: 6 })
    bench.finish()
    expect(bench.driver.responses).toEqual(['D group 6: 1'])
    expect(bench.driver.domains.size).toBe(0)
  })

  it('serves nested HWPTs of vIOMMUs alike', () => {
    const { bench, device, viommu } = s2()
    const queue = bench.faultQueue()
    const nested = bench.hwpt({
      dev: device.id,
      pt: viommu,
      flags: 4,
      fault: queue.id,
      dataType: 0xdead,
      data: new Uint8Array(4),
    })
    expect([bench.destroy(queue.id), bench.destroy(Number(nested))]).toEqual(['EBUSY', 0])
    bench.program.close(queue.fd)
    expect(bench.destroy(queue.id)).toBe(0)
  })
})
