/**
 * A copy engine as Intel's I/OAT has one (06 §15): one channel that works off descriptors in memory. Its
 * registers can be mapped; what clients store there is seen when the model looks (mapped-registers.ts).
 */
import { type Iova, iova } from '../abi/brands.ts'
import type { AccessWidth, Bar, MsixTable, PciModel, PciServices } from '../vfio/pci/pci-model.ts'
import { MappedRegisters } from './mapped-registers.ts'

const Register = {
  CHANNEL_COUNT: 0x00,
  TRANSFER_CAPACITY: 0x01,
  VERSION: 0x08,
  CHANNEL_COMMAND: 0x84,
  DMA_COUNT: 0x86,
  CHANNEL_STATUS: 0x88,
  CHAIN_ADDRESS: 0x90,
  CHANNEL_ERROR: 0xa8,
} as const

const Command = { SUSPEND: 0x04, RESET: 0x20 } as const
const Status = { ACTIVE: 0, DONE: 1, SUSPENDED: 2, HALTED: 3 } as const
/** Why a channel has halted. */
const ChannelError = { CONTROL: 0x400, LENGTH: 0x800 } as const

const VERSION = 0x33
/** Logarithm of the largest copy: a page. */
const CAPACITY = 12
const BAR_LENGTH = 0x4000
const MSIX_TABLE = 0x2000
const MSIX_PBA = 0x3000
const VECTORS = 16

const DESCRIPTOR_SIZE = 64
const CONTROL_INTERRUPT = 0x01
/** Copies at a time, after which others get their turn. */
const SLICE = 32

interface Descriptor {
  readonly size: number
  readonly operation: number
  readonly interrupt: boolean
  readonly source: Iova
  readonly destination: Iova
  readonly next: Iova
}

export class Ioat implements PciModel {
  readonly name = 'ioat'
  readonly resettable = true
  readonly #registers = new MappedRegisters(BAR_LENGTH, () => this.#look())
  readonly bars: readonly Bar[] = [
    { index: 0, kind: 'memory64', length: BAR_LENGTH, memory: this.#registers },
  ]
  readonly msix: MsixTable = {
    vectors: VECTORS,
    tableBar: 0,
    tableOffset: MSIX_TABLE,
    pbaBar: 0,
    pbaOffset: MSIX_PBA,
  }
  readonly identity = {
    vendor: 0x8086,
    device: 0x2021,
    revision: 0x04,
    classCode: 0x088000,
    subsystemVendor: 0x8086,
    subsystemDevice: 0x0000,
    interruptPin: 1,
    configSize: 4096,
    capabilities: [
      // PCI Express version 2, an endpoint inside the root complex's reach, with function-level reset.
      {
        id: 0x10,
        offset: 0x40,
        body: [0x02, 0x00, 0, 0, 0, 0x10, ...new Array<number>(52).fill(0)],
      },
      {
        id: 0x11,
        offset: 0x80,
        body: [VECTORS - 1, 0, 0, MSIX_TABLE >> 8, 0, 0, 0, MSIX_PBA >> 8, 0, 0],
      },
      { id: 0x01, offset: 0x90, body: [0x03, 0x00, 0x08, 0x00, 0, 0] },
    ],
  } as const satisfies PciModel['identity']

  readonly #descriptor = new Uint8Array(DESCRIPTOR_SIZE)
  readonly #page = new Uint8Array(1 << CAPACITY)
  #services: PciServices | undefined
  /** Descriptors still to be worked off, and the next of them. */
  #left = 0
  #next = iova(0n)
  #cancel: (() => void) | undefined

  opened(services: PciServices): void {
    this.#services = services
    this.#registers.start(services)
  }

  closed(): void {
    this.#abandon()
    this.#registers.stop()
    this.#services = undefined
  }

  reset(): void {
    this.#abandon()
    this.#registers.write(0, new Uint8Array(0x1000))
    this.#publishConstants()
    this.#setStatus(Status.HALTED)
  }

  /** Stores through a mapping can overwrite what is read-only. */
  #publishConstants(): void {
    this.#registers.store(Register.CHANNEL_COUNT, 1, 1)
    this.#registers.store(Register.TRANSFER_CAPACITY, 1, CAPACITY)
    this.#registers.store(Register.VERSION, 1, VERSION)
  }

