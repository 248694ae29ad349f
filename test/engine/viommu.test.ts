import { describe, expect, it } from 'vitest'
import { byteLength, fileOffset, iova, objectId, type UserVa } from '../../src/abi/brands.ts'
import { IOMMU_VEVENTQ_ALLOC, type iommu_veventq_alloc } from '../../src/abi/iommufd/events.ts'
import {
  IOMMU_HW_QUEUE_ALLOC,
  IOMMU_VDEVICE_ALLOC,
  IOMMU_VIOMMU_ALLOC,
  type iommu_hw_queue_alloc,
  type iommu_viommu_alloc,
  iommu_viommu_selftest,
} from '../../src/abi/iommufd/viommu.ts'
import type { Decoded } from '../../src/abi/layout.ts'
import { Poll } from '../../src/engine/file.ts'
import { Refusal } from '../../src/engine/reason.ts'
import { Viommu } from '../../src/engine/viommu.ts'
import { NOWHERE, outcomeOf, u32s } from './support/program.ts'
import { type Bench, mockDevice, s1, s2 } from './support/setup.ts'
import { TestIommu, TestViommu } from './support/test-iommu.ts'

const TYPE = 0xdead_beef
const EVENTS = 0xbeef_beef

const vdevice = (bench: Bench, viommu: number, dev: number, virtId: bigint) => {
  const { outcome, after } = bench.program.ioctl(bench.context, IOMMU_VDEVICE_ALLOC, {
    viommu_id: objectId(viommu),
    dev_id: objectId(dev),
    virt_id: virtId,
  })
  return outcome === 0 ? after.out_vdevice_id : outcome
}

describe('IOMMU_VIOMMU_ALLOC (04 §5)', () => {
  it('E8: checks in order', () => {
    const { bench, device, ioas } = s1()
    const parent = Number(bench.hwpt({ dev: device.id, pt: ioas, flags: 1 }))
    const plain = Number(bench.hwpt({ dev: device.id, pt: ioas }))
    const alloc = (args: Partial<Decoded<typeof iommu_viommu_alloc>>) =>
      bench.program.ioctl(bench.context, IOMMU_VIOMMU_ALLOC, {
        type: TYPE,
        dev_id: device.id,
        hwpt_id: objectId(parent),
        ...args,
      })
    const data = bench.program.place(64).address
    const outcomes = [
      { type: 0 },
      { flags: 1 },
      { type: 0xdead, hwpt_id: objectId(0) },
      { dev_id: objectId(1), type: 0xdead },
      { hwpt_id: ioas },
      { hwpt_id: objectId(plain) },
      { data_len: 4, data_uptr: data },
      { data_len: 25, data_uptr: data },
      { data_len: 24, data_uptr: NOWHERE },
    ].map((args) => alloc(args).outcome)
    expect(outcomes).toEqual([
      'EOPNOTSUPP',
      'EOPNOTSUPP',
      'EOPNOTSUPP',
      'ENOENT',
      'ENOENT',
      'EINVAL',
      'EINVAL',
      'EINVAL',
      'EFAULT',
    ])
    const made = alloc({ __reserved: 7, data_uptr: 1n as UserVa }).after.out_viommu_id
    expect(made).toBe(plain + 1)
    expect([bench.destroy(parent), bench.destroy(made), bench.destroy(parent)]).toEqual([
      'EBUSY',
      0,
      0,
    ])
  })

  it('belongs to the IOMMU unit of its device', () => {
    const { bench, ioas, viommu } = s2()
    const elsewhere = new TestIommu(bench.driver, 'other unit')
    const far = bench.bind(mockDevice(elsewhere, 'F'), false)
    const nested = { dev: far.id, pt: viommu, dataType: 0xdead, data: new Uint8Array(8) }
    expect(bench.hwpt(nested)).toBe('EINVAL')
    expect(vdevice(bench, viommu, far.id, 1n)).toBe('EINVAL')
    expect(bench.attach(far, viommu)).toBe('EINVAL')
    expect(bench.attach(far, ioas)).toBe(3)
  })

  it('takes nested HWPTs with data and known flags only', () => {
    const { bench, device, viommu, nested } = s2()
    const data = new Uint8Array(8)
    const pt = viommu
    expect(bench.hwpt({ dev: device.id, pt, flags: 1, dataType: 0xdead, data })).toBe('EOPNOTSUPP')
    expect(bench.hwpt({ dev: device.id, pt })).toBe('EOPNOTSUPP')
    expect(bench.hwpt({ dev: device.id, pt, dataType: 0xdeaf, data })).toBe('EOPNOTSUPP')
    expect([bench.destroy(viommu), bench.destroy(nested), bench.destroy(viommu)]).toEqual([
      'EBUSY',
      0,
      0,
    ])
  })
})

