/**
 * edu, QEMU's teaching device (06 §13): a register that inverts, a factorial that takes time, a DMA
 * engine with a 4 KiB buffer, INTx and MSI.
 *
 * Where the machine gives it PASIDs it has one register more, at 0xa0: with bit 31, DMA carries the PASID in
 * bits 19:0.
 *
 * Its registers can be mapped, as on Linux. Reads and writes through the device file are exact. What is
 * stored through a mapping counts once the model has looked (mapped-registers.ts), so that a load right
 * after it finds what was stored, not what it leads to; and a store of what is there already is not seen.
 */
import { iova, pasid } from '../abi/brands.ts'
import type { AccessWidth, Bar, PciDma, PciModel, PciServices } from '../vfio/pci/pci-model.ts'
import { MappedRegisters } from './mapped-registers.ts'

const Register = {
  IDENTIFICATION: 0x00,
  LIVENESS: 0x04,
  FACTORIAL: 0x08,
  STATUS: 0x20,
  INTERRUPT_STATUS: 0x24,
  INTERRUPT_RAISE: 0x60,
  INTERRUPT_ACKNOWLEDGE: 0x64,
  DMA_SOURCE: 0x80,
  DMA_DESTINATION: 0x88,
  DMA_COUNT: 0x90,
  DMA_COMMAND: 0x98,
  /** Of ours, and only where the device has PASIDs. */
  DMA_PASID: 0xa0,
} as const

const IDENTIFICATION = 0x0100_00ed
const STATUS_COMPUTING = 0x01
const STATUS_INTERRUPT = 0x80
const FACTORIAL_DONE = 0x0000_0001
const DMA_DONE = 0x0000_0100
const DMA_START = 0x1n
const DMA_TO_MEMORY = 0x2n
const DMA_INTERRUPT = 0x4n
/** Where the device sees its own buffer. */
const BUFFER_START = 0x4_0000n
const BUFFER_SIZE = 4096
const DMA_REGISTERS_FROM = 0x80
/** Registers below this can be mapped with a meaning; the rest reads as all ones. */
const REGISTERS_END = 0xa8
/** DMA_PASID: the register counts. */
const PASID_VALID = 0x8000_0000
const PASID_BITS = 0x000f_ffff
const BAR_LENGTH = 1 << 20
const ALL_ONES_32 = 0xffff_ffffn
const ALL_ONES_64 = 0xffff_ffff_ffff_ffffn

export interface EduOptions {
  /** Whether clients can map the registers; default: yes, as on Linux. */
  readonly mappable?: boolean
  /** Bits of bus address that the DMA engine keeps; default 28, as on the original. */
  readonly dmaBits?: number
  /** How long a transfer takes, in milliseconds; default 100. */
  readonly dmaMilliseconds?: number
  /** Whether there is a register for the PASID that DMA carries; the original has none. */
  readonly pasid?: boolean
  /** How long a factorial takes; default 1. */
  readonly factorialMilliseconds?: number
}

export class Edu implements PciModel {
  readonly name = 'edu'
  readonly resettable = true
  readonly bars: readonly Bar[]
  readonly identity = {
    vendor: 0x1234,
    device: 0x11e8,
    revision: 0x10,
    classCode: 0x00ff00,
    subsystemVendor: 0x1af4,
    subsystemDevice: 0x1100,
    interruptPin: 1,
    configSize: 256,
    // MSI: 64-bit address, one vector, no mask.
    capabilities: [
      { id: 0x05, offset: 0x40, body: [0x80, 0x00, ...new Array<number>(10).fill(0)] },
    ],
  } as const satisfies PciModel['identity']

  readonly #dmaMask: bigint
  readonly #dmaTime: number
  readonly #hasPasid: boolean
  readonly #factorialTime: number
  readonly #buffer = new Uint8Array(BUFFER_SIZE)
  #services: PciServices | undefined
  #liveness = 0
  #factorial = 0
  #status = 0
  #pending = 0
  #dma = { source: 0n, destination: 0n, count: 0n, command: 0n }
  #pasid = 0
  /** Where clients map the registers, and what was last published there, in words. */
  readonly #mapped: MappedRegisters | undefined
  readonly #published = new Uint32Array(REGISTERS_END / 4)
  readonly #seen = new Uint32Array(REGISTERS_END / 4)
  /** What runs now: computing, a transfer. */
  #activities: (() => void)[] = []

