/** Requests on device files that the generic part serves or checks: features, region info, SET_IRQS. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { SimulatedProcess } from '../../conformance/doors/simulated-process.ts'
import { byteLength, fileOffset, userVa } from '../../src/abi/brands.ts'
import { Errno } from '../../src/abi/errno.ts'
import { VFIO_DEVICE_FEATURE } from '../../src/abi/vfio/features.ts'
import { VFIO_DEVICE_GET_REGION_INFO } from '../../src/abi/vfio/region.ts'
import { Machine } from '../../src/engine/machine.ts'
import { Refusal } from '../../src/engine/reason.ts'
import type { DeviceFeature, RegionInfo, VfioDriver } from '../../src/vfio/driver.ts'
import { readIrqSet } from '../../src/vfio/irq-set.ts'
import { Vfio } from '../../src/vfio/vfio.ts'

const AT = userVa(0x1000_0000n)

/** A driver that migrates (flags only) and has a region with two capabilities. */
class Richer implements VfioDriver {
  readonly name = 'richer'
  open(): void {}
  close(): void {}

  feature(index: number): DeviceFeature | undefined {
    const run: DeviceFeature['run'] = (call, _operation, data) => {
      call.memory.write(data, Uint8Array.of(3, 0, 0, 0, 0, 0, 0, 0))
      return 0
    }
    return index === 1 ? { get: true, set: false, dataLength: 8, run } : undefined
  }

  regionInfo(): RegionInfo {
    const capability = (id: number, length: number) => ({
      id,
      version: 1,
      payload: new Uint8Array(length).fill(id),
    })
    return {
      flags: 7,
      size: byteLength(0x3000n),
      offset: fileOffset(1n << 40n),
      capabilities: [capability(3, 0), capability(1, 12)],
    }
  }
}

/** A process with the driver's device open through its group, and an ioctl on it. */
const opened = (driver: VfioDriver) => {
  const machine = new Machine()
  const vfio = new Vfio(machine)
  const device = vfio.addEmulated({ name: 'device', group: 7, driver: () => driver })
  const process = new SimulatedProcess(machine)
  process.execute(`mmap ${AT} 8192 rw private`)
  process.open('0', '/dev/iommu', 2)
  process.open('1', '/dev/vfio/7', 2)
  const poke = (bytes: readonly number[]) => process.addressSpace.write(AT, Uint8Array.from(bytes))
  poke([100, 0, 0, 0])
  expect(process.ioctl('1', 0x3b68, AT)).toBe(0)
  poke([...new TextEncoder().encode('device\0')])
  expect(process.ioctl('1', 0x3b6a, AT)).toBeGreaterThan(0)
  process.move(process.lastReturn, 102)
  const words = (...of: number[]) => poke([...new Uint8Array(Uint32Array.from(of).buffer)])
  return { process, device, words, ioctl: (request: number) => process.ioctl('2', request, AT) }
}

test('02 §8 E27: the framing of features', () => {
  const { process, words, ioctl } = opened(new Richer())
  const feature = (argsz: number, flags: number): number => {
    words(argsz, flags, 0, 0)
    return ioctl(VFIO_DEVICE_FEATURE.request)
  }
  expect(feature(7, 0x10001)).toBe(-Errno.EINVAL)
  expect(feature(8, 0x80001)).toBe(-Errno.EINVAL)
  expect(feature(8, 0x30001)).toBe(-Errno.EINVAL)
  expect(feature(8, 0x40001)).toBe(0)
  expect(feature(8, 0x70001)).toBe(-Errno.EINVAL)
  expect(feature(8, 0x50001)).toBe(0)
  expect(feature(8, 0x00001)).toBe(-Errno.EINVAL)
  expect(feature(8, 0x10001)).toBe(-Errno.EINVAL)
  expect(feature(16, 0x10001)).toBe(0)
  expect([...process.addressSpace.read(userVa(AT + 8n), 8)]).toEqual([3, 0, 0, 0, 0, 0, 0, 0])
  expect(feature(8, 0x4000c)).toBe(-Errno.EINVAL)
  expect(feature(8, 0x40006)).toBe(-Errno.ENOTTY)
})

test('02 §5.9: a region with capabilities, in a buffer that is too small and in one that is not', () => {
  const { process, words, ioctl } = opened(new Richer())
  const T = 32 + 8 + 24
  const bytes = (from: number, length: number) =>
    Buffer.from(process.addressSpace.read(userVa(AT + BigInt(from)), length)).toString('hex')

  words(31)
  expect(ioctl(VFIO_DEVICE_GET_REGION_INFO.request)).toBe(-Errno.EINVAL)
  words(T - 1, 0, 5, 0x77)
  expect(ioctl(VFIO_DEVICE_GET_REGION_INFO.request)).toBe(0)
  expect(bytes(0, 16)).toBe('400000000f0000000500000000000000')
  words(T, 0, 5, 0x77)
  expect(ioctl(VFIO_DEVICE_GET_REGION_INFO.request)).toBe(0)
  expect(bytes(0, 32)).toBe(`400000000f0000000500000020000000${'0030000000000000'}0000000000010000`)
  expect(bytes(32, 32)).toBe(`0300010028000000${'0100010000000000'}${'01'.repeat(12)}00000000`)
})