describe('vDEVICEs (04 §6)', () => {
  it('E9: one for a device, each virtual ID once, no tie to the attachment', () => {
    const { bench, ioas, device, parent, viommu, nested } = s2()
    expect(bench.attach(device, nested)).toBe('ENOENT')
    expect(vdevice(bench, parent, device.id, 0x99n)).toBe('ENOENT')
    expect(vdevice(bench, viommu, ioas, 0x99n)).toBe('ENOENT')
    const first = Number(vdevice(bench, viommu, device.id, 0x99n))
    expect(vdevice(bench, viommu, device.id, 0x98n)).toBe('EEXIST')
    const second = bench.bind(mockDevice(bench.iommu, 'E'), false)
    bench.attach(second, ioas)
    expect(vdevice(bench, viommu, second.id, 0x99n)).toBe('EEXIST')
    expect(vdevice(bench, viommu, second.id, 0n)).toBe(second.id + 1)
    expect(bench.attach(device, nested)).toBe(nested)
    expect([bench.destroy(viommu), bench.destroy(first)]).toEqual(['EBUSY', 0])
    expect(vdevice(bench, viommu, device.id, 0xffff_ffff_ffff_ffffn)).toBe(first)
    bench.finish()
  })

  it('E10: unbinding leaves a tombstone', () => {
    const { bench, device, parent, viommu, nested, auto } = s2()
    const id = Number(vdevice(bench, viommu, device.id, 0x99n))
    const free = [device.id, Number(auto)].sort((a, b) => a - b)
    bench.unbind(device)
    expect([id, device.id, Number(auto)].map((gone) => bench.destroy(gone))).toEqual([
      'ENOENT',
      'ENOENT',
      'ENOENT',
    ])
    expect([bench.ioas(), bench.ioas(), bench.ioas()]).toEqual([...free, id + 1])
    const driver = bench.context.objects.peek(viommu)
    expect(driver instanceof Viommu && driver.deviceOf(0x99n)).toBeUndefined()
    expect([viommu, nested, viommu, parent].map((each) => bench.destroy(each))).toEqual([
      'EBUSY',
      0,
      0,
      0,
    ])
    // E29: the tombstone still counts.
    expect(bench.context.objects.size).toBeGreaterThan(0)
    bench.finish()
    expect(bench.context.released).toBe(true)
  })

  it('refuses a new vDEVICE for a device that is being unbound', () => {
    const { bench, device, viommu } = s2()
    vdevice(bench, viommu, device.id, 1n)
    let outcome: unknown
    bench.driver.onVdeviceDestroy = () => {
      outcome = vdevice(bench, viommu, device.id, 2n)
    }
    bench.unbind(device)
    expect(outcome).toBe('ENOENT')
  })

  it('leaves nothing when its ID cannot be told', () => {
    const { bench, device, viommu } = s2()
    const before = bench.objects()
    bench.program.injector.arm(1, 1, ['copy-to-user'])
    expect(vdevice(bench, viommu, device.id, 1n)).toBe('EFAULT')
    expect([bench.objects(), device.vdevice]).toEqual([before, undefined])
    expect(typeof vdevice(bench, viommu, device.id, 1n)).toBe('number')
  })
})

