/** Configuration space as the user sees it, one shadow per open (06 §5). */
import type { FileOffset, UserVa } from '../../abi/brands.ts'
import type { Call } from '../../engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../../engine/reason.ts'
import { addressAt, readExactly, writeExactly } from '../../engine/vfio-struct.ts'
import { type ConfigLayout, configLayout } from './config-layout.ts'
import {
  barTypeBits,
  CapabilityId,
  type HardwareConfig,
  PciCommand,
  PciOffset,
} from './hardware-config.ts'
import type { Bar } from './pci-model.ts'

export const ConfigOutOfRange = reasonKind<{ offset: number; count: number; size: number }>({
  code: 'config-out-of-range',
  errno: 'EFAULT',
  cite: '06 §4.3',
  say: ({ offset, count, size }) =>
    `${count} bytes at 0x${offset.toString(16)} pass the end of the configuration space of ${size} bytes`,
  advice:
    'Stay below the size that VFIO_DEVICE_GET_REGION_INFO reports; there are no short transfers here.',
})

/** What writes to configuration space set in motion. */
export interface ConfigEffects {
  /** COMMAND was written (a chunk that starts at 0x04). */
  commandWritten(): void
  /** INTx disable may have changed (a chunk that starts at 0x04 or 0x05). */
  intxDisable(disabled: boolean): void
  /** A power state was asked for, 0 to 3. */
  powerState(state: number): void
  /** A function-level reset was asked for. */
  functionReset(): void
  /** Which interrupt type is active, and vectors that MSI was ever enabled with (06 §5.7). */
  readonly msiActive: boolean
  readonly msiVectorsEver: number
}

const BAR_REGISTERS = 6

export class ConfigSpace {
  readonly #hw: HardwareConfig
  readonly #bars: readonly Bar[]
  readonly #effects: ConfigEffects
  readonly #layout: ConfigLayout
  readonly #virtual: Uint8Array
  readonly #view: DataView
  #barsWritten = false
  #command: number

  constructor(hw: HardwareConfig, bars: readonly Bar[], effects: ConfigEffects) {
    this.#hw = hw
    this.#bars = bars
    this.#effects = effects
    this.#virtual = hw.bytes.slice()
    this.#view = new DataView(this.#virtual.buffer)
    this.#layout = configLayout(hw, this.#virtual)
    this.#clearPowerManagementEvents()
    this.#command = hw.command
  }

