/**
 * The configuration space that the function itself holds (06 §5: "hw"): what vfio-pci shows in part and
 * shadows in part.
 */
import type { Bar, PciIdentity, PciModel } from './pci-model.ts'

export const PciOffset = {
  VENDOR: 0x00,
  DEVICE: 0x02,
  COMMAND: 0x04,
  STATUS: 0x06,
  REVISION: 0x08,
  CACHE_LINE: 0x0c,
  HEADER_TYPE: 0x0e,
  BAR0: 0x10,
  SUBSYSTEM: 0x2c,
  ROM: 0x30,
  CAPABILITY_POINTER: 0x34,
  INTERRUPT_LINE: 0x3c,
  INTERRUPT_PIN: 0x3d,
  HEADER_END: 0x40,
} as const

export const PciCommand = {
  IO: 0x1,
  MEMORY: 0x2,
  MASTER: 0x4,
  SERR: 0x100,
  INTX_DISABLE: 0x400,
} as const

export const CapabilityId = {
  PM: 0x01,
  VPD: 0x03,
  MSI: 0x05,
  VENDOR: 0x09,
  EXPRESS: 0x10,
  MSIX: 0x11,
  SATA: 0x12,
  AF: 0x13,
} as const

/** COMMAND bits that have hardware behind them (06 §2.4). */
const COMMAND_BITS =
  PciCommand.IO | PciCommand.MEMORY | PciCommand.MASTER | PciCommand.SERR | PciCommand.INTX_DISABLE

const STATUS_INTERRUPT = 0x08
/** There is a capability list. */
const STATUS_CAPABILITIES = 0x10

/** Type bits of a BAR register. */
export const barTypeBits = (bar: Bar): number =>
  bar.kind === 'io'
    ? 0x1
    : (bar.prefetchable === true ? 0x8 : 0) | (bar.kind === 'memory64' ? 0x4 : 0)

export class HardwareConfig {
  readonly size: 256 | 4096
  readonly bytes: Uint8Array
  readonly view: DataView
  /** Which bits a write from the bus changes. */
  readonly #writable: Uint8Array

  /** `barAddresses` are what firmware put into the BARs, by BAR index. */
  constructor(model: PciModel, barAddresses: ReadonlyMap<number, number>) {
    const { identity } = model
    this.size = identity.configSize
    this.bytes = new Uint8Array(this.size)
    this.view = new DataView(this.bytes.buffer)
    this.#writable = new Uint8Array(this.size)
    this.#fillHeader(identity, model.bars, barAddresses)
    this.#fillCapabilities(identity)
    const mask = new DataView(this.#writable.buffer)
    mask.setUint16(PciOffset.COMMAND, COMMAND_BITS, true)
    mask.setUint8(PciOffset.CACHE_LINE, 0xff)
    mask.setUint8(PciOffset.INTERRUPT_LINE, 0xff)
  }

  #fillHeader(
    identity: PciIdentity,
    bars: readonly Bar[],
    addresses: ReadonlyMap<number, number>,
  ): void {
    const { view } = this
    view.setUint16(PciOffset.VENDOR, identity.vendor, true)
    view.setUint16(PciOffset.DEVICE, identity.device, true)
    view.setUint32(PciOffset.REVISION, identity.classCode * 0x100 + identity.revision, true)
    view.setUint16(PciOffset.SUBSYSTEM, identity.subsystemVendor, true)
    view.setUint16(PciOffset.SUBSYSTEM + 2, identity.subsystemDevice, true)
    view.setUint8(PciOffset.INTERRUPT_PIN, identity.interruptPin)
    for (const bar of bars) {
      const address = addresses.get(bar.index) ?? 0
      const at = PciOffset.BAR0 + bar.index * 4
      view.setUint32(at, ((address % 2 ** 32) | barTypeBits(bar)) >>> 0, true)
      if (bar.kind === 'memory64') view.setUint32(at + 4, Math.floor(address / 2 ** 32), true)
    }
  }

  #fillCapabilities(identity: PciIdentity): void {
    let pointer: number = PciOffset.CAPABILITY_POINTER
    for (const { id, offset, body } of identity.capabilities) {
      this.view.setUint8(pointer, offset)
      this.bytes.set([id, 0, ...body], offset)
      pointer = offset + 1
      this.#markWritable(id, offset)
    }
    if (identity.capabilities.length > 0)
      this.view.setUint16(PciOffset.STATUS, STATUS_CAPABILITIES, true)
  }

  /** What a driver on the bus can change in the capabilities known here. */
  #markWritable(id: number, offset: number): void {
    const mask = new DataView(this.#writable.buffer)
    if (id === CapabilityId.PM) mask.setUint8(offset + 4, 0x03)
    if (id === CapabilityId.MSI) mask.setUint8(offset + 2, 0x71)
    if (id === CapabilityId.MSIX) mask.setUint8(offset + 3, 0xc0)
    // Device control and device control 2, less the function-level reset bit, which never stays.
    if (id === CapabilityId.EXPRESS) {
      mask.setUint16(offset + 0x08, 0x7fff, true)
      mask.setUint16(offset + 0x28, 0xffff, true)
    }
  }

  /** A write on the bus: only bits that have hardware behind them change. */
  write(offset: number, value: number): void {
    const mask = this.#writable[offset] ?? 0
    this.bytes[offset] = ((this.bytes[offset] ?? 0) & ~mask) | (value & mask)
  }

  get command(): number {
    return this.view.getUint16(PciOffset.COMMAND, true)
  }

  set command(value: number) {
    this.write(PciOffset.COMMAND, value & 0xff)
    this.write(PciOffset.COMMAND + 1, value >> 8)
  }

  /**
   * The function drives its interrupt line: STATUS shows it whether INTx is disabled or not, and drivers
   * that share a line look there to tell whose interrupt it is.
   */
  set interruptAsserted(asserted: boolean) {
    const status = this.bytes[PciOffset.STATUS] ?? 0
    this.bytes[PciOffset.STATUS] = asserted ? status | STATUS_INTERRUPT : status & ~STATUS_INTERRUPT
  }

  /** Offset of a capability, or undefined. */
  capability(id: number): number | undefined {
    for (let at = this.bytes[PciOffset.CAPABILITY_POINTER] ?? 0; at !== 0; )
      if (this.bytes[at] === id) return at
      else at = this.bytes[at + 1] ?? 0
    return undefined
  }
}