  #abandon(): void {
    this.#cancel?.()
    this.#cancel = undefined
    this.#left = 0
  }

  #setStatus(status: number): void {
    this.#registers.store(Register.CHANNEL_STATUS, 8, status)
  }

  get #status(): number {
    return Number(this.#registers.load(Register.CHANNEL_STATUS, 1) & 7n)
  }

  readRegister(_bar: number, offset: number, width: AccessWidth): bigint {
    this.#registers.look()
    return this.#registers.load(offset, width)
  }

  writeRegister(_bar: number, offset: number, width: AccessWidth, value: bigint): void {
    this.#registers.look()
    this.#registers.store(offset, width, value)
    this.#look()
  }

  /**
   * A reset leaves the channel halted, which clients check at once; a start soon after it must not find
   * that (06 §15 rule 2).
   */
  trapped(): void {
    this.#registers.look()
    if (this.#left === 0 && this.#status === Status.HALTED && this.#error === 0)
      this.#setStatus(Status.SUSPENDED)
  }

  get #error(): number {
    return Number(this.#registers.load(Register.CHANNEL_ERROR, 4))
  }

  /** What has been stored; true if it asks for anything. */
  #look(): boolean {
    const registers = this.#registers
    const command = Number(registers.load(Register.CHANNEL_COMMAND, 1))
    if ((command & Command.RESET) !== 0) {
      this.#abandon()
      this.#publishConstants()
      registers.store(Register.CHANNEL_ERROR, 4, 0)
      this.#setStatus(Status.HALTED)
      registers.store(Register.DMA_COUNT, 2, 0)
    } else if ((command & Command.SUSPEND) !== 0) {
      this.#abandon()
      registers.store(Register.CHANNEL_COMMAND, 1, 0)
      this.#setStatus(Status.SUSPENDED)
    }
    if (command !== 0) registers.store(Register.CHANNEL_COMMAND, 1, 0)
    return this.#start() || command !== 0
  }

  #start(): boolean {
    const registers = this.#registers
    const count = Number(registers.load(Register.DMA_COUNT, 2))
    if (count === 0) return this.#left > 0
    // The address is stored before the count.
    this.#next = iova(registers.load(Register.CHAIN_ADDRESS, 8))
    registers.store(Register.DMA_COUNT, 2, 0)
    this.#setStatus(Status.ACTIVE)
    this.#left = count
    this.#cancel?.()
    this.#soon()
    return true
  }

  #soon(): void {
    this.#cancel = this.#services?.after(0, () => this.#work())
  }

  /** Some of the descriptors; the rest later, so that nobody waits for all of them. */
  #work(): void {
    this.#cancel = undefined
    for (let n = 0; n < SLICE && this.#left > 0; n++) this.#step()
    if (this.#left > 0) this.#soon()
  }

  #step(): void {
    const descriptor = this.#fetch(this.#next)
    // What cannot be reached counts as done; a halt would not be followed by a trapped call (06 §15 rule 2).
    if (descriptor === undefined) {
      this.#finish(Status.DONE)
      return
    }
    const { size, operation, interrupt, source, destination, next } = descriptor
    if (operation !== 0) {
      this.#halt(ChannelError.CONTROL)
      return
    }
    if (size === 0 || size > this.#page.length) {
      this.#halt(ChannelError.LENGTH)
      return
    }
    const part = this.#page.subarray(0, size)
    const dma = this.#services?.dma
    const copied = dma?.read(source, part) === true && dma.write(destination, part)
    this.#next = next
    this.#left -= 1
    if (interrupt && copied) this.#services?.message(0)
    if (this.#left === 0) this.#finish(Status.DONE)
  }

  #finish(status: number): void {
    this.#left = 0
    this.#setStatus(status)
  }

  #halt(error: number): void {
    this.#registers.store(Register.CHANNEL_ERROR, 4, error)
    this.#finish(Status.HALTED)
  }

  #fetch(at: Iova): Descriptor | undefined {
    if (this.#services?.dma.read(at, this.#descriptor) !== true) return undefined
    const view = new DataView(this.#descriptor.buffer)
    const control = view.getUint32(4, true)
    return {
      size: view.getUint32(0, true),
      operation: control >>> 24,
      interrupt: (control & CONTROL_INTERRUPT) !== 0,
      source: iova(view.getBigUint64(8, true)),
      destination: iova(view.getBigUint64(16, true)),
      next: iova(view.getBigUint64(24, true)),
    }
  }
}
