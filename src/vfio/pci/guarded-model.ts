/**
 * A model that may have mistakes in it, kept from doing harm to whoever it is part of: when it throws,
 * that is reported once and the device answers no more, as hardware that has fallen off its bus. A reset
 * or a new open gives it another try.
 */
import type {
  AccessWidth,
  Bar,
  MsixTable,
  PciIdentity,
  PciModel,
  PciServices,
} from './pci-model.ts'

/** `where` is the function that threw: `writeRegister(0, 0x10, 4)`. */
export type ModelFailed = (where: string, error: unknown) => void

export class GuardedModel implements PciModel {
  readonly name: string
  readonly identity: PciIdentity
  readonly bars: readonly Bar[]
  readonly msix?: MsixTable
  readonly resettable: boolean
  /** Absent where the model's are: accesses then go to the memory of its BARs. */
  readonly readRegister?: NonNullable<PciModel['readRegister']>
  readonly writeRegister?: NonNullable<PciModel['writeRegister']>
  readonly #model: PciModel
  readonly #failed: ModelFailed
  #broken = false

  constructor(model: PciModel, failed: ModelFailed) {
    this.#model = model
    this.#failed = failed
    this.name = model.name
    this.identity = model.identity
    this.bars = model.bars
    if (model.msix !== undefined) this.msix = model.msix
    this.resettable = model.resettable
    if (model.readRegister !== undefined) this.readRegister = this.#read
    if (model.writeRegister !== undefined) this.writeRegister = this.#write
  }

  opened(services: PciServices): void {
    this.#broken = false
    this.#guard('opened', () => this.#model.opened?.(this.#guardedServices(services)))
  }

  closed(): void {
    this.#broken = false
    this.#guard('closed', () => this.#model.closed?.())
  }

  reset(): void {
    this.#broken = false
    this.#guard('reset', () => this.#model.reset())
  }

  readonly #read = (bar: number, offset: number, width: AccessWidth): bigint => {
    const nothing = (1n << BigInt(width * 8)) - 1n
    const where = `readRegister(${bar}, 0x${offset.toString(16)}, ${width})`
    const value = this.#guard(where, () => {
      const given: unknown = this.#model.readRegister?.(bar, offset, width)
      if (typeof given !== 'bigint') throw new TypeError(`it returned ${String(given)}, no bigint`)
      return BigInt.asUintN(width * 8, given)
    })
    return value ?? nothing
  }

  readonly #write = (bar: number, offset: number, width: AccessWidth, value: bigint): void => {
    const where = `writeRegister(${bar}, 0x${offset.toString(16)}, ${width}, 0x${value.toString(16)})`
    this.#guard(where, () => this.#model.writeRegister?.(bar, offset, width, value))
  }

  commandChanged(): void {
    this.#guard('commandChanged', () => this.#model.commandChanged?.())
  }

  interruptsChanging(): void {
    this.#guard('interruptsChanging', () => this.#model.interruptsChanging?.())
  }

  interruptsChanged(): void {
    this.#guard('interruptsChanged', () => this.#model.interruptsChanged?.())
  }

  trapped(): void {
    this.#guard('trapped', () => this.#model.trapped?.())
  }

  #guardedServices(services: PciServices): PciServices {
    const after: PciServices['after'] = (milliseconds, run) =>
      services.after(milliseconds, () => this.#guard('a function given to after()', run))
    return Object.create(services, { after: { value: after } })
  }

  #guard<T>(where: string, run: () => T): T | undefined {
    if (this.#broken) return undefined
    try {
      return run()
    } catch (error) {
      this.#broken = true
      this.#failed(where, error)
      return undefined
    }
  }
}
