/**
 * DMA of a simulated device: every access goes through the translation that the device is on now
 * (03 §14.6, 07 §9). The engine holds no other way from an IOVA to memory.
 */
import { type ByteLength, type Iova, MAX_U64, type Pasid } from '../abi/brands.ts'
import type { EngineEvent, MappedRange } from './events.ts'
import type { AreaView, Ioas } from './ioas.ts'
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
      const left = bytes.length - done
      if (position > MAX_U64) return this.#stopped(iova, left, 'out-of-reach', access.write)
      const at = position as Iova
      const target = domain.translate?.(at, access) ?? 'blocked'
      if (typeof target === 'string') return this.#stopped(at, left, target, access.write)
      const part = bytes.subarray(done, Math.min(bytes.length, done + target.length))
      const answered = access.write
        ? memory.write(target.phys, part)
        : memory.read(target.phys, part)
      if (!answered) return this.#stopped(at, left, 'no-memory', access.write)
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

  #stopped(iova: Iova, left: number, fault: StoppedDma['fault'], write: boolean): StoppedDma {
    const { observer } = this.#machine
    if (observer !== undefined)
      observer.event({
        type: 'dma-fault',
        ...this.#where(),
        iova,
        length: BigInt(left) as ByteLength,
        write,
        fault,
        ...around(this.#attachment?.hwpt?.paging.ioas, iova),
      })
    return { iova, fault }
  }

  get #attachment() {
    const group = this.#machine.groups.of(this.#device)
    const pasid = this.#pasid
    return pasid === undefined ? group.rid : group.pasids.get(pasid)
  }

  /** What events say of who does it, and through what. */
  #where() {
    const hwpt = this.#attachment?.hwpt
    return {
      device: this.#device.name,
      pasid: this.#pasid,
      context: hwpt?.context.number ?? 0,
      call: this.#machine.currentCall,
      ioas: hwpt?.paging.ioas.id,
    }
  }
}

const rangeOf = ({ start, length }: AreaView): MappedRange => ({ iova: start, length })

/** What of an IOAS is at an IOVA, or around it. */
const around = (
  ioas: Ioas | undefined,
  iova: Iova,
): Pick<EngineEvent & { type: 'dma-fault' }, 'within' | 'below' | 'above' | 'touched'> => {
  if (ioas === undefined) return {}
  const touch = ioas.touched?.at(iova)
  const touched = touch === undefined ? {} : { touched: touch }
  const area = ioas.areaAt(iova)
  if (area !== undefined) return { within: rangeOf(area), ...touched }
  const { below, above } = ioas.neighboursOf(iova)
  return {
    ...(below === undefined ? {} : { below: rangeOf(below) }),
    ...(above === undefined ? {} : { above: rangeOf(above) }),
    ...touched,
  }
}
