/** What vfio-pci refuses beside the worked examples of chapter 6, each for its own reason. */
import { beforeEach, describe, expect, test } from 'vitest'
import { byteLength, fd, fileOffset } from '../../../src/abi/brands.ts'
import { VFIO_DEVICE_BIND_IOMMUFD, VFIO_DEVICE_RESET } from '../../../src/abi/vfio/device.ts'
import { VFIO_DEVICE_SET_IRQS } from '../../../src/abi/vfio/irq.ts'
import { VFIO_DEVICE_IOEVENTFD, VFIO_DEVICE_PCI_HOT_RESET } from '../../../src/abi/vfio/pci.ts'
import { Edu } from '../../../src/devices/edu.ts'
import type { ForeignFile } from '../../../src/engine/ports.ts'
import { Refusal } from '../../../src/engine/reason.ts'
import { hotReset, hotResetInfo } from '../../../src/vfio/pci/hot-reset.ts'
import { MessageInterrupts } from '../../../src/vfio/pci/message-interrupts.ts'
import type { PciModel } from '../../../src/vfio/pci/pci-model.ts'
import { functionControls } from '../../../src/vfio/pci/sysfs-controls.ts'
import type { VfioPci } from '../../../src/vfio/pci/vfio-pci.ts'
import { reasonsOf } from '../../reached.ts'
import { PciWorld, TestEventfd } from './world.ts'

const [EVENTFD_TRIGGER, INTX, MSI] = [0x24, 0, 1]

const unresettable = (): PciModel => {
  const model: PciModel = new Edu()
  return Object.defineProperty(model, 'resettable', { value: false })
}

/** An eventfd that a process outside made, and that cannot be taken from it. */
class Unreachable extends TestEventfd {
  override eventfd(): never {
    return undefined as never
  }
}

const bound = (model: PciModel = new Edu()): PciWorld => {
  const world = new PciWorld(model)
  const done = world.request(VFIO_DEVICE_BIND_IOMMUFD, { argsz: 24, iommufd: fd(3) })
  expect(done.result).toBe(0)
  return world
}

let world: PciWorld

beforeEach(() => {
  world = bound()
})

const setIrqs = (argsz: number, index: number, count: number, ...data: number[]): unknown => {
  const bytes = new Uint8Array(
    Int32Array.of(argsz, EVENTFD_TRIGGER, index, 0, count, ...data).buffer,
  )
  return world.ioctl(VFIO_DEVICE_SET_IRQS.request, bytes).result
}

test('06 §4.3: BARs that are absent, or end before', () => {
  expect(reasonsOf(() => world.pread(4, 1n << 40n))).toEqual(['bar-absent'])
  expect(reasonsOf(() => world.pread(4, 0x10_0000n))).toEqual(['bar-offset-outside'])
})

test('06 §4.4: mappings that no region has', () => {
  const map = (flags: number, length: bigint) =>
    world.file.mmap?.(world.call(), {
      length: byteLength(length),
      prot: 3,
      flags,
      offset: fileOffset(0n),
    })
  expect(reasonsOf(() => map(2, 0x1000n))).toEqual(['mmap-bar-not-shared'])
  expect(reasonsOf(() => map(1, 0x20_0000n))).toEqual(['mmap-beyond-bar'])
})

describe('06 §6: interrupts', () => {
  test('descriptors that are no eventfd, or out of reach', () => {
    expect(reasonsOf(() => setIrqs(24, MSI, 1, 3))).toEqual(['not-an-eventfd'])
    const file: ForeignFile = new Unreachable()
    const number = world.foreign(file)
    expect(reasonsOf(() => setIrqs(24, MSI, 1, number))).toEqual(['eventfd-out-of-reach'])
  })

  test('too little data, no vectors, another kind active', () => {
    expect(reasonsOf(() => setIrqs(20, MSI, 1))).toEqual(['irq-set-data-too-short'])
    expect(reasonsOf(() => setIrqs(20, MSI, 0))).toEqual(['no-vectors-asked'])
    const { fd: number } = world.eventfd()
    expect(setIrqs(24, MSI, 1, number)).toBe(0)
    expect(reasonsOf(() => setIrqs(24, INTX, 1, number))).toEqual(['other-interrupt-active'])
  })

  test('06 §6.4: a vector beyond those that were allocated', () => {
    const msi = new MessageInterrupts('msi', { dynamic: false })
    const { fd: number } = world.eventfd()
    const set = (start: number) =>
      msi.set(
        world.call(),
        { index: MSI, start, count: 1, action: 0x20, data: 'eventfd', values: [number] },
        () => {},
        () => {},
      )
    expect(set(0)).toBe(0)
    const refused = set(1)
    expect(refused instanceof Refusal && refused.code).toBe('vector-not-allocated')
  })
})

