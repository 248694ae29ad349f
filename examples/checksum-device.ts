/**
 * A PCI device of your own in one file: it reads a piece of memory by DMA, computes its CRC-32 and sends
 * an interrupt. examples/checksum.py is a driver for it.
 *
 *     iommufd-user run --device examples/checksum-device.ts,delay=5 -- examples/checksum.py
 *
 * Registers, in BAR0, 32 bits wide but for the address:
 *
 *     0x00  identification (read only)      0x10  length in bytes
 *     0x08  address (64 bits)               0x14  start: write 1
 *     0x18  result (read only)              0x1c  status (read only): 0 idle, 1 busy, 2 done, 3 failed
 */
import { crc32 } from 'node:zlib'
import {
  type AccessWidth,
  type Bar,
  type DeviceFactory,
  iova,
  type PciIdentity,
  type PciModel,
  type PciServices,
} from 'iommufd-user'

const IDENTIFICATION = 0x4353_554d
const LONGEST = 1 << 20
const Status = { IDLE: 0, BUSY: 1, DONE: 2, FAILED: 3 } as const

class ChecksumDevice implements PciModel {
  readonly name = 'checksum'
  readonly resettable = true
  readonly bars: readonly Bar[] = [{ index: 0, kind: 'memory32', length: 4096 }]
  readonly identity: PciIdentity = {
    vendor: 0x1234,
    device: 0x5678,
    revision: 1,
    classCode: 0x12_0000,
    subsystemVendor: 0x1234,
    subsystemDevice: 1,
    interruptPin: 0,
    configSize: 256,
    // MSI with one vector and a 64-bit address.
    capabilities: [{ id: 0x05, offset: 0x40, body: [0x80, 0x00, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] }],
  }
  readonly #delay: number
  #services: PciServices | undefined
  #cancel: (() => void) | undefined
  #address = 0n
  #length = 0
  #result = 0
  #status: number = Status.IDLE

  constructor(delay: number) {
    this.#delay = delay
  }

  /** A program has opened the device: from now on there is DMA, time and interrupts. */
  opened(services: PciServices): void {
    this.#services = services
  }

  closed(): void {
    this.#cancel?.()
    this.#services = undefined
  }

  reset(): void {
    this.#cancel?.()
    this.#address = 0n
    this.#length = 0
    this.#result = 0
    this.#status = Status.IDLE
  }

  readRegister(_bar: number, offset: number, width: AccessWidth): bigint {
    if (offset === 0x08 && width === 8) return this.#address
    if (width !== 4) return 0n
    switch (offset) {
      case 0x00:
        return BigInt(IDENTIFICATION)
      case 0x10:
        return BigInt(this.#length)
      case 0x18:
        return BigInt(this.#result)
      case 0x1c:
        return BigInt(this.#status)
      default:
        return 0n
    }
  }

  writeRegister(_bar: number, offset: number, _width: AccessWidth, value: bigint): void {
    if (this.#status === Status.BUSY) return
    if (offset === 0x08) this.#address = value
    if (offset === 0x10) this.#length = Number(value)
    if (offset === 0x14 && value === 1n) this.#start()
  }

  /** Time of the machine, not of Node: a busy device never holds up a program's calls. */
  #start(): void {
    this.#status = Status.BUSY
    this.#cancel = this.#services?.after(this.#delay, () => this.#finish())
  }

  #finish(): void {
    const bytes = new Uint8Array(Math.min(this.#length, LONGEST))
    // False: the address is not mapped for this device, or it may not do DMA (COMMAND bit 2).
    const read = this.#services?.dma.read(iova(this.#address), bytes) ?? false
    this.#result = read ? crc32(bytes) : 0
    this.#status = read ? Status.DONE : Status.FAILED
    this.#services?.message(0)
  }
}

/** What `iommufd-user` may be given behind the module's name; anything else is refused. */
export const options = { delay: 'milliseconds that a checksum takes' }

const create: DeviceFactory = ({ options: given }) => {
  const delay = Number(given['delay'] ?? 1)
  if (!(delay >= 0))
    throw new Error(`delay is ${given['delay']}, which is no number of milliseconds`)
  return new ChecksumDevice(delay)
}

export default create
