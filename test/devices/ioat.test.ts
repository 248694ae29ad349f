/** The copy engine of chapter 6, section 15, driven through mapped registers on simulated time. */
import { beforeEach, describe, expect, test } from 'vitest'
import { byteLength, fd, iova, objectId } from '../../src/abi/brands.ts'
import { IOMMU_IOAS_ALLOC, IOMMU_IOAS_MAP } from '../../src/abi/iommufd/ioas.ts'
import {
  VFIO_DEVICE_ATTACH_IOMMUFD_PT,
  VFIO_DEVICE_BIND_IOMMUFD,
} from '../../src/abi/vfio/device.ts'
import { VFIO_DEVICE_SET_IRQS } from '../../src/abi/vfio/irq.ts'
import { Ioat } from '../../src/devices/ioat.ts'
import { CONFIG, type MappedBar, PciWorld } from '../vfio/pci/world.ts'

const [CHANCMD, DMACOUNT, CHANSTS, CHAINADDR, CHANERR] = [0x84, 0x86, 0x88, 0x90, 0xa8]
const [RESET, SUSPEND] = [0x20, 0x04]
const [DONE, SUSPENDED, HALTED] = [1n, 2n, 3n]
const COMMAND = CONFIG + 4n
/** Where the program's buffer is for the device. */
const BASE = 0x10_0000n
const [SOURCE, DESTINATION] = [0x1000, 0x2000]

let world: PciWorld
let bar: MappedBar
let buffer: Uint8Array

const status = (): bigint => bar.view.getBigUint64(CHANSTS, true)

/** A descriptor at the start of the buffer, which leads to itself. */
const describeCopy = (change: { size?: number; control?: number; source?: bigint } = {}): void => {
  const view = new DataView(buffer.buffer, buffer.byteOffset)
  view.setUint32(0, change.size ?? 0x1000, true)
  view.setUint32(4, change.control ?? 0, true)
  view.setBigUint64(8, change.source ?? BASE + BigInt(SOURCE), true)
  view.setBigUint64(16, BASE + BigInt(DESTINATION), true)
  view.setBigUint64(24, BASE, true)
}

const start = (count: number): void => {
  bar.view.setBigUint64(CHAINADDR, BASE, true)
  bar.view.setUint16(DMACOUNT, count, true)
}

const msix = () => {
  const { fd: number, eventfd } = world.eventfd()
  const bytes = new Uint8Array(24)
  const words = [24, 0x24, 2, 0, 1, number]
  for (const [i, word] of words.entries()) new DataView(bytes.buffer).setUint32(4 * i, word, true)
  expect(world.ioctl(VFIO_DEVICE_SET_IRQS.request, bytes).result).toBe(0)
  return eventfd
}

beforeEach(() => {
  world = new PciWorld(new Ioat())
  world.request(VFIO_DEVICE_BIND_IOMMUFD, { argsz: 24, iommufd: fd(3) })
  const { context, program } = world
  const { out_ioas_id } = program.must(context, IOMMU_IOAS_ALLOC)
  const ioas = objectId(out_ioas_id)
  expect(world.request(VFIO_DEVICE_ATTACH_IOMMUFD_PT, { argsz: 16, pt_id: ioas }).result).toBe(0)
  const place = program.memory.allocate(0x4000)
  buffer = place.bytes
  program.must(context, IOMMU_IOAS_MAP, {
    flags: 7,
    ioas_id: ioas,
    user_va: place.address,
    length: byteLength(0x4000n),
    iova: iova(BASE),
  })
  bar = world.map(0, 0x4000)
  world.store(2, COMMAND, 6n)
})

test('a client that looks finds a version and a capacity', () => {
  expect(bar.view.getUint8(8)).toBe(0x33)
  expect(bar.view.getUint8(0)).toBe(1)
  expect(1 << bar.view.getUint8(1)).toBe(4096)
})

test('a reset is seen to be done, and found halted until the next call', () => {
  bar.view.setUint8(CHANCMD, RESET)
  world.time.pass(10)
  expect(bar.view.getUint8(CHANCMD)).toBe(0)
  expect(status()).toBe(HALTED)
  msix()
  expect(status()).toBe(SUSPENDED)
})

describe('ready', () => {
  beforeEach(() => {
    bar.view.setUint8(CHANCMD, RESET)
    world.time.pass(10)
  })

  test('it copies, without an interrupt unless asked', () => {
    const eventfd = msix()
    buffer.fill(0xa5, SOURCE, SOURCE + 0x1000)
    describeCopy()
    start(1)
    world.time.pass(10)
    expect(status()).toBe(DONE)
    expect(buffer.subarray(DESTINATION, DESTINATION + 0x1000)).toEqual(
      new Uint8Array(0x1000).fill(0xa5),
    )
    expect(eventfd.read()).toBe(0)
    bar.view.setUint8(CHANCMD, SUSPEND)
    world.time.pass(10)
    expect(status()).toBe(SUSPENDED)
    describeCopy({ control: 1 })
    start(1)
    world.time.pass(10)
    expect(status()).toBe(DONE)
    expect(eventfd.read()).toBe(1)
  })

  test('it works off as many descriptors as it is told, and no more', () => {
    const eventfd = msix()
    describeCopy({ control: 1, size: 16 })
    start(65535)
    world.time.pass(10)
    expect(status()).toBe(DONE)
    expect(eventfd.read()).toBe(65535)
    world.time.pass(1000)
    expect(eventfd.read()).toBe(0)
  })

  test('what cannot be reached counts as done, without an interrupt', () => {
    const eventfd = msix()
    describeCopy({ control: 1, source: 0x4000_0000n })
    start(1)
    world.time.pass(10)
    expect(status()).toBe(DONE)
    expect(eventfd.read()).toBe(0)
  })

  test.each([
    ['an operation that it does not know', { control: 0xff00_0000 }, 0x400],
    ['a copy longer than its capacity', { size: 0x1001 }, 0x800],
    ['a copy of nothing', { size: 0 }, 0x800],
  ])('%s halts it with an error', (_what, change, error) => {
    msix()
    describeCopy(change)
    start(1)
    world.time.pass(10)
    expect(status()).toBe(HALTED)
    expect(bar.view.getUint32(CHANERR, true)).toBe(error)
    bar.view.setUint8(CHANCMD, RESET)
    world.time.pass(10)
    expect(bar.view.getUint32(CHANERR, true)).toBe(0)
  })

  test('without bus master nothing moves', () => {
    world.store(2, COMMAND, 2n)
    buffer.fill(0xa5, SOURCE, SOURCE + 0x1000)
    describeCopy()
    start(1)
    world.time.pass(10)
    expect(buffer.subarray(DESTINATION, DESTINATION + 0x1000)).toEqual(new Uint8Array(0x1000))
  })

  test('a mapped BAR faults while memory is disabled, and what is in it comes back', () => {
    world.store(2, COMMAND, 4n)
    expect(bar.accessible).toBe(false)
    world.store(2, COMMAND, 6n)
    expect(bar.accessible).toBe(true)
    expect(bar.view.getUint8(8)).toBe(0x33)
  })

  test('trapped accesses and mapped ones are of the same registers', () => {
    expect(world.load(1, 8n)).toBe(0x33n)
    describeCopy()
    buffer[SOURCE] = 7
    world.store(8, BigInt(CHAINADDR), BASE)
    world.store(2, BigInt(DMACOUNT), 1n)
    world.time.pass(10)
    expect(world.load(8, BigInt(CHANSTS))).toBe(DONE)
    expect(buffer[DESTINATION]).toBe(7)
  })
})
