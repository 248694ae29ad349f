/**
 * The scratch device: an emulated device that is plain enough to be read at a glance, in the manner of
 * a sample mdev. It has one region with a few registers and a 4 KiB buffer, and copies between the
 * buffer and the memory of the IOAS that it is attached to. So a client can see which IOAS that is.
 *
 * Region 0, little-endian; registers take aligned accesses of 4 or (64-bit ones) 8 bytes:
 *
 *     0x00 IDENT        ro 32  "SRCH"
 *     0x04 VERSION      ro 32  1
 *     0x08 DMA_IOVA     rw 64  where DMA starts
 *     0x10 DMA_LENGTH   rw 32  bytes of DMA: up to 4096 for READ and WRITE
 *     0x14 COMMAND      wo 32  1 READ (memory to buffer), 2 WRITE (buffer to memory), 3 PIN for
 *                              reading, 4 PIN for writing, 5 UNPIN everything
 *     0x18 STATUS       ro 32  of the last command: 0, or the errno of what went wrong
 *     0x1c PINNED       ro 32  pages pinned now
 *     0x20 UNMAPS       ro 32  unmap notifications since the device was opened
 *     0x28 UNMAP_IOVA   ro 64  of the last notification
 *     0x30 UNMAP_LENGTH ro 64  of the last notification
 *     0x1000..0x1fff    rw     buffer, any access
 *
 * Everything is zero after the device is opened or reset. A notification makes it unpin everything.
 */
import {
  byteLength,
  type FileOffset,
  fileOffset,
  type Iova,
  iova,
  type UserVa,
} from '../abi/brands.ts'
import { VFIO_DEVICE_FLAGS, VFIO_DEVICE_GET_INFO, VFIO_DEVICE_RESET } from '../abi/vfio/device.ts'
import { VFIO_DEVICE_GET_IRQ_INFO, VFIO_DEVICE_SET_IRQS } from '../abi/vfio/irq.ts'
import { VFIO_REGION_INFO_FLAGS } from '../abi/vfio/region.ts'
import type { Machine } from '../engine/machine.ts'
import type { Call } from '../engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../engine/reason.ts'
import {
  readExactly,
  readVfioStruct,
  writeExactly,
  writeVfioStruct,
} from '../engine/vfio-struct.ts'
import type { RegionInfo, VfioDriver, VirtualDma } from './driver.ts'
import { readIrqSet } from './irq-set.ts'

export const ScratchNoSuchRegion = reasonKind<{ index: number }>({
  code: 'scratch-no-such-region',
  errno: 'EINVAL',
  cite: '02 §5.9 step 4',
  say: ({ index }) => `a scratch device has region 0 only, not ${index}`,
  advice: 'Ask for region 0.',
})
export const ScratchOutsideRegion = reasonKind<{ offset: FileOffset }>({
  code: 'scratch-outside-region',
  errno: 'EINVAL',
  cite: '02 §1.3',
  say: ({ offset }) => `file offset 0x${offset.toString(16)} is outside the region`,
  advice: 'Add the offset that VFIO_DEVICE_GET_REGION_INFO reports.',
})
export const ScratchBadAccess = reasonKind<{ register: number; count: number }>({
  code: 'scratch-bad-access',
  errno: 'EINVAL',
  cite: '02 §1.3',
  say: ({ register, count }) =>
    `an access of ${count} bytes to register 0x${register.toString(16)}: registers take aligned accesses of 4 or 8 bytes`,
  advice: 'Access whole registers, of 4 or 8 bytes, at multiples of their size.',
})
export const ScratchNoIrqs = reasonKind<{ index: number }>({
  code: 'scratch-no-irqs',
  errno: 'EINVAL',
  cite: '02 §5.9',
  say: ({ index }) => `a scratch device has no interrupts, so none with index ${index}`,
  advice: 'Ask VFIO_DEVICE_GET_INFO for num_irqs first: it is 0.',
})
export const ScratchUnknownCommand = reasonKind<{ command: number }>({
  code: 'scratch-unknown-command',
  errno: 'EINVAL',
  cite: '02 §5.13',
  say: ({ command }) => `${command} is no command of a scratch device`,
  advice:
    'Write a command that the scratch device has: its register map is in vfio/scratch-device.ts.',
})
export const ScratchUnknownIoctl = reasonKind<{ request: number }>({
  code: 'scratch-unknown-ioctl',
  errno: 'ENOTTY',
  cite: '02 §5.3 step 6',
  say: ({ request }) => `0x${request.toString(16)} is no request of a scratch device`,
  advice:
    'Use the VFIO_DEVICE_* requests that VFIO devices without PCI have: GET_INFO, GET_REGION_INFO and RESET.',
})

