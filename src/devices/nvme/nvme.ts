/** The NVMe controller as a PCI function whose work is done in the thread of the engine, in bounded turns. */
import { iova } from '../../abi/brands.ts'
import type { SharedRegion } from '../../engine/file.ts'
import { RegionMemory } from '../../engine/mmap-regions.ts'
import type { Bar, PciModel, PciServices } from '../../vfio/pci/pci-model.ts'
import { Controller } from './controller.ts'
import { type DeviceMemory, type DmaPiece, PAGE_SIZE } from './device-memory.ts'
import type { DiskIdentity } from './identify.ts'
import type { Image } from './image.ts'
import { nvmeIdentity, nvmeMsix } from './pci-function.ts'
import { BAR_LENGTH, type RegisterMemory, resetRegisters } from './registers.ts'

/** Milliseconds between looks at the doorbells: short while there is work, longer the longer there is none. */
const SHORTEST_PAUSE = 0.05
const LONGEST_PAUSE = 1
/** Turns before other clients are looked after. */
const TURNS = 4

export class Nvme implements PciModel {
  readonly name = 'nvme'
  readonly identity = nvmeIdentity
  readonly msix = nvmeMsix
  readonly resettable = true
  readonly bars: readonly Bar[]
  readonly #bar = new RegionMemory(BAR_LENGTH)
  readonly #registers: RegisterMemory = wordsOf(this.#bar)
  readonly #controller: Controller
  #services: PciServices | undefined
  #cancel: (() => void) | undefined
  #pause = LONGEST_PAUSE

  constructor(image: Image, identity: DiskIdentity) {
    const stored = (): void => this.trapped()
    const memory: SharedRegion = {
      length: BAR_LENGTH,
      read: (offset, into) => this.#bar.read(offset, into),
      write: (offset, bytes) => {
        this.#bar.write(offset, bytes)
        stored()
      },
      backBy: (pages) => this.#bar.backBy(pages),
      setAccessible: (accessible) => this.#bar.setAccessible(accessible),
    }
    this.bars = [{ index: 0, kind: 'memory64', length: BAR_LENGTH, memory }]
    resetRegisters(this.#registers)
    const services = (): PciServices | undefined => this.#services
    this.#controller = new Controller({
      registers: this.#registers,
      memory: memoryOf(services),
      interrupts: {
        get kind() {
          return services()?.interruptKind ?? 'none'
        },
        message: (vector) => services()?.message(vector),
        line: (asserted) => services()?.line(asserted),
      },
      image,
      identity,
    })
  }

  opened(services: PciServices): void {
    this.#services = services
    this.#look()
  }

  closed(): void {
    this.#cancel?.()
    this.#cancel = undefined
    this.#services = undefined
  }

  reset(): void {
    resetRegisters(this.#registers)
    this.#controller.reset()
  }

  commandChanged(): void {
    this.trapped()
  }

  interruptsChanged(): void {
    this.trapped()
  }

  /** Something may have been stored, or may be permitted now. */
  trapped(): void {
    this.#pause = SHORTEST_PAUSE
    this.#look()
  }

  #look(): void {
    const services = this.#services
    if (services === undefined) return
    this.#cancel?.()
    this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE)
    for (let turn = 0; turn < TURNS; turn++) {
      if (!this.#controller.turn()) break
      this.#pause = SHORTEST_PAUSE
    }
    this.#cancel = services.after(this.#pause, () => this.#look())
  }
}

const wordsOf = (region: SharedRegion): RegisterMemory => {
  const word = new Uint8Array(4)
  const view = new DataView(word.buffer)
  return {
    load: (offset) => {
      region.read(offset, word)
      return view.getUint32(0, true)
    },
    store: (offset, value) => {
      view.setUint32(0, value, true)
      region.write(offset, word)
    },
  }
}

const memoryOf = (services: () => PciServices | undefined): DeviceMemory => {
  const each = (
    pieces: readonly DmaPiece[],
    bytes: Uint8Array,
    move: (services: PciServices, address: bigint, part: Uint8Array) => boolean,
  ): boolean => {
    const via = services()
    if (via === undefined) return false
    let done = 0
    for (const { page, offset, length } of pieces) {
      const address = BigInt(page) * BigInt(PAGE_SIZE) + BigInt(offset)
      if (!move(via, address, bytes.subarray(done, done + length))) return false
      done += length
    }
    return true
  }
  return {
    get busMaster() {
      return services()?.busMaster ?? false
    },
    read: (pieces, into) =>
      each(pieces, into, (via, address, part) => via.dma.read(iova(address), part)),
    write: (pieces, bytes) =>
      each(pieces, bytes, (via, address, part) => via.dma.write(iova(address), part)),
  }
}
