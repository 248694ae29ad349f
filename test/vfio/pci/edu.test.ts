/** Chapter 6, section 16: the worked examples of ED, an edu device, in-process. */
import { beforeEach, describe, expect, test } from 'vitest'
import { byteLength, type Fd, fd, iova, objectId } from '../../../src/abi/brands.ts'
import { IOMMU_IOAS_ALLOC, IOMMU_IOAS_MAP } from '../../../src/abi/iommufd/ioas.ts'
import {
  VFIO_DEVICE_ATTACH_IOMMUFD_PT,
  VFIO_DEVICE_BIND_IOMMUFD,
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_RESET,
} from '../../../src/abi/vfio/device.ts'
import { VFIO_DEVICE_FEATURE } from '../../../src/abi/vfio/features.ts'
import { VFIO_DEVICE_GET_IRQ_INFO, VFIO_DEVICE_SET_IRQS } from '../../../src/abi/vfio/irq.ts'
import {
  VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
  VFIO_DEVICE_IOEVENTFD,
  VFIO_DEVICE_PCI_HOT_RESET,
} from '../../../src/abi/vfio/pci.ts'
import { VFIO_DEVICE_GET_REGION_INFO } from '../../../src/abi/vfio/region.ts'
import { Edu } from '../../../src/devices/edu.ts'
import { Refusal } from '../../../src/engine/reason.ts'
import { errnoOf } from '../../engine/support/program.ts'
import { CONFIG, PciWorld } from './world.ts'

const [NONE, BOOL, EVENTFD, MASK, UNMASK, TRIGGER] = [1, 2, 4, 8, 0x10, 0x20]
const [INTX, MSI, ERR, REQ] = [0, 1, 3, 4]

let world: PciWorld

/** Little-endian bytes of some words, then of the data. */
const words = (head: readonly number[], data: readonly number[], width: 1 | 4): Uint8Array => {
  const bytes = new Uint8Array(head.length * 4 + data.length * width)
  const view = new DataView(bytes.buffer)
  for (const [i, word] of head.entries()) view.setUint32(i * 4, word, true)
  for (const [i, value] of data.entries())
    if (width === 4) view.setInt32(head.length * 4 + i * 4, value, true)
    else view.setUint8(head.length * 4 + i, value)
  return bytes
}

/** SET_IRQS with descriptors or bytes as data. */
const setIrqs = (
  flags: number,
  index: number,
  start: number,
  count: number,
  data: number[] = [],
) => {
  const width = (flags & EVENTFD) !== 0 ? 4 : 1
  const argsz = 20 + data.length * width
  const bytes = words([argsz, flags, index, start, count], data, width)
  return world.ioctl(VFIO_DEVICE_SET_IRQS.request, bytes).result
}

const bind = () =>
  world.request(VFIO_DEVICE_BIND_IOMMUFD, { argsz: 24, iommufd: fd(3) as Fd }).result

beforeEach(() => {
  world = new PciWorld(new Edu())
})

test('E1: an unbound device file serves nothing but BIND', () => {
  expect(world.request(VFIO_DEVICE_GET_INFO, { argsz: 24 }).result).toBe('EINVAL')
  expect(world.pread(4, CONFIG)).toBe('EINVAL')
  expect(world.ioctl(0x3bf0, new Uint8Array(8)).result).toBe('EINVAL')
  expect(bind()).toBe(0)
  expect(world.ioctl(0x3bf0, new Uint8Array(8)).result).toBe('ENOTTY')
})