/** Register offsets, for drivers of the device and tests. */
export const ScratchRegister = {
  IDENT: 0x00,
  VERSION: 0x04,
  DMA_IOVA: 0x08,
  DMA_LENGTH: 0x10,
  COMMAND: 0x14,
  STATUS: 0x18,
  PINNED: 0x1c,
  UNMAPS: 0x20,
  UNMAP_IOVA: 0x28,
  UNMAP_LENGTH: 0x30,
  BUFFER: 0x1000,
} as const

export const ScratchCommand = { READ: 1, WRITE: 2, PIN_READ: 3, PIN_WRITE: 4, UNPIN: 5 } as const

const { VFIO_REGION_INFO_FLAG_READ: READ, VFIO_REGION_INFO_FLAG_WRITE: WRITE } =
  VFIO_REGION_INFO_FLAGS
const IDENT = 0x48435253
const VERSION = 1
const BUFFER_SIZE = 0x1000
const REGION_SIZE = ScratchRegister.BUFFER + BUFFER_SIZE
/** Far from 0, so that a program that forgets to add the region's offset notices. */
const REGION_OFFSET = 1n << 40n
const PAGE_SIZE = 4096n

export class ScratchDevice implements VfioDriver {
  readonly name = 'scratch'
  readonly #machine: Machine
  readonly #dma: VirtualDma
  readonly #memory = new Uint8Array(REGION_SIZE)
  readonly #view = new DataView(this.#memory.buffer)
  #pins: { iova: Iova; pages: number }[] = []

  constructor(machine: Machine, dma: VirtualDma) {
    this.#machine = machine
    this.#dma = dma
  }

  open(): void {
    this.#reset()
  }

  /** What is pinned goes with the final notification. */
  close(): void {}

  unmapped(start: Iova, length: bigint): void {
    this.#unpin()
    const { UNMAPS, UNMAP_IOVA, UNMAP_LENGTH } = ScratchRegister
    this.#view.setUint32(UNMAPS, this.#view.getUint32(UNMAPS, true) + 1, true)
    this.#view.setBigUint64(UNMAP_IOVA, start, true)
    this.#view.setBigUint64(UNMAP_LENGTH, length, true)
  }

  regionInfo(index: number): Result<RegionInfo> {
    if (index !== 0) return refuse(ScratchNoSuchRegion, { index })
    return {
      flags: READ | WRITE,
      size: byteLength(BigInt(REGION_SIZE)),
      offset: fileOffset(REGION_OFFSET),
    }
  }

