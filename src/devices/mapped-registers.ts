/**
 * Registers that clients may map. Loads and stores through a mapping cannot trap: the model publishes
 * what is to be read and looks from time to time what has been stored (06 §12). Nothing is looked at
 * before somebody maps them, nor while memory is disabled in COMMAND.
 */
import type { SharedRegion } from '../engine/file.ts'
import { RegionMemory } from '../engine/mmap-regions.ts'
import type { AccessWidth, PciServices } from '../vfio/pci/pci-model.ts'

/** Milliseconds between looks: short after something happened, then longer and longer. */
const SHORTEST = 0.05
const LONGEST = 4
/** So many looks in vain before they become rarer. */
const PATIENCE = 100

export class MappedRegisters implements SharedRegion {
  readonly length: number
  readonly #memory: RegionMemory
  readonly #look: () => boolean
  readonly #bytes = new Uint8Array(8)
  readonly #view = new DataView(this.#bytes.buffer)
  #services: PciServices | undefined
  #cancel: (() => void) | undefined
  #mapped = false
  #accessible = true
  #vain = 0
  #interval = SHORTEST

  /** `look` acts on what clients have stored; true if there was anything. */
  constructor(length: number, look: () => boolean) {
    this.length = length
    this.#memory = new RegionMemory(length)
    this.#look = look
  }

  read(offset: number, into: Uint8Array): void {
    this.#memory.read(offset, into)
  }

  write(offset: number, bytes: Uint8Array): void {
    this.#memory.write(offset, bytes)
  }

  backBy(pages: SharedRegion): void {
    this.#memory.backBy(pages)
    this.#mapped = true
    this.#wake()
  }

  setAccessible(accessible: boolean): void {
    this.#memory.setAccessible(accessible)
    this.#accessible = accessible
    if (accessible) this.#wake()
    else this.#sleep()
  }

  /** The device has been opened. */
  start(services: PciServices): void {
    this.#services = services
    this.#wake()
  }

  /** The device is being closed. */
  stop(): void {
    this.#sleep()
    this.#services = undefined
    this.#mapped = false
  }

  /** Looks now: what is stored is to be seen before what comes next. */
  look(): void {
    if (this.#mapped && this.#look()) this.#wake()
  }

  load(offset: number, width: AccessWidth): bigint {
    this.#memory.read(offset, this.#bytes.subarray(0, width))
    return BigInt.asUintN(width * 8, this.#view.getBigUint64(0, true))
  }

  store(offset: number, width: AccessWidth, value: bigint | number): void {
    this.#view.setBigUint64(0, BigInt.asUintN(64, BigInt(value)), true)
    this.#memory.write(offset, this.#bytes.subarray(0, width))
  }

  #wake(): void {
    this.#vain = 0
    this.#interval = SHORTEST
    this.#sleep()
    this.#schedule()
  }

  #sleep(): void {
    this.#cancel?.()
    this.#cancel = undefined
  }

  #schedule(): void {
    if (!this.#mapped || !this.#accessible) return
    this.#cancel = this.#services?.after(this.#interval, () => {
      this.#cancel = undefined
      if (this.#look()) this.#vain = 0
      else this.#vain += 1
      this.#interval = this.#vain < PATIENCE ? SHORTEST : Math.min(LONGEST, this.#interval * 1.2)
      // What was seen may have closed or disabled the device.
      this.#sleep()
      this.#schedule()
    })
  }
}