  /** MEM and IO as the access tests use them (06 §4.3). */
  get memoryEnabled(): boolean {
    return (this.#command & PciCommand.MEMORY) !== 0
  }

  get intxDisabled(): boolean {
    return (this.#view.getUint16(PciOffset.COMMAND, true) & PciCommand.INTX_DISABLE) !== 0
  }

  read(call: Call, buffer: UserVa, count: number, offset: number): Result<number> {
    if (offset >= this.#hw.size || offset + count > this.#hw.size)
      return refuse(ConfigOutOfRange, { offset, count, size: this.#hw.size })
    if (this.#barsWritten) this.#fixBars()
    const bytes = new Uint8Array(count)
    for (let i = 0; i < count; i++) {
      const at = offset + i
      const virtual = this.#layout.virtual[at] ?? 0
      bytes[i] = ((this.#virtual[at] ?? 0) & virtual) | ((this.#hw.bytes[at] ?? 0) & ~virtual)
    }
    return writeExactly(call, buffer, bytes, 'a read of configuration space') ?? count
  }

  /** In chunks: an error in a later one leaves the earlier ones done. */
  write(call: Call, buffer: UserVa, count: number, offset: number): Result<number> {
    if (offset >= this.#hw.size || offset + count > this.#hw.size)
      return refuse(ConfigOutOfRange, { offset, count, size: this.#hw.size })
    for (let done = 0; done < count; ) {
      const at = offset + done
      const length = this.#chunk(at, count - done)
      if (this.#layout.parts[at]?.readOnly !== true) {
        const bytes = readExactly(
          call,
          addressAt(buffer, done),
          length,
          'a write of configuration space',
        )
        if (bytes instanceof Refusal) return bytes
        this.#writeChunk(at, bytes)
      }
      done += length
    }
    return count
  }

  /** 06 §5.1: never across a dword or a capability, naturally aligned. */
  #chunk(at: number, left: number): number {
    const { parts } = this.#layout
    for (const length of [4, 2] as const)
      if (at % length === 0 && left >= length && parts[at] === parts[at + length - 1]) return length
    return 1
  }

  #writeChunk(at: number, bytes: Uint8Array): void {
    const { virtual, writable, parts } = this.#layout
    bytes.forEach((value, i) => {
      const offset = at + i
      const mask = writable[offset] ?? 0
      const toVirtual = mask & (virtual[offset] ?? 0)
      this.#virtual[offset] = ((this.#virtual[offset] ?? 0) & ~toVirtual) | (value & toVirtual)
      const toHardware = mask & ~(virtual[offset] ?? 0)
      const old = this.#hw.bytes[offset] ?? 0
      if (toHardware !== 0) this.#hw.write(offset, (old & ~toHardware) | (value & toHardware))
    })
    const part = parts[at]
    if (part === undefined) return
    if (part.id === 'header') this.#headerWritten(at, bytes)
    else if (part.id === CapabilityId.PM && at === part.start + 4)
      this.#effects.powerState((bytes[0] ?? 0) & 3)
    else if (
      part.id === CapabilityId.MSI &&
      at <= part.start + 2 &&
      at + bytes.length > part.start + 2
    )
      this.#correctMsi(part.start)
    else if (part.id === CapabilityId.EXPRESS) this.#expressWritten(part.start)
    else if (part.id === CapabilityId.AF && at === part.start + 4 && ((bytes[0] ?? 0) & 1) !== 0)
      this.#advancedFeaturesReset(part.start)
  }

  #headerWritten(at: number, bytes: Uint8Array): void {
    if (at >= PciOffset.BAR0 && at < PciOffset.BAR0 + 24) this.#barsWritten = true
    if (at === PciOffset.ROM) this.#barsWritten = true
    if (at === PciOffset.COMMAND) {
      const kept = bytes.length === 1 ? this.#command & 0xff00 : 0
      this.#command = kept | (bytes[0] ?? 0) | ((bytes[1] ?? 0) << 8)
      this.#effects.commandWritten()
    }
    if (at === PciOffset.COMMAND || at === PciOffset.COMMAND + 1)
      this.#effects.intxDisable(this.intxDisabled)
  }

  /** 06 §5.4: the classic probe works, and nothing moves. */
  #fixBars(): void {
    this.#barsWritten = false
    const present = new Set<number>()
    for (const bar of this.#bars) {
      const at = PciOffset.BAR0 + bar.index * 4
      present.add(bar.index)
      const mask = ~(BigInt(bar.length) - 1n)
      const low = BigInt(this.#view.getUint32(at, true)) & mask & 0xffff_ffffn
      this.#view.setUint32(at, Number(low) | barTypeBits(bar), true)
      if (bar.kind !== 'memory64') continue
      present.add(bar.index + 1)
      const high = BigInt(this.#view.getUint32(at + 4, true)) & ((mask >> 32n) & 0xffff_ffffn)
      this.#view.setUint32(at + 4, Number(high), true)
    }
    for (let index = 0; index < BAR_REGISTERS; index++)
      if (!present.has(index)) this.#view.setUint32(PciOffset.BAR0 + index * 4, 0, true)
    this.#view.setUint32(PciOffset.ROM, 0, true)
  }

  /** 06 §5.7. */
  #correctMsi(start: number): void {
    const at = start + 2
    let control = this.#virtual[at] ?? 0
    if (!this.#effects.msiActive) control &= ~1
    const vectors = this.#effects.msiVectorsEver
    const most = vectors === 0 ? 0 : Math.ceil(Math.log2(vectors))
    if (((control >> 4) & 7) > most) control = (control & ~0x70) | (most << 4)
    this.#virtual[at] = control
    this.#hw.write(at, control)
  }

  /** FLR reads back 0 always. */
  #expressWritten(start: number): void {
    const at = start + 0x09
    const control = this.#virtual[at] ?? 0
    if ((control & 0x80) === 0) return
    this.#virtual[at] = control & 0x7f
    const capable = (this.#hw.view.getUint32(start + 4, true) & (1 << 28)) !== 0
    if (capable) this.#effects.functionReset()
  }

  #advancedFeaturesReset(start: number): void {
    this.#hw.bytes[start + 4] = 0
    if (((this.#hw.bytes[start + 3] ?? 0) & 3) === 3) this.#effects.functionReset()
  }

  /** PME bits read 0. */
  #clearPowerManagementEvents(): void {
    const pm = this.#layout.capabilities.find(({ id }) => id === CapabilityId.PM)
    if (pm === undefined) return
    this.#virtual[pm.start + 3] = (this.#virtual[pm.start + 3] ?? 0) & 0x07
    this.#virtual[pm.start + 5] = (this.#virtual[pm.start + 5] ?? 0) & ~0x81
  }
}

/** `index << 40 | offset`, 06 §4.1. */
export const REGION_SHIFT = 40n
export const regionStart = (index: number): bigint => BigInt(index) << REGION_SHIFT
export const splitOffset = (position: FileOffset): { index: number; offset: number } => ({
  index: Number(position >> REGION_SHIFT),
  offset: Number(position & ((1n << REGION_SHIFT) - 1n)),
})
