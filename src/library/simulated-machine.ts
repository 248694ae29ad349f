import { type ByteLength, byteLength, type Fd, MAX_U64 } from '../abi/brands.ts'
import type { EngineEvent } from '../engine/events.ts'
import { type ContextNode, Machine } from '../engine/machine.ts'
import type { Call, Capability, Process } from '../engine/ports.ts'
import { observers } from '../watch/observers.ts'
import { Iommufd } from './iommufd.ts'
import { ProgramMemory } from './program-memory.ts'

export interface MachineOptions {
  /** `strict` refuses an IOMMU_VFIO_IOAS SET that would split a container's devices. Default: `linux`. */
  readonly compatIoas?: 'linux' | 'strict'
  /** Bytes that may be locked (RLIMIT_MEMLOCK). Default: unlimited. */
  readonly memlockLimit?: bigint
  /** Capabilities of the program. Default: none, as for an ordinary user. */
  readonly capabilities?: readonly Capability[]
}

export type EventListener = (event: EngineEvent) => void

/**
 * A simulated machine with one program on it: what all its contexts share, which is physical memory,
 * the accounting of locked memory, and the program's own memory.
 */
export class SimulatedMachine {
  /** The program's memory: allocate here what is to be mapped. */
  readonly memory: ProgramMemory
  /** The engine, for what has no method here. */
  readonly engine: Machine
  readonly #process: Process
  readonly #listeners = new Set<EventListener>()

  constructor(options: MachineOptions = {}) {
    this.memory = new ProgramMemory(1)
    this.engine = new Machine({ compatIoas: options.compatIoas ?? 'linux' })
    const limit = byteLength(options.memlockLimit ?? MAX_U64)
    this.#process = libraryProcess(this.memory, limit, new Set(options.capabilities))
  }

  /** As open(2) of the node: a new, empty context. */
  open(node: ContextNode = '/dev/iommu'): Iommufd {
    return new Iommufd(this, this.engine.open(node, this.#process))
  }

  /**
   * Tells the listener of everything that happens from now on: calls, objects, mappings, findings'
   * raw material. Returns how to stop that. Listening costs a little; nobody listening costs nothing.
   */
  on(listener: EventListener): () => void {
    this.#listeners.add(listener)
    this.#observe()
    return () => {
      this.#listeners.delete(listener)
      this.#observe()
    }
  }

  #observe(): void {
    this.engine.observer = observers(...[...this.#listeners].map((event) => ({ event })))
  }

  /** One system call of the program. */
  call(): Call {
    return {
      process: this.#process,
      tid: this.#process.pid,
      memory: this.memory,
      file: () => undefined,
      install: () => 3 as Fd,
      fails: () => false,
    }
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
