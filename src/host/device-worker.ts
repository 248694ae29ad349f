/**
 * The supervisor's side of a device whose work is done in a thread of its own: the function as vfio-pci
 * sees it. What changes under the worker's hands, it changes while the worker is held up; what a call took
 * away, the worker has let go of when the call is answered (device-worker-words.ts).
 */
import { type Iova, iova, type PhysAddr } from '../abi/brands.ts'
import type { DmaFollower } from '../engine/dma-changes.ts'
import type { Domain, IommuDevice } from '../engine/iommu-driver.ts'
import type { Bar, MsixTable, PciIdentity, PciModel, PciServices } from '../vfio/pci/pci-model.ts'
import {
  DEVICE_WORDS,
  DeviceWord,
  type DeviceWorkerShares,
  FRAME_SLOTS,
  FrameAnswer,
  frameSlot,
  INTERRUPT_KINDS,
  MAX_REPORTS,
  MAX_VECTORS,
  REPORT_NUMBERS,
  REQUEST_NUMBERS,
  RequestKind,
  TRANSFER_BYTES,
} from './device-worker-words.ts'
import { placeOfFrame } from './frame-place.ts'
import { EFD_CLOEXEC, EFD_NONBLOCK } from './kernel.ts'
import type { Sys } from './sys.ts'
import { WorkerBar } from './worker-bar.ts'
import { WorkerHold } from './worker-hold.ts'

/** A function whose work is done in a thread of its own. */
export interface WorkedFunction {
  readonly name: string
  readonly identity: PciIdentity
  readonly msix?: MsixTable
  readonly barLength: number
  /** Puts the registers to their values after a reset. */
  resetRegisters(registers: {
    store(offset: number, value: number): void
    load(offset: number): number
  }): void
  /** Starts the worker; returns how to send it a message. */
  start(shares: DeviceWorkerShares): (message: unknown) => void
  /** What is to be sent to the worker for a device on this translation; undefined where there is no single table. */
  table(domain: Domain, device: IommuDevice): unknown
}

export class DeviceWorker implements PciModel, DmaFollower {
  readonly name: string
  readonly identity: PciIdentity
  readonly msix?: MsixTable
  readonly resettable = true
  readonly bars: readonly Bar[]
  /** Readable when the worker asks something. */
  readonly attention: number
  readonly #function: WorkedFunction
  readonly #sys: Sys
  readonly #words = new Int32Array(new SharedArrayBuffer(4 * DEVICE_WORDS))
  readonly #frameSlots = new Int32Array(new SharedArrayBuffer(4 * FRAME_SLOTS))
  readonly #hold: WorkerHold
  readonly #bar: WorkerBar
  readonly #numbers: Float64Array
  readonly #reports = new Float64Array(new SharedArrayBuffer(8 * REPORT_NUMBERS * MAX_REPORTS))
  readonly #data: Uint8Array
  readonly #shares: DeviceWorkerShares
  #post: (message: unknown) => void
  #broken = false
  #services: PciServices | undefined
  #unfollow: (() => void) | undefined