test('E24: names that GET_DEVICE_FD is given', () => {
  const pci = world.pci.functions[0]?.pci
  const answer = (name: string) => {
    const match = pci?.matches(name)
    return match instanceof Refusal ? errnoOf(match) : match
  }
  const bdf = pci?.bdf ?? ''
  expect(answer(bdf)).toBe(true)
  expect(answer(`${bdf}0`)).toBe(false)
  expect(answer(bdf.slice('0000:'.length))).toBe(false)
  expect(answer(`${bdf} `)).toBe(true)
  expect(answer(`${bdf} foo`)).toBe('EINVAL')
  expect(answer(`${bdf} vf_token=123`)).toBe('EINVAL')
  expect(answer(`${bdf} vf_token=52ac9bff-3a88-4fbd-901a-0d767c3b6c97`)).toBe('EINVAL')
})

describe('bound', () => {
  beforeEach(() => {
    expect(bind()).toBe(0)
  })

  test('E2: GET_INFO', () => {
    const { result, after } = world.request(VFIO_DEVICE_GET_INFO, { argsz: 24 })
    expect(result).toBe(0)
    expect(after).toMatchObject({ argsz: 24, flags: 3, num_regions: 9, num_irqs: 5, cap_offset: 0 })
    expect(world.request(VFIO_DEVICE_GET_INFO, { argsz: 15 }).result).toBe('EINVAL')
  })

  test('E3: GET_REGION_INFO', () => {
    const region = (index: number, argsz = 32) =>
      world.request(VFIO_DEVICE_GET_REGION_INFO, { argsz, index, cap_offset: 0x55 })
    // Linux lets edu's registers be mapped; the specification did not.
    expect(region(0).after).toMatchObject({ argsz: 32, flags: 7, size: 0x10_0000n, offset: 0n })
    expect(region(7).after).toMatchObject({ flags: 3, size: 256n, cap_offset: 0x55 })
    expect(region(1).after).toMatchObject({ flags: 0, size: 0n, offset: 0x100_0000_0000n })
    expect(region(6).after).toMatchObject({ flags: 0, size: 0n })
    expect(region(8).result).toBe('EINVAL')
    expect(region(9).result).toBe('EINVAL')
    expect(region(0, 31).result).toBe('EINVAL')
  })

  test('E4: bounds of configuration space', () => {
    expect(world.pread(4, CONFIG + 256n)).toBe('EFAULT')
    expect(world.pread(257, CONFIG)).toBe('EFAULT')
    expect(world.pread(0, CONFIG + 9999n)).toEqual(new Uint8Array(0))
    expect(world.pread(1, 9n << 40n)).toBe('EINVAL')
    expect(world.pread(0, 9n << 40n)).toEqual(new Uint8Array(0))
  })

  test('E5: sizing BARs moves nothing', () => {
    const before = world.load(4, CONFIG + 0x10n)
    expect(world.store(4, CONFIG + 0x10n, 0xffff_ffffn)).toBe(4)
    expect(world.load(4, CONFIG + 0x10n)).toBe(0xfff0_0000n)
    expect(world.store(4, CONFIG + 0x14n, 0xffff_ffffn)).toBe(4)
    expect(world.load(4, CONFIG + 0x14n)).toBe(0n)
    expect(world.load(4, 0n)).toBe(0x0100_00edn)
    world.store(4, CONFIG + 0x10n, BigInt(before))
    expect(world.load(4, CONFIG + 0x10n)).toBe(before)
  })

  test('E6: COMMAND', () => {
    const command = () => world.load(2, CONFIG + 4n)
    expect(command()).toBe(0x0002n)
    world.store(2, CONFIG + 4n, 0x0006n)
    expect(command()).toBe(0x0006n)
    world.store(1, CONFIG + 4n, 0x02n)
    expect(command()).toBe(0x0002n)
    world.store(2, CONFIG + 4n, 0x0402n)
    expect(command()).toBe(0x0402n)
    world.store(1, CONFIG + 5n, 0x00n)
    expect(command()).toBe(0x0002n)
  })

  test('E7: memory enable', () => {
    expect(world.load(4, 0n)).toBe(0x0100_00edn)
    world.store(2, CONFIG + 4n, 0n)
    expect(world.load(4, 0n)).toBe('EIO')
    expect(world.store(4, 4n, 1n)).toBe('EIO')
    expect(world.load(4, CONFIG)).toBe(0x11e8_1234n)
    world.store(2, CONFIG + 4n, 2n)
    expect(world.load(4, 0n)).toBe(0x0100_00edn)
  })

  test('E8: read-only fields', () => {
    expect(world.store(4, CONFIG, 0xffff_ffffn)).toBe(4)
    expect(world.load(4, CONFIG)).toBe(0x11e8_1234n)
    expect(world.storeFromNowhere(2, CONFIG)).toBe('EFAULT')
    expect(world.store(1, CONFIG + 0x3cn, 0x5an)).toBe(1)
    expect(world.load(1, CONFIG + 0x3cn)).toBe(0x5an)
  })

  test('E10: the file position', () => {
    const place = world.program.place(4)
    expect(world.file.read?.(world.call(), place.address, 4)).toBe(4)
    expect([...place.bytes.subarray(0, 4)]).toEqual([0xed, 0, 0, 1])
    expect(world.file.read?.(world.call(), place.address, 4)).toBe(4)
    expect([...place.bytes.subarray(0, 4)]).toEqual([0, 0, 0, 0])
  })

  test('an 8-byte read below 0x80 is no access of edu', () => {
    expect(world.load(8, 0n)).toBe(0xffff_ffff_ffff_ffffn)
    expect(world.load(2, 0n)).toBe(0n)
  })

  test('E16: INTx', () => {
    const { fd: number, eventfd } = world.eventfd()
    const { after } = world.request(VFIO_DEVICE_GET_IRQ_INFO, { argsz: 16, index: INTX })
    expect(after).toMatchObject({ argsz: 16, flags: 7, count: 1 })
    expect(setIrqs(UNMASK | NONE, INTX, 0, 1)).toBe('EINVAL')
    expect(setIrqs(TRIGGER | EVENTFD, INTX, 0, 1, [number])).toBe(0)
    world.store(4, 0x60n, 1n)
    expect(eventfd.read()).toBe(1)
    world.store(4, 0x60n, 2n)
    expect(eventfd.read()).toBe(0)
    expect(setIrqs(UNMASK | NONE, INTX, 0, 1)).toBe(0)
    expect(eventfd.read()).toBe(1)
    world.store(4, 0x64n, 3n)
    expect(setIrqs(UNMASK | NONE, INTX, 0, 1)).toBe(0)
    expect(eventfd.read()).toBe(0)
    world.store(4, 0x60n, 1n)
    expect(eventfd.read()).toBe(1)
    expect(setIrqs(TRIGGER | NONE, INTX, 0, 1)).toBe(0)
    expect(eventfd.read()).toBe(1)
    expect(setIrqs(MASK | EVENTFD, INTX, 0, 1, [number])).toBe('ENOTTY')
    expect(setIrqs(TRIGGER | EVENTFD, INTX, 0, 1, [-1])).toBe(0)
    expect(setIrqs(TRIGGER | NONE, INTX, 0, 0)).toBe(0)
    expect(setIrqs(TRIGGER | NONE, INTX, 0, 0)).toBe('EINVAL')
  })

  test('STATUS shows the line, whether INTx is disabled or not', () => {
    expect(world.load(2, CONFIG + 6n)).toBe(0x10n)
    world.store(4, 0x60n, 1n)
    expect(world.load(2, CONFIG + 6n)).toBe(0x18n)
    world.store(2, CONFIG + 4n, 0x0402n)
    expect(world.load(4, CONFIG + 4n)).toBe(0x0018_0402n)
    world.store(4, 0x64n, 1n)
    expect(world.load(2, CONFIG + 6n)).toBe(0x10n)
    world.store(4, 0x60n, 1n)
    expect(world.ioctl(VFIO_DEVICE_RESET.request, new Uint8Array(4)).result).toBe(0)
    expect(world.load(2, CONFIG + 6n)).toBe(0x10n)
  })

  test('E17: unmask eventfd and INTx disable', () => {
    const e = world.eventfd()
    const u = world.eventfd()
    expect(setIrqs(TRIGGER | EVENTFD, INTX, 0, 1, [e.fd])).toBe(0)
    expect(setIrqs(UNMASK | EVENTFD, INTX, 0, 1, [u.fd])).toBe(0)
    expect(setIrqs(UNMASK | EVENTFD, INTX, 0, 1, [world.eventfd().fd])).toBe('EBUSY')
    world.store(4, 0x60n, 1n)
    expect(e.eventfd.read()).toBe(1)
    u.eventfd.signal()
    expect(e.eventfd.read()).toBe(1)
    expect(u.eventfd.read()).toBe(0)
    world.store(4, 0x64n, 1n)
    u.eventfd.signal()
    expect(e.eventfd.read()).toBe(0)
    world.store(2, CONFIG + 4n, 0x0402n)
    world.store(4, 0x60n, 1n)
    expect(e.eventfd.read()).toBe(0)
    expect(setIrqs(TRIGGER | NONE, INTX, 0, 1)).toBe(0)
    expect(e.eventfd.read()).toBe(0)
    world.store(2, CONFIG + 4n, 0x0002n)
    expect(e.eventfd.read()).toBe(1)
    expect(setIrqs(UNMASK | EVENTFD, INTX, 0, 1, [-1])).toBe(0)
  })

  test('E18: the MSI capability', () => {
    const control = () => world.load(2, CONFIG + 0x42n)
    const { fd: number, eventfd } = world.eventfd()
    world.store(2, CONFIG + 4n, 6n)
    expect(control()).toBe(0x0080n)
    world.store(2, CONFIG + 0x42n, 0x0081n)
    expect(control()).toBe(0x0080n)
    expect(setIrqs(TRIGGER | EVENTFD, MSI, 0, 1, [number])).toBe(0)
    expect(control()).toBe(0x0080n)
    world.store(2, CONFIG + 0x42n, 0x0081n)
    expect(control()).toBe(0x0081n)
    world.store(2, CONFIG + 0x42n, 0x0091n)
    expect(control()).toBe(0x0081n)
    world.store(2, CONFIG + 0x42n, 0x0083n)
    expect(control()).toBe(0x0083n)
    world.store(4, CONFIG + 0x44n, 0xfee0_0000n)
    expect(world.load(4, CONFIG + 0x44n)).toBe(0xfee0_0000n)
    world.store(4, 0x60n, 1n)
    expect(eventfd.read()).toBe(1)
    world.store(2, CONFIG + 0x42n, 0x0080n)
    world.store(4, 0x60n, 1n)
    expect(eventfd.read()).toBe(0)
  })

  test('E13, E19: arguments of SET_IRQS, REQ and ERR', () => {
    const r = world.eventfd()
    expect(setIrqs(TRIGGER | NONE, 5, 0, 1)).toBe('EINVAL')
    expect(setIrqs(0x40 | TRIGGER | NONE, INTX, 0, 1)).toBe('EINVAL')
    expect(setIrqs(NONE, INTX, 0, 1)).toBe('ENOTTY')
    expect(setIrqs(TRIGGER | NONE, 2, 0, 0)).toBe('EINVAL')
    expect(setIrqs(TRIGGER | NONE, REQ, 0, 0)).toBe('EINVAL')
    expect(setIrqs(TRIGGER | EVENTFD, REQ, 0, 1, [-1])).toBe(0)
    expect(setIrqs(TRIGGER | EVENTFD, REQ, 0, 1, [-2])).toBe('EINVAL')
    expect(setIrqs(TRIGGER | EVENTFD, REQ, 0, 1, [r.fd])).toBe(0)
    expect(setIrqs(TRIGGER | NONE, REQ, 0, 1)).toBe(0)
    expect(r.eventfd.read()).toBe(1)
    expect(setIrqs(TRIGGER | BOOL, REQ, 0, 1, [0])).toBe(0)
    expect(r.eventfd.read()).toBe(0)
    expect(setIrqs(TRIGGER | EVENTFD, REQ, 0, 0)).toBe('EINVAL')
    expect(setIrqs(TRIGGER | NONE, REQ, 0, 0)).toBe(0)
    expect(setIrqs(TRIGGER | NONE, REQ, 0, 1)).toBe('EINVAL')
    expect(world.request(VFIO_DEVICE_GET_IRQ_INFO, { argsz: 16, index: ERR }).result).toBe('EINVAL')
    expect(setIrqs(TRIGGER | NONE, ERR, 0, 0)).toBe('EINVAL')
  })

  test('E21: no bus reset on the root bus', () => {
    const info = world.request(VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, { argsz: 12 })
    expect(info.result).toBe('ENODEV')
    expect(world.request(VFIO_DEVICE_PCI_HOT_RESET, { argsz: 12, count: 0 }).result).toBe('ENODEV')
    expect(world.request(VFIO_DEVICE_PCI_HOT_RESET, { argsz: 16, count: 1 }).result).toBe('EINVAL')
  })

  test('E22: ioeventfds', () => {
    const e = world.eventfd()
    const set = (value: Partial<{ flags: number; offset: bigint; data: bigint; fd: number }>) => {
      const { flags = 4, offset = 8n, data = 5n, fd: number = e.fd } = value
      const bytes = new Uint8Array(32)
      const view = new DataView(bytes.buffer)
      view.setUint32(0, 28, true)
      view.setUint32(4, flags, true)
      view.setBigUint64(8, offset, true)
      view.setBigUint64(16, data, true)
      view.setInt32(24, number, true)
      return world.ioctl(VFIO_DEVICE_IOEVENTFD.request, bytes).result
    }
    expect(set({})).toBe(0)
    e.eventfd.signal()
    world.time.pass(10)
    expect(world.load(4, 8n)).toBe(120n)
    expect(e.eventfd.read()).toBe(0)
    expect(set({})).toBe('EEXIST')
    expect(set({ data: 6n })).toBe(0)
    expect(set({ fd: -1 })).toBe(0)
    expect(set({ fd: -1 })).toBe('ENODEV')
    for (const flags of [0, 5, 8, 0x10]) expect(set({ flags })).toBe('EINVAL')
    expect(set({ fd: -2 })).toBe('EINVAL')
    expect(set({ offset: CONFIG })).toBe('EINVAL')
    expect(set({ offset: 0xffffen })).toBe('EINVAL')
    expect(set({ fd: 9999 })).toBe('EBADF')
  })

  test('E23: features', () => {
    const feature = (flags: number, data: number[] = [], argsz = 8 + data.length * 4) =>
      world.ioctl(VFIO_DEVICE_FEATURE.request, words([argsz, flags], data, 4)).result
    const [GET, SET, PROBE] = [0x1_0000, 0x2_0000, 0x4_0000]
    expect(feature(PROBE | 3)).toBe(0)
    expect(feature(PROBE | SET | 3)).toBe(0)
    expect(feature(PROBE | GET | 3)).toBe('EINVAL')
    expect(feature(SET | 3)).toBe(0)
    expect(feature(SET | 3)).toBe('EINVAL')
    expect(feature(SET | 5)).toBe(0)
    expect(feature(SET | 5)).toBe(0)
    expect(feature(3)).toBe('EINVAL')
    expect(feature(GET | SET | 3)).toBe('EINVAL')
    expect(feature(SET | 4)).toBe('EINVAL')
    expect(feature(SET | 4, [-1, 0])).toBe('EINVAL')
    expect(feature(SET | 4, [9999, 0])).toBe('EBADF')
    for (const index of [0, 1, 10, 999]) expect(feature(PROBE | index)).toBe('ENOTTY')
    expect(feature(PROBE | 12)).toBe('EINVAL')
    expect(feature(0x8_0000 | 3)).toBe('EINVAL')
    expect(feature(PROBE | 3, [], 7)).toBe('EINVAL')
  })

  test('E26: factorial and DMA', () => {
    const { fd: number, eventfd } = world.eventfd()
    world.store(2, CONFIG + 4n, 6n)
    expect(setIrqs(TRIGGER | EVENTFD, MSI, 0, 1, [number])).toBe(0)
    world.store(4, 0x20n, 0x80n)
    world.store(4, 0x08n, 10n)
    expect(world.load(4, 0x20n)).toBe(0x81n)
    world.time.pass(10)
    expect(eventfd.read()).toBe(1)
    expect(world.load(4, 0x08n)).toBe(3_628_800n)
    expect(world.load(4, 0x24n)).toBe(1n)
    world.store(4, 0x64n, 1n)
    world.store(4, 0x08n, 13n)
    world.time.pass(10)
    expect(world.load(4, 0x08n)).toBe(1_932_053_504n)
    world.store(4, 0x64n, 1n)
    eventfd.read()

    const { out_ioas_id } = world.program.must(world.context, IOMMU_IOAS_ALLOC)
    const memory = world.program.place(0x1000)
    memory.bytes.set(Uint8Array.from({ length: 16 }, (_, i) => i + 1))
    world.program.must(world.context, IOMMU_IOAS_MAP, {
      flags: 7,
      ioas_id: out_ioas_id,
      user_va: memory.address,
      length: byteLength(0x1000n),
      iova: iova(0x10_0000n),
    })
    const attach = { argsz: 12, pt_id: objectId(out_ioas_id) }
    expect(world.request(VFIO_DEVICE_ATTACH_IOMMUFD_PT, attach).result).toBe(0)
    const dma = (source: bigint, destination: bigint, count: bigint, command: bigint) => {
      world.store(8, 0x80n, source)
      world.store(8, 0x88n, destination)
      world.store(8, 0x90n, count)
      world.store(8, 0x98n, command)
      expect(world.load(8, 0x98n)).toBe(command)
      world.time.pass(150)
      expect(world.load(8, 0x98n)).toBe(command & ~1n)
    }
    dma(0x10_0000n, 0x4_0000n, 16n, 1n)
    dma(0x4_0000n, 0x10_0010n, 16n, 7n)
    expect(memory.bytes.slice(16, 32)).toEqual(memory.bytes.slice(0, 16))
    expect(world.load(4, 0x24n)).toBe(0x100n)
    expect(eventfd.read()).toBe(1)
  })

  test('DMA without bus master or mapping moves zeros and ends', () => {
    world.store(8, 0x80n, 0x10_0000n)
    world.store(8, 0x88n, 0x4_0000n)
    world.store(8, 0x90n, 16n)
    world.store(8, 0x98n, 1n)
    world.time.pass(150)
    expect(world.load(8, 0x98n)).toBe(0n)
  })

  test('RESET keeps COMMAND and eventfds, resets registers', () => {
    const { fd: number, eventfd } = world.eventfd()
    world.store(2, CONFIG + 4n, 6n)
    expect(setIrqs(TRIGGER | EVENTFD, MSI, 0, 1, [number])).toBe(0)
    world.store(4, 0x04n, 0x1234n)
    expect(world.load(4, 0x04n)).toBe(0xffff_edcbn)
    expect(world.ioctl(VFIO_DEVICE_RESET.request, new Uint8Array(4)).result).toBe(0)
    expect(world.load(2, CONFIG + 4n)).toBe(6n)
    expect(world.load(4, 0x04n)).toBe(0n)
    expect(setIrqs(TRIGGER | NONE, MSI, 0, 1)).toBe(0)
    expect(eventfd.read()).toBe(1)
  })
})
