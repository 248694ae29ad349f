/**
 * DMA of a simulated device: every access goes through the translation that the device is on now
 * (03 §14.6, 07 §9). The engine holds no other way from an IOVA to memory.
 */
import { type ByteLength, type Iova, MAX_U64, type Pasid } from '../abi/brands.ts'
import type { DmaAccess, DmaFault, IommuDevice } from './iommu-driver.ts'
import type { Machine } from './machine.ts'

/** An access that was stopped at `iova`; the bytes before it went through. */
export interface StoppedDma {
  readonly iova: Iova
  /** `no-memory`: translated, but nothing answers there. */
  readonly fault: DmaFault | 'no-memory'
}

/** The bus-master side of one device (or one PASID of it). */
export class DmaPort {
  readonly #machine: Machine
  readonly #device: IommuDevice
  readonly #pasid: Pasid | undefined
  readonly #reading: DmaAccess
  readonly #writing: DmaAccess

  constructor(machine: Machine, device: IommuDevice, pasid?: Pasid) {
    this.#machine = machine
    this.#device = device
    this.#pasid = pasid
    const access = { device, pasid, memory: machine.memory }
    this.#reading = { ...access, write: false }
    this.#writing = { ...access, write: true }
  }

  /** Reads memory into `into`; undefined when all of it was read. */
  read(iova: Iova, into: Uint8Array): StoppedDma | undefined {
    return this.#transfer(iova, into, this.#reading)
  }

  /** Writes `bytes` to memory; undefined when all of it was written. */
  write(iova: Iova, bytes: Uint8Array): StoppedDma | undefined {
    return this.#transfer(iova, bytes, this.#writing)
  }

  #transfer(iova: Iova, bytes: Uint8Array, access: DmaAccess): StoppedDma | undefined {
    const machine = this.#machine
    const { memory } = machine
    const domain = machine.groups.of(this.#device).translation(this.#pasid)
    for (let done = 0; done < bytes.length; ) {
      const position = iova + BigInt(done)
      // Beyond 2^64 there is nothing to translate.
      if (position > MAX_U64) return this.#stopped(iova, 'out-of-reach', access.write)
      const at = position as Iova
      const target = domain.translate?.(at, access) ?? 'blocked'
      if (typeof target === 'string') return this.#stopped(at, target, access.write)
      const part = bytes.subarray(done, Math.min(bytes.length, done + target.length))
      const answered = access.write
        ? memory.write(target.phys, part)
        : memory.read(target.phys, part)
      if (!answered) return this.#stopped(at, 'no-memory', access.write)
      done += part.length
    }
    this.moved(iova, bytes.length, access.write)
    return undefined
  }

  /** Tells whoever watches: this DMA has been done. */
  moved(iova: Iova, length: number, write: boolean): void {
    this.#machine.observer?.event({
      type: 'dma',
      ...this.#where(),
      iova,
      length: BigInt(length) as ByteLength,
      write,
    })
  }

  #stopped(iova: Iova, fault: StoppedDma['fault'], write: boolean): StoppedDma {
    const { observer } = this.#machine
    observer?.event({ type: 'dma-fault', ...this.#where(), iova, write, fault })
    return { iova, fault }
  }

  /** What events say of who does it, and through what. */
  #where() {
    const group = this.#machine.groups.of(this.#device)
    const pasid = this.#pasid
    const attachment = (pasid === undefined ? undefined : group.pasids.get(pasid)) ?? group.rid
    const { hwpt } = attachment ?? {}
    return {
      device: this.#device.name,
      pasid,
      context: hwpt?.context.number ?? 0,
      call: this.#machine.currentCall,
      ioas: hwpt?.paging.ioas.id,
    }
  }
}