describe('virtual event queues (04 §7)', () => {
  const alloc = (
    { bench, viommu }: { bench: Bench; viommu: number },
    args: Partial<Decoded<typeof iommu_veventq_alloc>> & { size?: number } = {},
  ) => {
    const { outcome, after } = bench.program.ioctl(bench.context, IOMMU_VEVENTQ_ALLOC, {
      viommu_id: objectId(viommu),
      type: EVENTS,
      veventq_depth: 2,
      ...args,
    })
    return outcome === 0 ? { id: after.out_veventq_id, fd: after.out_veventq_fd } : outcome
  }

  const opened = (result: ReturnType<typeof alloc>) => {
    if (typeof result !== 'object') throw new Error(String(result))
    return result
  }

  /** E12: a queue, and a device with virtual ID 0x99 whose events go there. */
  const e12 = (depth = 2) => {
    const start = s2()
    const { bench, device, viommu, nested } = start
    const { id, fd } = opened(alloc(start, { veventq_depth: depth }))
    vdevice(bench, viommu, device.id, 0x99n)
    bench.attach(device, nested)
    const object = bench.context.objects.peek(viommu)
    if (!(object instanceof Viommu) || !(object.ops instanceof TestViommu))
      throw new Error('no vIOMMU of the test driver')
    const { ops } = object
    const raise = (times = 1) => {
      for (let n = 0; n < times; n++) expect(ops.raise(device.iommuDevice)).toBeUndefined()
    }
    const buffer = bench.program.place(4096)
    const read = (count: number) => {
      buffer.bytes.fill(0xcc)
      const result = bench.program.read(fd, buffer.address, count)
      if (typeof result !== 'number') return result
      return Array.from(new Uint32Array(buffer.bytes.slice(0, result).buffer))
    }
    const poll = () => bench.program.file(fd).poll?.()
    return { ...start, id, fd, ops, raise, read, poll }
  }

  it('E11: allocation', () => {
    const start = s2()
    const { bench, parent } = start
    expect(alloc(start, { flags: 1 })).toBe('EOPNOTSUPP')
    expect(alloc(start, { __reserved: 1 })).toBe('EOPNOTSUPP')
    expect(alloc(start, { type: 0, veventq_depth: 0 })).toBe('EOPNOTSUPP')
    expect(alloc(start, { veventq_depth: 0 })).toBe('EINVAL')
    expect(alloc(start, { veventq_depth: 524289 })).toBe('EINVAL')
    expect(alloc(start, { viommu_id: objectId(parent) })).toBe('ENOENT')
    const { id, fd } = opened(alloc(start, { veventq_depth: 524288 }))
    expect(alloc(start)).toBe('EEXIST')
    const second = opened(alloc(start, { type: 0x1234, veventq_depth: 1 }))
    expect(second.id).toBe(id + 1)
    expect(bench.destroy(id)).toBe('EBUSY')
    bench.program.close(fd)
    expect(alloc(start)).toBe('EEXIST')
    expect(bench.destroy(id)).toBe(0)
    expect(opened(alloc(start, { size: 28 })).id).toBe(id)
    expect(alloc(start, { size: 27 })).toBe('EINVAL')
  })

  it('E12: overflow and sequence numbers', () => {
    const { raise, read } = e12()
    raise()
    expect(read(12)).toEqual([0, 0, 0x99])
    raise(4)
    expect(read(4096)).toEqual([0, 1, 0x99, 0, 2, 0x99, 1, 4])
    expect(read(4096)).toEqual([])
    raise()
    expect(read(12)).toEqual([0, 5, 0x99])
  })

  it('E13: a later event takes the place of the marker', () => {
    const { raise, read, poll } = e12(1)
    raise(2)
    expect(read(12)).toEqual([0, 0, 0x99])
    expect(poll()).toBe(Poll.IN | Poll.RDNORM)
    raise()
    expect(read(100)).toEqual([0, 2, 0x99])
    raise(2)
    read(12)
    expect(read(8)).toEqual([1, 4])
    expect(poll()).toBe(0)
  })

  it('E14: read sizes', () => {
    const { raise, read, poll, bench, fd } = e12()
    expect([read(0), read(7), read(8)]).toEqual(['EINVAL', 'EINVAL', []])
    raise()
    expect([0, 7, 8, 11].map((count) => read(count))).toEqual(Array(4).fill('EINVAL'))
    raise()
    expect(read(20)).toEqual([0, 0, 0x99])
    expect(read(12)).toEqual([0, 1, 0x99])
    expect(bench.program.write(fd, new Uint8Array(8))).toBe('EINVAL')
    expect(poll()).toBe(0)
  })

  it('puts an event back that cannot be copied', () => {
    const { raise, read, bench, fd } = e12()
    raise(2)
    expect(bench.program.read(fd, NOWHERE, 100)).toBe('EFAULT')
    const end = bench.program.place(4096).address + 4096n - 12n
    expect(bench.program.read(fd, end as UserVa, 24)).toBe(12)
    expect(read(100)).toEqual([0, 1, 0x99])
  })

  it('refuses events of a type without queue, and empty ones without using up a number', () => {
    const { ops, device, raise, read, bench, viommu } = e12()
    expect(outcomeOf(ops.raise(device.iommuDevice, 7))).toBe('EOPNOTSUPP')
    const object = bench.context.objects.peek(viommu)
    if (!(object instanceof Viommu)) throw new Error('no vIOMMU')
    expect(outcomeOf(object.reportEvent(EVENTS, new Uint8Array(0)))).toBe('EINVAL')
    raise()
    expect(read(12)).toEqual([0, 0, 0x99])
  })
})