  constructor(options: EduOptions = {}) {
    this.#dmaMask = (1n << BigInt(options.dmaBits ?? 28)) - 1n
    this.#dmaTime = options.dmaMilliseconds ?? 100
    this.#hasPasid = options.pasid ?? false
    this.#factorialTime = options.factorialMilliseconds ?? 1
    if (options.mappable ?? true) {
      this.#mapped = new MappedRegisters(BAR_LENGTH, () => this.#look())
      this.#mapped.write(0, new Uint8Array(BAR_LENGTH).fill(0xff))
    }
    this.bars = [
      {
        index: 0,
        kind: 'memory32',
        length: BAR_LENGTH,
        ...(this.#mapped === undefined ? {} : { memory: this.#mapped }),
      },
    ]
    this.#publish(true)
  }

  opened(services: PciServices): void {
    this.#services = services
    this.#mapped?.start(services)
  }

  closed(): void {
    this.#abandon()
    this.#mapped?.stop()
    this.#services = undefined
  }

  reset(): void {
    this.#abandon()
    this.#liveness = 0
    this.#factorial = 0
    this.#status = 0
    this.#pending = 0
    this.#dma = { source: 0n, destination: 0n, count: 0n, command: 0n }
    this.#pasid = 0
    this.#buffer.fill(0)
    this.#services?.line(false)
    this.#publish(true)
  }

  /** Puts into mapped memory what clients are to find there, if it has changed. */
  #publish(everything = false): void {
    const mapped = this.#mapped
    if (mapped === undefined) return
    for (let at = 0; at < REGISTERS_END; at += 4) {
      const value = this.#word(at)
      if (!everything && this.#published[at / 4] === value) continue
      this.#published[at / 4] = value
      mapped.store(at, 4, value)
    }
  }

  /** What a load of four bytes finds; of a DMA register also in its upper half. */
  #word(at: number): number {
    if (at < DMA_REGISTERS_FROM || at % 8 === 0) return Number(this.#read(at, 4))
    return Number(this.#read(at - 4, 8) >> 32n)
  }

  /** Takes what clients have stored for writes, in the order of the registers; true if there was any. */
  #look(): boolean {
    const mapped = this.#mapped
    if (mapped === undefined) return false
    const words = this.#seen
    mapped.read(0, new Uint8Array(words.buffer))
    const view = new DataView(words.buffer)
    const differs = (at: number): boolean => words[at / 4] !== this.#published[at / 4]
    let any = false
    for (let at = 0; at < REGISTERS_END; at += at < DMA_REGISTERS_FROM ? 4 : 8) {
      const width = at < DMA_REGISTERS_FROM ? 4 : 8
      if (!differs(at) && (width === 4 || !differs(at + 4))) continue
      any = true
      const value = view.getBigUint64(at, true)
      for (let word = at; word < at + width; word += 4)
        this.#published[word / 4] = words[word / 4] ?? 0
      this.#write(at, width, BigInt.asUintN(width * 8, value))
    }
    if (any) this.#publish()
    return any
  }

  #abandon(): void {
    for (const cancel of this.#activities) cancel()
    this.#activities = []
  }

  #after(milliseconds: number, run: () => void): void {
    const cancel = this.#services?.after(milliseconds, run)
    if (cancel !== undefined) this.#activities.push(cancel)
  }

  readRegister(_bar: number, offset: number, width: AccessWidth): bigint {
    this.#mapped?.look()
    return this.#read(offset, width)
  }

  writeRegister(_bar: number, offset: number, width: AccessWidth, value: bigint): void {
    this.#mapped?.look()
    this.#write(offset, width, value)
    this.#publish()
  }

