/** edu with its registers mapped (06 §12, §13): what a program stores there counts a moment later. */
import { beforeEach, expect, test } from 'vitest'
import { byteLength, fd, iova, objectId } from '../../src/abi/brands.ts'
import { IOMMU_IOAS_ALLOC, IOMMU_IOAS_MAP, IOMMU_IOAS_UNMAP } from '../../src/abi/iommufd/ioas.ts'
import {
  VFIO_DEVICE_ATTACH_IOMMUFD_PT,
  VFIO_DEVICE_BIND_IOMMUFD,
  VFIO_DEVICE_RESET,
} from '../../src/abi/vfio/device.ts'
import { VFIO_DEVICE_SET_IRQS } from '../../src/abi/vfio/irq.ts'
import { Edu } from '../../src/devices/edu.ts'
import type { EngineEvent } from '../../src/engine/events.ts'
import { CONFIG, type MappedBar, PciWorld } from '../vfio/pci/world.ts'

let world: PciWorld
let bar: MappedBar

const load = (at: number): number => bar.view.getUint32(at, true)
const store = (at: number, value: number): void => bar.view.setUint32(at, value, true)
const settle = (): void => world.time.pass(10)

beforeEach(() => {
  world = new PciWorld(new Edu())
  world.request(VFIO_DEVICE_BIND_IOMMUFD, { argsz: 24, iommufd: fd(3) })
  bar = world.map(0, 1 << 20)
  world.store(2, CONFIG + 4n, 6n)
})

test('registers that are only read, and what is no register', () => {
  expect(load(0)).toBe(0x0100_00ed)
  expect(load(0x0c)).toBe(0xffff_ffff)
  expect(load(0xf_fffc)).toBe(0xffff_ffff)
  store(0, 7)
  settle()
  expect(load(0)).toBe(0x0100_00ed)
})

test('liveness inverts, seen through the mapping and by pread', () => {
  store(4, 0x1234_5678)
  settle()
  expect(load(4)).toBe(0xedcb_a987)
  expect(world.load(4, 4n)).toBe(0xedcb_a987n)
})

test('a pread sees what was stored just before it', () => {
  store(4, 0x1234_5678)
  expect(world.load(4, 4n)).toBe(0xedcb_a987n)
})

test('a pwrite is seen through the mapping at once', () => {
  world.store(4, 4n, 0xffn)
  expect(load(4)).toBe(0xffff_ff00)
})

test('a factorial', () => {
  store(8, 10)
  settle()
  expect(load(8)).toBe(3_628_800)
  expect(load(0x20)).toBe(0)
})

test('interrupts are raised and acknowledged; whoever is woken finds why', () => {
  const { fd: number, eventfd } = world.eventfd()
  const bytes = new Uint8Array(24)
  for (const [i, word] of [24, 0x24, 1, 0, 1, number].entries())
    new DataView(bytes.buffer).setUint32(4 * i, word, true)
  expect(world.ioctl(VFIO_DEVICE_SET_IRQS.request, bytes).result).toBe(0)
  const found: number[] = []
  eventfd.onSignal(() => found.push(load(0x24)))
  store(0x60, 0x5)
  settle()
  expect(found).toEqual([5])
  expect(load(0x60)).toBe(0xffff_ffff)
  store(0x64, 0x4)
  settle()
  expect(load(0x24)).toBe(1)
})

test('DMA both ways', () => {
  const { context, program } = world
  const ioas = objectId(program.must(context, IOMMU_IOAS_ALLOC).out_ioas_id)
  expect(world.request(VFIO_DEVICE_ATTACH_IOMMUFD_PT, { argsz: 16, pt_id: ioas }).result).toBe(0)
  const { address, bytes } = program.memory.allocate(0x1000)
  const mapping = { flags: 7, ioas_id: ioas, user_va: address, iova: iova(0x10_0000n) }
  program.must(context, IOMMU_IOAS_MAP, { ...mapping, length: byteLength(0x1000n) })
  bytes.set([1, 2, 3, 4])
  const transfer = (source: bigint, destination: bigint, command: bigint): void => {
    bar.view.setBigUint64(0x80, source, true)
    bar.view.setBigUint64(0x88, destination, true)
    bar.view.setBigUint64(0x90, 4n, true)
    bar.view.setBigUint64(0x98, command, true)
    world.time.pass(200)
    expect(bar.view.getBigUint64(0x98, true) & 1n).toBe(0n)
  }
  transfer(0x10_0000n, 0x4_0000n, 1n)
  transfer(0x4_0000n, 0x10_0010n, 3n)
  expect([...bytes.subarray(16, 20)]).toEqual([1, 2, 3, 4])
})

test('a reset publishes everything again', () => {
  store(4, 7)
  store(0x80, 9)
  settle()
  expect(world.ioctl(VFIO_DEVICE_RESET.request, new Uint8Array(8)).result).toBe(0)
  expect([load(0), load(4), load(0x80)]).toEqual([0x0100_00ed, 0, 0])
})

test('with mmap=off nothing can be mapped', () => {
  const trapping = new PciWorld(new Edu({ mappable: false }))
  trapping.request(VFIO_DEVICE_BIND_IOMMUFD, { argsz: 24, iommufd: fd(3) })
  expect(() => trapping.map(0, 1 << 20)).toThrow('cannot be mapped')
})

test('what DMA misses is told with what is mapped around it, and who was there last', () => {
  const { context, program, machine } = world
  const faults: (EngineEvent & { type: 'dma-fault' })[] = []
  let unmapped = 0
  machine.observer = {
    event: (event) => {
      if (event.type === 'dma-fault') faults.push(event)
      if (event.type === 'area-unmapped') unmapped = event.call
    },
  }
  const ioas = objectId(program.must(context, IOMMU_IOAS_ALLOC).out_ioas_id)
  world.request(VFIO_DEVICE_ATTACH_IOMMUFD_PT, { argsz: 16, pt_id: ioas })
  const { address } = program.memory.allocate(0x1000)
  const length = byteLength(0x1000n)
  for (const at of [0x10_0000n, 0x20_0000n, 0x30_0000n])
    program.must(context, IOMMU_IOAS_MAP, {
      ...{ flags: 7, ioas_id: ioas, user_va: address, length, iova: iova(at) },
    })
  program.must(context, IOMMU_IOAS_UNMAP, { ioas_id: ioas, iova: iova(0x20_0000n), length })
  bar.view.setBigUint64(0x80, 0x4_0000n, true)
  bar.view.setBigUint64(0x88, 0x20_0800n, true)
  bar.view.setBigUint64(0x90, 16n, true)
  bar.view.setBigUint64(0x98, 3n, true)
  world.time.pass(200)
  expect(unmapped).toBeGreaterThan(0)
  expect(faults).toMatchObject([
    {
      ...{ device: '0000:00:03.0', ioas, iova: 0x20_0800n, length: 16n, write: true },
      ...{ fault: 'not-mapped', touched: { by: 'unmap', call: unmapped } },
      below: { iova: 0x10_0000n, length: 0x1000n },
      above: { iova: 0x30_0000n, length: 0x1000n },
    },
  ])
})