describe('hardware queues (04 §8)', () => {
  const X = 0x1000000n
  const queue = (
    { bench, viommu }: { bench: Bench; viommu: number },
    args: Partial<Decoded<typeof iommu_hw_queue_alloc>> = {},
  ) => {
    const { outcome, after } = bench.program.ioctl(bench.context, IOMMU_HW_QUEUE_ALLOC, {
      viommu_id: objectId(viommu),
      type: TYPE,
      nesting_parent_iova: iova(X),
      length: byteLength(0x1000n),
      ...args,
    })
    return outcome === 0 ? after.out_hw_queue_id : outcome
  }

  it('E15: order of checks, hidden access, dependency', () => {
    const start = s2()
    const { bench, ioas, viommu, nested } = start
    const { alignment } = bench.ranges(ioas)
    expect(alignment).toBe(2048n)
    expect(queue(start, { type: 0 })).toBe('EOPNOTSUPP')
    expect(queue(start, { length: byteLength(0n) })).toBe('EINVAL')
    expect(queue(start, { nesting_parent_iova: iova(0xffff_ffff_ffff_ffffn) })).toBe('EOVERFLOW')
    expect(queue(start, { viommu_id: ioas })).toBe('ENOENT')
    expect(queue(start, { type: 5 })).toBe('EOPNOTSUPP')
    expect(queue(start, { index: 7 })).toBe('ENOENT')
    const memory = bench.program.place(0x2000).address
    bench.map(ioas, X, 0x1000n, { va: memory })
    bench.map(ioas, X + 0x1000n, 0x1000n, { va: memory + 0x1000n })
    expect(queue(start, { index: 1 })).toBe('EIO')
    expect(queue(start, { index: 2 })).toBe('EINVAL')
    const first = nested + 1
    expect(queue(start)).toBe(first)
    expect(bench.destroy(first + 1)).toBe('EBUSY')
    expect(bench.ranges(ioas).alignment).toBe(4096n)
    expect(queue(start)).toBe('EEXIST')
    expect(bench.unmap(ioas, X, 0x1000n)).toBe('EBUSY')
    const second = first + 2
    expect(
      queue(start, {
        index: 1,
        nesting_parent_iova: iova(X + 0x800n),
        length: byteLength(0x800n),
      }),
    ).toBe(second)
    expect([first, viommu, second, first].map((id) => bench.destroy(id))).toEqual([
      'EBUSY',
      'EBUSY',
      0,
      0,
    ])
    expect(bench.unmap(ioas, X, 0x1000n)).toBe(0)
    expect(bench.ranges(ioas).alignment).toBe(2048n)
  })

  it('absurd lengths', () => {
    const start = s2()
    const at = (address: bigint, length: bigint) =>
      queue(start, { nesting_parent_iova: iova(address), length: byteLength(length) })
    expect(at(0xfffn, 0xffff_ffff_ffff_f000n)).toBe('ERANGE')
    expect(at(0x1000n, 1n << 40n)).toBe('ENOMEM')
    expect(at(0x1000n, 1n << 39n)).toBe('ENOENT')
    expect(start.bench.context.objects.size).toBe(start.nested)
  })

  it('E16: permissions, misaligned areas, half an unmap', () => {
    const readable = s2()
    const { bench } = readable
    bench.map(readable.ioas, X, 0x1000n, { prot: 2 })
    expect(queue(readable)).toBe('EPERM')
    bench.map(readable.ioas, X + 0x1000n, 0x1000n, { prot: 4 })
    expect(typeof queue(readable, { nesting_parent_iova: iova(X + 0x1000n) })).toBe('number')

    const misaligned = s2()
    const va = misaligned.bench.program.place(0x2000).address + 0x800n
    expect(misaligned.bench.map(misaligned.ioas, X + 0x10800n, 0x1000n, { va })).toBe(0)
    misaligned.bench.map(misaligned.ioas, X, 0x1000n)
    expect(queue(misaligned)).toBe('EADDRINUSE')
    expect(misaligned.bench.ranges(misaligned.ioas).alignment).toBe(2048n)

    const two = s2()
    two.bench.map(two.ioas, X, 0x1000n)
    two.bench.map(two.ioas, X + 0x1000n, 0x1000n)
    queue(two, { nesting_parent_iova: iova(X + 0x1000n) })
    expect(two.bench.unmap(two.ioas, X, 0x2000n)).toBe('EBUSY')
    expect(two.bench.unmap(two.ioas, X, 0x1000n)).toBe('ENOENT')
  })

  it('needs physically consecutive pages', () => {
    const start = s2()
    const { bench, ioas } = start
    bench.map(ioas, X, 0x1000n)
    bench.map(ioas, X + 0x1000n, 0x1000n)
    const { frames } = bench.program.machine
    expect(frames).toBeDefined()
    const phys = [X, X + 0x1000n].map((at) => bench.domain(start.parent).iovaToPhys(iova(at)))
    const consecutive = (phys[1] ?? 0n) - (phys[0] ?? 0n) === 0x1000n
    const outcome = queue(start, { length: byteLength(0x2000n) })
    expect(outcome).toBe(consecutive ? start.nested + 1 : 'EFAULT')
  })

  it('gives everything back when its ID cannot be told', () => {
    const start = s2()
    const { bench, ioas } = start
    bench.map(ioas, X, 0x1000n)
    const before = bench.objects()
    bench.program.injector.arm(1, 1, ['copy-to-user'])
    expect(queue(start)).toBe('EFAULT')
    expect(bench.objects()).toEqual(before)
    expect(bench.ranges(ioas).alignment).toBe(2048n)
    expect(bench.unmap(ioas, X, 0x1000n)).toBe(0)
  })
})