test('06 §7: resets', () => {
  const flags = new Uint8Array(Uint32Array.of(12, 1, 0).buffer)
  expect(reasonsOf(() => world.ioctl(VFIO_DEVICE_PCI_HOT_RESET.request, flags))).toEqual([
    'hot-reset-flags',
  ])
  world = bound(unresettable())
  const reset = () => world.ioctl(VFIO_DEVICE_RESET.request, new Uint8Array(0))
  expect(reasonsOf(reset)).toEqual(['device-has-no-reset'])
})

describe('06 §7.3: hot resets by groups', () => {
  /** Two functions behind one root port, in groups of their own, not opened by their own nodes. */
  const behindPort = (): readonly VfioPci[] => {
    world.pci.add({ model: new Edu(), group: 8, behindRootPort: true })
    const [first] = world.pci.functions.slice(1)
    if (first === undefined) throw new Error('no function')
    return [first.pci]
  }
  const reset = (pci: VfioPci, ...groups: number[]): readonly string[] => {
    const head = [12 + 4 * groups.length, 0, groups.length]
    const { address } = world.program.place(
      new Uint8Array(Int32Array.of(...head, ...groups).buffer),
    )
    return reasonsOf(() => hotReset(world.machine, world.call(), address, pci))
  }

  test('descriptors that are none, or no groups, or not all', () => {
    const [pci] = behindPort()
    if (pci === undefined) throw new Error('no function')
    expect(reset(pci, 99)).toEqual(['hot-reset-group-not-open'])
    expect(reset(pci, 3)).toEqual(['hot-reset-not-a-group'])
    world.pci.add({ model: new Edu(), group: 9 })
    const node = world.machine.node('/dev/vfio/9')
    const group = node?.open(world.program.process, 'read-write')
    if (group === undefined || group instanceof Refusal) throw new Error('no group')
    const number = world.program.install(group)
    expect(reset(pci, Number(number))).toEqual(['hot-reset-not-covered'])
  })

  test('a buffer with room for none', () => {
    const [pci] = behindPort()
    if (pci === undefined) throw new Error('no function')
    const { address } = world.program.place(new Uint8Array(Uint32Array.of(12, 0, 0).buffer))
    const info = () => hotResetInfo(world.machine, world.call(), address, pci)
    expect(reasonsOf(info)).toEqual(['hot-reset-info-too-short'])
  })
})

test('06 §8: a thousand ioeventfds, and one', () => {
  const { fd: number } = world.eventfd()
  const add = (data: number) =>
    world.request(VFIO_DEVICE_IOEVENTFD, {
      argsz: 32,
      flags: 4,
      offset: fileOffset(4n),
      data: BigInt(data),
      fd: number,
    }).result
  for (let data = 0; data < 1000; data++) expect(add(data)).toBe(0)
  expect(reasonsOf(() => add(1000))).toEqual(['ioeventfd-too-many'])
})

test('06 §10.2: what vfio-pci refuses to bind, unbind and match', () => {
  const { driver, functions } = world.pci
  const bdf = functions[0]?.bdf ?? ''
  expect(reasonsOf(() => driver.bind('0000:77:00.0'))).toEqual(['sysfs-no-such-function'])
  expect(reasonsOf(() => driver.newId('rubbish'))).toEqual(['driver-id-malformed'])
  expect(reasonsOf(() => driver.removeId('1234 11e8'))).toEqual(['driver-id-unknown'])
  expect(reasonsOf(() => driver.newId('1234 11e8'))).toEqual([])
  expect(reasonsOf(() => driver.newId('1234 11e8'))).toEqual(['driver-id-known'])
  expect(reasonsOf(() => driver.bind(bdf))).toEqual(['function-already-bound'])
  driver.unbind(bdf)
  expect(reasonsOf(() => driver.unbind(bdf))).toEqual(['function-not-bound'])
  if (functions[0] !== undefined) driver.override(functions[0], 'another')
  expect(reasonsOf(() => driver.bind(bdf))).toEqual(['driver-does-not-match'])
})

test('06 §10.3: what a function refuses in its directory', () => {
  const { driver, functions } = world.pci
  const [fn] = functions
  if (fn === undefined) throw new Error('no function')
  const write = (name: string, text: string) => {
    const { node } = functionControls(driver, fn, '', '').find(({ path }) => path === name) ?? {}
    if (node?.kind === 'text') node.write?.(new TextEncoder().encode(text))
  }
  expect(reasonsOf(() => write('/reset', '2'))).toEqual(['reset-takes-one'])
  expect(reasonsOf(() => write('/enable', '1'))).toEqual(['enabled-by-driver'])
})