  constructor(sys: Sys, worked: WorkedFunction) {
    this.#sys = sys
    this.#function = worked
    this.name = worked.name
    this.identity = worked.identity
    if (worked.msix !== undefined) this.msix = worked.msix
    this.#hold = new WorkerHold(this.#words)
    this.#bar = new WorkerBar(worked.barLength, this.#words, this.#hold)
    this.bars = [{ index: 0, kind: 'memory64', length: worked.barLength, memory: this.#bar }]
    const request = new SharedArrayBuffer(REQUEST_NUMBERS * 8 + TRANSFER_BYTES)
    this.#numbers = new Float64Array(request, 0, REQUEST_NUMBERS)
    this.#data = new Uint8Array(request, REQUEST_NUMBERS * 8)
    this.#words.fill(-1, DeviceWord.VECTORS)
    this.attention = sys.call('eventfd2', 0, EFD_CLOEXEC | EFD_NONBLOCK)
    this.#resetRegisters()
    this.#shares = {
      words: this.#words,
      frameSlots: this.#frameSlots,
      request,
      reports: this.#reports.buffer,
      attention: this.attention,
      bar: this.#bar.home,
    }
    this.#post = worked.start(this.#shares)
  }

  // --- what vfio-pci tells ----------------------------------------------------------------------------

  opened(services: PciServices): void {
    this.#services = services
    this.#unfollow = services.direct.follow(this)
    Atomics.add(this.#words, DeviceWord.TRANSLATION, 1)
    // While it was closed nobody told of frames that were given up.
    Atomics.add(this.#words, DeviceWord.MOVED, 1)
    Atomics.store(this.#words, DeviceWord.OBSERVED, services.direct.observed ? 1 : 0)
    this.commandChanged()
    this.interruptsChanged()
  }

  closed(): void {
    this.#unfollow?.()
    this.#unfollow = undefined
    Atomics.store(this.#words, DeviceWord.BUS_MASTER, 0)
    this.#hold.settle()
    this.#services = undefined
  }

  reset(): void {
    if (this.#broken) this.#post = this.#function.start(this.#shares)
    this.#broken = false
    this.#hold.during(() => {
      Atomics.add(this.#words, DeviceWord.RESETS, 1)
      this.#resetRegisters()
    })
    this.#services?.line(false)
    this.#wake()
  }

  #resetRegisters(): void {
    const word = new Uint8Array(4)
    const view = new DataView(word.buffer)
    this.#function.resetRegisters({
      load: (offset) => {
        this.#bar.read(offset, word)
        return view.getUint32(0, true)
      },
      store: (offset, value) => {
        view.setUint32(0, value, true)
        this.#bar.write(offset, word)
      },
    })
  }

  commandChanged(): void {
    Atomics.store(this.#words, DeviceWord.BUS_MASTER, this.#services?.busMaster ? 1 : 0)
    this.#hold.settle()
    this.#wake()
  }

  interruptsChanging(): void {
    this.#words.fill(-1, DeviceWord.VECTORS)
    this.#hold.settle()
  }

  interruptsChanged(): void {
    const services = this.#services
    const kind = services?.interruptKind ?? 'none'
    Atomics.store(this.#words, DeviceWord.INTERRUPTS, INTERRUPT_KINDS.indexOf(kind))
    const vectors = Math.min(this.msix?.vectors ?? 0, MAX_VECTORS)
    for (let vector = 0; vector < vectors; vector++) {
      const descriptor = services?.direct.descriptorOf(vector) ?? -1
      Atomics.store(this.#words, DeviceWord.VECTORS + vector, descriptor)
    }
    this.#wake()
  }

  trapped(): void {
    this.#wake()
  }

  #wake(): void {
    Atomics.add(this.#words, DeviceWord.WAKE, 1)
    Atomics.notify(this.#words, DeviceWord.WAKE)
  }

  // --- what the engine and the host tell --------------------------------------------------------------

  unmapped(): void {
    this.#hold.settle()
  }

  translationChanged(): void {
    Atomics.add(this.#words, DeviceWord.TRANSLATION, 1)
    this.#hold.settle()
  }

  framesFreed(firstFrame: number): void {
    Atomics.add(this.#frameSlots, frameSlot(firstFrame), 1)
  }

  /** Memory of clients is about to move, or to become unreachable. */
  memoryMoving(): void {
    Atomics.add(this.#words, DeviceWord.MOVED, 1)
    this.#hold.settle()
  }

  // --- what the worker asks ---------------------------------------------------------------------------

  /** `attention` is readable: answers what was asked. */
  serve(): void {
    this.#sys.call('read', this.attention, this.#sys.scratch.address, 8)
    this.#passReports()
    if (Atomics.load(this.#words, DeviceWord.ASKED) !== 1) return
    this.#answer()
    Atomics.store(this.#words, DeviceWord.ASKED, 0)
    Atomics.notify(this.#words, DeviceWord.ASKED)
  }

  #passReports(): void {
    const words = this.#words
    const written = Atomics.load(words, DeviceWord.REPORTS_WRITTEN)
    for (let read = Atomics.load(words, DeviceWord.REPORTS_READ); read !== written; read++) {
      const at = (read % MAX_REPORTS) * REPORT_NUMBERS
      const [page = 0, offset = 0, length = 0, write] = this.#reports.subarray(at, at + 4)
      this.#services?.direct.moved(addressOf(page, offset), length, write === 1)
    }
    Atomics.store(words, DeviceWord.REPORTS_READ, written)
  }

  #answer(): void {
    const [kind, first = 0, second = 0, third = 0, fourth = 0] = this.#numbers
    const services = this.#services
    switch (kind) {
      case RequestKind.TABLE:
        this.#numbers[0] = this.#sendTable() ? 1 : 0
        return
      case RequestKind.FRAME:
        this.#numbers.fill(0)
        if (services !== undefined) this.#placeFrame(services, first)
        return
      case RequestKind.TRANSFER:
        this.#numbers[0] = this.#transfer(first, second, third, fourth === 1) ? 1 : 0
        return
      case RequestKind.MESSAGE:
        services?.message(first)
        return
      case RequestKind.LINE:
        services?.line(first === 1)
        return
      case RequestKind.FAILED:
        this.#failed(new TextDecoder().decode(this.#data.slice(0, first)))
    }
  }

  /** As hardware that has fallen off its bus, until a reset. */
  #failed(message: string): void {
    this.#broken = true
    this.#bar.write(0, new Uint8Array(this.#bar.length).fill(0xff))
    this.#services?.direct.failed(`the thread of ${this.name}`, message)
  }

  #sendTable(): boolean {
    const direct = this.#services?.direct
    const table = direct && this.#function.table(direct.translation, direct.device)
    if (table !== undefined) this.#post(table)
    return table !== undefined
  }

  #placeFrame({ direct }: PciServices, frame: number): void {
    const extent = direct.extentAt((BigInt(frame) << 12n) as PhysAddr)
    const place = extent && placeOfFrame(extent, frame)
    if (place === undefined) return
    this.#numbers[FrameAnswer.EXTENT] = place.extent
    this.#numbers[FrameAnswer.CONTIGUITY] = place.contiguity
    this.#numbers[FrameAnswer.FIRST_PAGE] = place.firstPage
    this.#numbers[FrameAnswer.PAGES] = place.pages
    this.#numbers[FrameAnswer.DESCRIPTOR] = place.descriptor
    this.#numbers[FrameAnswer.ADDRESS] = place.address
    this.#numbers[FrameAnswer.PROCESS] = place.process
    this.#numbers[FrameAnswer.GIVEN] = Atomics.load(this.#frameSlots, frameSlot(place.extent))
  }

  #transfer(page: number, offset: number, length: number, write: boolean): boolean {
    const dma = this.#services?.dma
    // A ring at the end of all addresses goes on where there are none.
    if (dma === undefined || page >= PAGES) return false
    const at = addressOf(page, offset)
    const bytes = this.#data.subarray(0, length)
    return write ? dma.write(at, bytes) : dma.read(at, bytes)
  }
}

/** Of 64 bits of address. */
const PAGES = 2 ** 52

const addressOf = (page: number, offset: number): Iova =>
  iova(BigInt(page) * 4096n + BigInt(offset))