describe('mmap of published regions (04 §9)', () => {
  const withRegion = () => {
    const start = s2()
    const { bench, device, parent } = start
    const data = bench.program.place(iommu_viommu_selftest.encode({ in_data: 0xbeef }))
    const { out_viommu_id: id } = bench.program.must(bench.context, IOMMU_VIOMMU_ALLOC, {
      type: TYPE,
      dev_id: device.id,
      hwpt_id: objectId(parent),
      data_len: 24,
      data_uptr: data.address,
    })
    const answer = iommu_viommu_selftest.decode(data.bytes.slice())
    const mmap = (
      length: number,
      offset: bigint,
      options: { prot?: number; flags?: number } = {},
    ) =>
      bench.context.mmap(bench.program.call(), {
        length: byteLength(BigInt(length)),
        offset: fileOffset(offset),
        prot: options.prot ?? 3,
        flags: options.flags ?? 1,
      })
    return { ...start, id, answer, mmap }
  }

  it('E17: exactly the region, shared, while its vIOMMU lives', () => {
    const { bench, id, answer, mmap } = withRegion()
    const { out_mmap_offset: at } = answer
    expect(answer).toMatchObject({
      out_data: 0xbeef,
      out_mmap_offset: 0x1000n,
      out_mmap_length: 0x2000n,
    })
    expect(outcomeOf(mmap(0x2000, at + 0x1000n))).toBe('ENXIO')
    expect(outcomeOf(mmap(0x2000, at + 0x2000n))).toBe('ENXIO')
    expect(outcomeOf(mmap(0x1000, at))).toBe('ENXIO')
    expect(outcomeOf(mmap(0x4000, at))).toBe('ENXIO')
    expect(outcomeOf(mmap(0x2000, at, { flags: 2 }))).toBe('EINVAL')
    expect(outcomeOf(mmap(0x2000, at, { prot: 5 }))).toBe('EPERM')
    const region = mmap(0x1fff, at)
    if (region instanceof Refusal) throw new Error(region.say())
    const word = new Uint8Array(4)
    region.memory.read(0, word)
    expect(word).toEqual(u32s(0xbeef))
    bench.context.mappingsOf(region.offset, 1)
    expect(bench.destroy(id)).toBe('EBUSY')
    bench.context.mappingsOf(region.offset, 2)
    bench.context.mappingsOf(region.offset, 1)
    expect(bench.destroy(id)).toBe('EBUSY')
    bench.context.mappingsOf(region.offset, 0)
    expect(bench.destroy(id)).toBe(0)
    expect(outcomeOf(mmap(0x2000, at))).toBe('ENXIO')
  })

  it('offers the lowest free offsets, and again what became free', () => {
    const { bench, mmap } = withRegion()
    const { regions } = bench.context
    const [owner] = [...bench.context.objects]
    if (owner === undefined) throw new Error('no object')
    const publish = (length: number) => {
      const region = regions.publish(owner, length)
      if (region instanceof Refusal) throw new Error(region.say())
      return region
    }
    const second = publish(0x2000)
    const third = publish(0x2000)
    expect([second.offset, third.offset]).toEqual([0x3000n, 0x5000n])
    second.withdraw()
    expect(publish(0x4000).offset).toBe(0x7000n)
    expect(publish(0x1000).offset).toBe(0x3000n)
    expect(publish(0x1000).offset).toBe(0x4000n)
    expect(outcomeOf(mmap(0x1000, 0x4000n))).toBe(0)
    expect(outcomeOf(regions.publish(owner, 0))).toBe('EINVAL')
    expect(outcomeOf(regions.publish(owner, 0x800))).toBe('EINVAL')
  })

  it('keeps the context alive while mapped, and moves its content to the pages of the host', () => {
    const { bench, device, answer, mmap } = withRegion()
    const region = mmap(0x2000, answer.out_mmap_offset)
    if (region instanceof Refusal) throw new Error(region.say())
    const pages = new Uint8Array(0x2000)
    region.memory.backBy?.({
      length: pages.length,
      read: (offset, into) => into.set(pages.subarray(offset, offset + into.length)),
      write: (offset, bytes) => pages.set(bytes, offset),
    })
    expect(pages.subarray(0, 4)).toEqual(u32s(0xbeef))
    pages[0x1fff] = 7
    const byte = new Uint8Array(1)
    region.memory.read(0x1fff, byte)
    expect(byte[0]).toBe(7)
    bench.context.mappingsOf(region.offset, 1)
    bench.unbind(device)
    bench.program.closeAll()
    expect(bench.context.released).toBe(false)
    bench.context.mappingsOf(region.offset, 0)
    expect(bench.context.released).toBe(true)
  })

  it('is EINVAL on an iommufd that was opened for reading only', () => {
    const { bench } = withRegion()
    const readOnly = bench.program.machine.open('/dev/iommu', bench.program.process, 'read')
    const request = {
      length: byteLength(0x2000n),
      offset: fileOffset(0x1000n),
      prot: 1,
      flags: 1,
    }
    expect(outcomeOf(readOnly.mmap(bench.program.call(), request))).toBe('EINVAL')
  })
})