  ioctl(call: Call, request: number, argument: UserVa): Result<number> {
    switch (request) {
      case VFIO_DEVICE_GET_INFO.request:
        return this.#getInfo(call, argument)
      case VFIO_DEVICE_GET_IRQ_INFO.request: {
        const args = readVfioStruct(this.#machine, call, argument, VFIO_DEVICE_GET_IRQ_INFO)
        return args instanceof Refusal ? args : refuse(ScratchNoIrqs, { index: args.index })
      }
      case VFIO_DEVICE_SET_IRQS.request: {
        const set = readIrqSet(call, argument, 0, () => 0)
        return set instanceof Refusal ? set : refuse(ScratchNoIrqs, { index: set.index })
      }
      case VFIO_DEVICE_RESET.request:
        this.#unpin()
        this.#reset()
        return 0
      default:
        return refuse(ScratchUnknownIoctl, { request })
    }
  }

  read(call: Call, buffer: UserVa, count: number, offset: FileOffset): Result<number> {
    const place = this.#locate(offset, count)
    if (place instanceof Refusal) return place
    const { at, length } = place
    const bytes = this.#memory.slice(at, at + length)
    const { COMMAND } = ScratchRegister
    if (at <= COMMAND && COMMAND < at + length) bytes.fill(0, COMMAND - at, COMMAND - at + 4)
    return writeExactly(call, buffer, bytes, 'a read of the device') ?? length
  }

  write(call: Call, buffer: UserVa, count: number, offset: FileOffset): Result<number> {
    const place = this.#locate(offset, count)
    if (place instanceof Refusal) return place
    const { at, length } = place
    const bytes = readExactly(call, buffer, length, 'a write to the device')
    if (bytes instanceof Refusal) return bytes
    if (at >= ScratchRegister.BUFFER) this.#memory.set(bytes, at)
    else this.#writeRegisters(call, at, bytes)
    return length
  }

  #getInfo(call: Call, argument: UserVa): Result<number> {
    const args = readVfioStruct(this.#machine, call, argument, VFIO_DEVICE_GET_INFO)
    if (args instanceof Refusal) return args
    const flags = VFIO_DEVICE_FLAGS.VFIO_DEVICE_FLAGS_RESET
    const info = { argsz: args.argsz, flags, num_regions: 1, num_irqs: 0, cap_offset: 0, pad: 0 }
    const length = Math.min(args.argsz, VFIO_DEVICE_GET_INFO.struct.size)
    return writeVfioStruct(this.#machine, call, argument, VFIO_DEVICE_GET_INFO, info, length) ?? 0
  }

  #locate(offset: FileOffset, count: number): Result<{ at: number; length: number }> {
    const inRegion = offset - REGION_OFFSET
    if (inRegion < 0n || inRegion >= BigInt(REGION_SIZE))
      return refuse(ScratchOutsideRegion, { offset })
    const at = Number(inRegion)
    const length = Math.min(count, REGION_SIZE - at)
    if (at < ScratchRegister.BUFFER && !((length === 4 || length === 8) && at % length === 0))
      return refuse(ScratchBadAccess, { register: at, count })
    return { at, length }
  }

  /** Read-only registers ignore writes. */
  #writeRegisters(call: Call, at: number, bytes: Uint8Array): void {
    const { DMA_IOVA, DMA_LENGTH, COMMAND } = ScratchRegister
    for (let i = 0; i < bytes.length; i += 4) {
      const register = at + i
      const word = bytes.subarray(i, i + 4)
      if (register === COMMAND)
        this.#run(call, new DataView(word.buffer, word.byteOffset, 4).getUint32(0, true))
      else if (register >= DMA_IOVA && register <= DMA_LENGTH) this.#memory.set(word, register)
    }
  }

  #run(call: Call, command: number): void {
    const result = this.#perform(call, command)
    const { STATUS } = ScratchRegister
    this.#view.setUint32(STATUS, result instanceof Refusal ? result.errno : 0, true)
  }

  #perform(call: Call, command: number): Result<unknown> {
    const start = iova(this.#view.getBigUint64(ScratchRegister.DMA_IOVA, true))
    const length = this.#view.getUint32(ScratchRegister.DMA_LENGTH, true)
    const { BUFFER } = ScratchRegister
    const buffer = this.#memory.subarray(BUFFER, BUFFER + Math.min(length, BUFFER_SIZE))
    switch (command) {
      case ScratchCommand.READ:
        return this.#dma.read(call, start, buffer)
      case ScratchCommand.WRITE:
        return this.#dma.write(call, start, buffer)
      case ScratchCommand.PIN_READ:
      case ScratchCommand.PIN_WRITE:
        return this.#pin(call, start, length, command === ScratchCommand.PIN_WRITE)
      case ScratchCommand.UNPIN:
        this.#unpin()
        return undefined
      default:
        return refuse(ScratchUnknownCommand, { command })
    }
  }

  #pin(call: Call, start: Iova, length: number, forWriting: boolean): Result<void> {
    const pages = Number((start % PAGE_SIZE) + BigInt(length) + PAGE_SIZE - 1n) / Number(PAGE_SIZE)
    const pinned = this.#dma.pin(call, start, Math.floor(pages), forWriting)
    if (pinned instanceof Refusal) return pinned
    this.#pins.push({ iova: start, pages: pinned })
    this.#countPins()
  }

  #unpin(): void {
    for (const { iova: start, pages } of this.#pins) this.#dma.unpin(start, pages)
    this.#pins = []
    this.#countPins()
  }

  #countPins(): void {
    const pages = this.#pins.reduce((sum, pin) => sum + pin.pages, 0)
    this.#view.setUint32(ScratchRegister.PINNED, pages, true)
  }

  #reset(): void {
    this.#memory.fill(0)
    this.#view.setUint32(ScratchRegister.IDENT, IDENT, true)
    this.#view.setUint32(ScratchRegister.VERSION, VERSION, true)
  }
}
