/** A submission queue entry (06 §14.4). */
import { addressAt, type DmaAddress } from './device-memory.ts'

export const COMMAND_BYTES = 64
const DWORD_10 = 40

export class Command {
  readonly #view: DataView

  /** `bytes` are the 64 of the entry; they must not change while the command is worked on. */
  constructor(bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, COMMAND_BYTES)
  }

  get opcode(): number {
    return this.#view.getUint8(0)
  }

  /** Fused operations, or SGLs instead of PRPs: nothing of which there is. */
  get hasUnsupportedFlags(): boolean {
    return (this.#view.getUint8(1) & 0xc3) !== 0
  }

  get id(): number {
    return this.#view.getUint16(2, true)
  }

  get namespace(): number {
    return this.#view.getUint32(4, true)
  }

  get prp1(): DmaAddress {
    return addressAt(this.#view, 24)
  }

  get prp2(): DmaAddress {
    return addressAt(this.#view, 32)
  }

  /** Command dword `n`, 10 to 15. */
  dword(n: 10 | 11 | 12 | 13 | 14 | 15): number {
    return this.#view.getUint32(DWORD_10 + 4 * (n - 10), true)
  }

  /** Dwords 10 and 11 as one number: a first block, exact up to 2^53. */
  get firstBlock(): number {
    return this.dword(11) * 2 ** 32 + this.dword(10)
  }
}