test('02 §1.3 and §5.3: what a driver without hooks answers', () => {
  const plain: VfioDriver = { name: 'plain', open: () => undefined, close: () => undefined }
  const { process, ioctl } = opened(plain)
  expect(ioctl(0x3b6b)).toBe(-Errno.EINVAL)
  expect(ioctl(0x3bff)).toBe(-Errno.EINVAL)
  expect(ioctl(VFIO_DEVICE_GET_REGION_INFO.request)).toBe(-Errno.EINVAL)
  for (const line of [
    `read 2 ${AT} 4`,
    `pread 2 ${AT} 4 0`,
    `write 2 ${AT} 4`,
    `pwrite 2 ${AT} 4 0`,
  ])
    expect(process.execute(line)).toBe(`= ${-Errno.EINVAL}`)
  expect(process.execute('mapfd 0 4096 r shared 2 0')).toBe(`= ${-Errno.EINVAL}`)
})

test('read and write go on where the last one ended', () => {
  const written: [number, bigint][] = []
  const driver: VfioDriver = {
    name: 'positions',
    open: () => undefined,
    close: () => undefined,
    write: (_call, _buffer, count, offset) => {
      written.push([count, offset])
      return count - 1
    },
  }
  const { process } = opened(driver)
  for (const line of [`write 2 ${AT} 4`, `pwrite 2 ${AT} 9 64`, `write 2 ${AT} 5`])
    process.execute(line)
  expect(written).toEqual([
    [4, 0n],
    [9, 64n],
    [5, 3n],
  ])
})

test('an open that fails, or an fd that cannot be had, leaves the device closed', () => {
  let opens = 0
  let closes = 0
  const driver: VfioDriver = {
    name: 'counting',
    open: () => {
      opens += 1
    },
    close: () => {
      closes += 1
    },
  }
  const { process, device } = opened(driver)
  expect(device.isOpen).toBe(true)
  process.close(102)
  expect([device.isOpen, opens, closes]).toEqual([false, 1, 1])
  // Without a compat IOAS the device is opened, and closed again when it cannot be attached.
  process.addressSpace.write(AT, Uint8Array.from([12, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]))
  expect(process.ioctl('0', 0x3b88, AT)).toBe(0)
  process.addressSpace.write(AT, new TextEncoder().encode('device\0'))
  expect(process.ioctl('1', 0x3b6a, AT)).toBe(-Errno.ENODEV)
  expect([device.isOpen, opens, closes]).toEqual([false, 2, 2])
})

/** 02 §5.9, said again in the order of the text. */
const irqSetRefused = (
  [argsz, flags, index, start, count]: readonly [number, number, number, number, number],
  interrupts: readonly number[],
): boolean => {
  const types = [1, 2, 4].filter((type) => (flags & type) !== 0)
  const max = interrupts[index] ?? 0
  const width = types[0] === 4 ? 4 : types[0] === 2 ? 1 : 0
  return (
    argsz < 20 ||
    index >= interrupts.length ||
    count >= 0xffff_ffff - start ||
    (flags & ~0x3f) !== 0 ||
    start >= max ||
    start + count > max ||
    types.length !== 1 ||
    argsz - 20 < count * width
  )
}

test('SET_IRQS is refused exactly when one of the shared rules says so', () => {
  const process = new SimulatedProcess(new Machine())
  process.execute(`mmap ${AT} 8192 rw private`)
  const interrupts = [1, 4, 33, 0]
  const word = fc.oneof(fc.integer({ min: 0, max: 40 }), fc.constantFrom(0xffff_ffff, 0x7fff_ffff))
  const request = fc.tuple(
    fc.oneof(fc.integer({ min: 16, max: 200 }), word),
    fc.oneof(
      fc.constantFrom(0x21, 0x22, 0x24, 0x09, 0x0a, 0x0c),
      fc.integer({ min: 0, max: 0x80 }),
    ),
    fc.integer({ min: 0, max: 5 }),
    word,
    word,
  )
  fc.assert(
    fc.property(request, (words) => {
      process.addressSpace.write(AT, new Uint8Array(Uint32Array.from(words).buffer))
      const set = readIrqSet(
        process.call(),
        AT,
        interrupts.length,
        (index) => interrupts[index] ?? 0,
      )
      expect(set instanceof Refusal).toBe(irqSetRefused(words, interrupts))
      if (set instanceof Refusal) expect(set.errno).toBe(Errno.EINVAL)
      else if (set.data !== 'none') expect(set.values).toHaveLength(set.count)
    }),
    { numRuns: 1000 },
  )
})
