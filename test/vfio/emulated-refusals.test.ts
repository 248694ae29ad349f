/** What emulated devices refuse beside the worked examples of 02 §8, each for its own reason. */
import { describe, expect, test } from 'vitest'
import { fileOffset, iova } from '../../src/abi/brands.ts'
import { VFIO_DEVICE_GET_IRQ_INFO } from '../../src/abi/vfio/irq.ts'
import { Machine } from '../../src/engine/machine.ts'
import type { VfioDriver } from '../../src/vfio/driver.ts'
import { EmulatedBinding } from '../../src/vfio/emulated.ts'
import { ScratchDevice, ScratchRegister } from '../../src/vfio/scratch-device.ts'
import { Program } from '../engine/support/program.ts'
import { reasonsOf } from '../reached.ts'

const plain: VfioDriver = { name: 'plain', open: () => undefined, close: () => undefined }
const REGION = 1n << 40n

test('02 §5.13: DMA of a device that is not bound, and pins that cannot be', () => {
  const program = new Program(new Machine())
  const binding = new EmulatedBinding('device', () => plain)
  const read = () => binding.read(program.call(), iova(0n), new Uint8Array(4))
  expect(reasonsOf(read)).toEqual(['dma-of-closed-device'])
  binding.bind(program.open(), program.call())
  const pin = (pages: number) => () => binding.pin(program.call(), iova(0n), pages, false)
  expect(reasonsOf(pin(0))).toEqual(['pin-of-nothing'])
  expect(reasonsOf(pin(1))).toEqual(['pin-without-unmap-hook'])
})

describe('a scratch device', () => {
  const program = new Program(new Machine())
  const binding = new EmulatedBinding('device', () => device)
  const device: ScratchDevice = new ScratchDevice(program.machine, binding)
  const word = program.place(Uint8Array.of(99, 0, 0, 0)).address

  test('has one region and no interrupts', () => {
    expect(reasonsOf(() => device.regionInfo(1))).toEqual(['scratch-no-such-region'])
    const { request, struct } = VFIO_DEVICE_GET_IRQ_INFO
    const { address } = program.place(struct.encode({ argsz: 16 }))
    expect(reasonsOf(() => device.ioctl(program.call(), request, address))).toEqual([
      'scratch-no-irqs',
    ])
  })

  test('has registers of 4 and 8 bytes, at its region offset', () => {
    const read = (count: number, at: bigint) => () =>
      device.read(program.call(), word, count, fileOffset(at))
    expect(reasonsOf(read(4, 0n))).toEqual(['scratch-outside-region'])
    expect(reasonsOf(read(3, REGION))).toEqual(['scratch-bad-access'])
  })

  test('knows five commands', () => {
    const at = fileOffset(REGION + BigInt(ScratchRegister.COMMAND))
    expect(reasonsOf(() => device.write(program.call(), word, 4, at))).toEqual([
      'scratch-unknown-command',
    ])
  })
})