  #read(offset: number, width: AccessWidth): bigint {
    if (width < 4) return 0n
    const nothing = width === 8 ? ALL_ONES_64 : ALL_ONES_32
    if (width === 8 && offset < DMA_REGISTERS_FROM) return nothing
    switch (offset) {
      case Register.IDENTIFICATION:
        return BigInt(IDENTIFICATION)
      case Register.LIVENESS:
        return BigInt(this.#liveness)
      case Register.FACTORIAL:
        return BigInt(this.#factorial)
      case Register.STATUS:
        return BigInt(this.#status)
      case Register.INTERRUPT_STATUS:
        return BigInt(this.#pending)
      case Register.DMA_SOURCE:
        return BigInt.asUintN(width * 8, this.#dma.source)
      case Register.DMA_DESTINATION:
        return BigInt.asUintN(width * 8, this.#dma.destination)
      case Register.DMA_COUNT:
        return BigInt.asUintN(width * 8, this.#dma.count)
      case Register.DMA_COMMAND:
        return BigInt.asUintN(width * 8, this.#dma.command)
      case Register.DMA_PASID:
        return this.#hasPasid ? BigInt(this.#pasid) : nothing
      default:
        return nothing
    }
  }

  #write(offset: number, width: AccessWidth, value: bigint): void {
    if (width < 4 || (width === 8 && offset < DMA_REGISTERS_FROM)) return
    const word = Number(BigInt.asUintN(32, value))
    switch (offset) {
      case Register.LIVENESS:
        this.#liveness = ~word >>> 0
        return
      case Register.FACTORIAL:
        this.#startFactorial(word)
        return
      case Register.STATUS:
        this.#status = (this.#status & STATUS_COMPUTING) | (word & STATUS_INTERRUPT)
        return
      case Register.INTERRUPT_RAISE:
        this.#raise(word)
        return
      case Register.INTERRUPT_ACKNOWLEDGE:
        this.#pending = (this.#pending & ~word) >>> 0
        if (this.#pending === 0) this.#services?.line(false)
        return
      default:
        this.#writeDma(offset, value)
    }
  }

  #startFactorial(n: number): void {
    if ((this.#status & STATUS_COMPUTING) !== 0) return
    this.#status |= STATUS_COMPUTING
    this.#factorial = n
    this.#after(this.#factorialTime, () => {
      this.#factorial = factorial(n)
      this.#status &= ~STATUS_COMPUTING
      if ((this.#status & STATUS_INTERRUPT) !== 0) this.#raise(FACTORIAL_DONE)
      else this.#publish()
    })
  }

  /** One message for each raise, whatever is pending; INTx is a level (06 §13.4). */
  #raise(bits: number): void {
    this.#pending = (this.#pending | bits) >>> 0
    // Whoever is woken is to find why.
    this.#publish()
    if (this.#pending === 0) return
    const services = this.#services
    if (services?.interruptKind === 'msi') services.message(0)
    else services?.line(true)
  }

  #writeDma(offset: number, value: bigint): void {
    if ((this.#dma.command & DMA_START) !== 0n) return
    switch (offset) {
      case Register.DMA_SOURCE:
        this.#dma.source = value
        return
      case Register.DMA_DESTINATION:
        this.#dma.destination = value
        return
      case Register.DMA_COUNT:
        this.#dma.count = value
        return
      case Register.DMA_PASID:
        this.#pasid = (Number(BigInt.asUintN(32, value)) & (PASID_VALID | PASID_BITS)) >>> 0
        return
      case Register.DMA_COMMAND:
        if ((value & DMA_START) === 0n) return
        this.#dma.command = value
        this.#after(this.#dmaTime, () => this.#transfer())
    }
  }

  #transfer(): void {
    const { source, destination, count, command } = this.#dma
    const toMemory = (command & DMA_TO_MEMORY) !== 0n
    const own = toMemory ? source : destination
    const bus = iova((toMemory ? destination : source) & this.#dmaMask)
    // Outside the buffer nothing is moved, and the transfer counts as done.
    if (own >= BUFFER_START && own + count <= BUFFER_START + BigInt(BUFFER_SIZE)) {
      const at = Number(own - BUFFER_START)
      const part = this.#buffer.subarray(at, at + Number(count))
      const dma = this.#port()
      if (toMemory) dma?.write(bus, part)
      else if (dma?.read(bus, part) === false) part.fill(0)
    }
    this.#dma.command &= ~DMA_START
    if ((command & DMA_INTERRUPT) !== 0n) this.#raise(DMA_DONE)
    else this.#publish()
  }

  #port(): PciDma | undefined {
    const withPasid = this.#hasPasid && (this.#pasid & PASID_VALID) !== 0
    return withPasid
      ? this.#services?.dmaWithPasid(pasid(this.#pasid & PASID_BITS))
      : this.#services?.dma
  }
}

/** Modulo 2^32; from 34 on it is 0. */
const factorial = (n: number): number => {
  let result = 1
  for (let i = 2; i <= Math.min(n, 34); i++) result = Math.imul(result, i) >>> 0
  return n >= 34 ? 0 : result
}
