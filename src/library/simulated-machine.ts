import { type ByteLength, byteLength, type Fd, fd, MAX_U64 } from '../abi/brands.ts'
import type { EngineEvent } from '../engine/events.ts'
import type { OpenFile } from '../engine/file.ts'
import { type ContextNode, Machine } from '../engine/machine.ts'
import type { Call, Capability, Process } from '../engine/ports.ts'
import { Refusal } from '../engine/reason.ts'
import { type EmulatedDeviceOptions, Vfio } from '../vfio/vfio.ts'
import { observers } from '../watch/observers.ts'
import { Iommufd } from './iommufd.ts'
import { IommufdError } from './iommufd-error.ts'
import { ProgramMemory } from './program-memory.ts'
import { SimulatedFile } from './simulated-file.ts'

export interface MachineOptions {
  /** `strict` refuses an IOMMU_VFIO_IOAS SET that would split a container's devices. Default: `linux`. */
  readonly compatIoas?: 'linux' | 'strict'
  /** Bytes that may be locked (RLIMIT_MEMLOCK). Default: unlimited. */
  readonly memlockLimit?: bigint
  /** Capabilities of the program. Default: none, as for an ordinary user. */
  readonly capabilities?: readonly Capability[]
  /** Emulated VFIO devices: `{ name: 'scratch0', group: 7 }` is a scratch device. Default: none. */
  readonly devices?: readonly EmulatedDeviceOptions[]
  /** Adds what has no option here: PCI functions behind a platform's IOMMU, for one. */
  readonly furnish?: (vfio: Vfio) => void
}

export type EventListener = (event: EngineEvent) => void

/** 0 to 2 are the standard streams'. */
const FIRST_FD = 3

/**
 * A simulated machine with one program on it: what all its open files share, which is physical memory,
 * the accounting of locked memory, devices, and the program's own memory.
 */
export class SimulatedMachine {
  /** The program's memory: allocate here what is to be mapped. */
  readonly memory: ProgramMemory
  /** The engine, for what has no method here. */
  readonly engine: Machine
  readonly #process: Process
  readonly #files = new Map<Fd, OpenFile>()
  readonly #listeners = new Set<EventListener>()

  /** Throws Error for devices whose names or groups collide. */
  constructor(options: MachineOptions = {}) {
    this.memory = new ProgramMemory(1)
    this.engine = new Machine({ compatIoas: options.compatIoas ?? 'linux' })
    const vfio = new Vfio(this.engine)
    for (const device of options.devices ?? []) vfio.addEmulated(device)
    options.furnish?.(vfio)
    const limit = byteLength(options.memlockLimit ?? MAX_U64)
    this.#process = libraryProcess(this.memory, limit, new Set(options.capabilities))
  }

  /** As open(2) of the node: a new, empty context. */
  open(node: ContextNode = '/dev/iommu'): Iommufd {
    const context = this.engine.open(node, this.#process)
    return new Iommufd(this, this.#install(context), context)
  }

  /**
   * As open(2) of any device node: a group, `/dev/vfio/7`, or a device, `/dev/vfio/devices/vfio0`.
   * Throws Error where there is no such node, IommufdError where opening it gives an errno.
   */
  openFile(path: string): SimulatedFile {
    const node = this.engine.node(path)
    if (node === undefined)
      throw new Error(
        `there is no ${path}; there are ${this.engine
          .nodes()
          .map((each) => each.path)
          .join(', ')}`,
      )
    const file = node.open(this.#process, 'read-write')
    if (file instanceof Refusal) throw new IommufdError(`open ${path}`, file)
    return new SimulatedFile(this, this.#install(file), file)
  }

  /** The file of a descriptor that a call returned, VFIO_GROUP_GET_DEVICE_FD for one. */
  fileOf(descriptor: number): SimulatedFile {
    const file = this.#files.get(fd(descriptor))
    if (file === undefined) throw new Error(`descriptor ${descriptor} is not open`)
    return new SimulatedFile(this, fd(descriptor), file)
  }

  /** As close(2) of a descriptor. */
  closeFile(descriptor: Fd): void {
    const file = this.#files.get(descriptor)
    this.#files.delete(descriptor)
    file?.release()
  }

  /**
   * Tells the listener of everything that happens from now on: calls, objects, mappings, what findings
   * are made from. Returns how to stop that. Nobody listening costs nothing.
   */
  on(listener: EventListener): () => void {
    this.#listeners.add(listener)
    this.#observe()
    return () => {
      this.#listeners.delete(listener)
      this.#observe()
    }
  }

  /** One system call of the program, for engine functions that want one. */
  call(): Call {
    return {
      process: this.#process,
      tid: this.#process.pid,
      memory: this.memory,
      file: (descriptor) => this.#files.get(descriptor),
      install: (file) => this.#install(file),
      fails: () => false,
    }
  }

  #observe(): void {
    this.engine.observer = observers(...[...this.#listeners].map((event) => ({ event })))
  }

  #install(file: OpenFile): Fd {
    let number = FIRST_FD
    while (this.#files.has(fd(number))) number++
    this.#files.set(fd(number), file)
    return fd(number)
  }
}

const libraryProcess = (
  addressSpace: ProgramMemory,
  limit: ByteLength,
  capabilities: ReadonlySet<Capability>,
): Process => ({
  pid: 1,
  name: 'program',
  uid: 1000,
  addressSpace,
  capable: (capability) => capabilities.has(capability),
  memlockLimit: () => limit,
  lockedBytes: () => byteLength(0n),
})
