/** One simulated machine: what all contexts of a run share. */
import type { UserVa } from '../abi/brands.ts'
import { LockedMemory } from './accounting.ts'
import type { Command } from './command.ts'
import { type ContainerIoctl, commands, containerIoctl } from './commands.ts'
import { Context } from './context.ts'
import { DmaChanges } from './dma-changes.ts'
import type { CallNumber, EngineEvent } from './events.ts'
import type { OpenFile, OpenMode } from './file.ts'
import { FrameTable } from './frames.ts'
import { IommuGroups } from './iommu-group.ts'
import type { DeviceNode } from './node.ts'
import type { Observer } from './observer.ts'
import { PhysicalMemory } from './physical-memory.ts'
import type { Call, Process } from './ports.ts'
import type { Result } from './reason.ts'

/** The nodes that open an iommufd context (01 §2). */
export type ContextNode = '/dev/iommu' | '/dev/vfio/vfio'

export interface MachineOptions {
  /** A kernel with the test interface (01 §4.3): 0x95 to 0xa0 count as iommufd commands, COPY takes flag bit 16. */
  readonly testInterface?: boolean
  /** `strict` refuses an IOMMU_VFIO_IOAS SET that would split a container's devices; Linux permits it. */
  readonly compatIoas?: 'linux' | 'strict'
  /** A kernel with CONFIG_VFIO_NOIOMMU, as distributions ship it: the default. */
  readonly noIommu?: boolean
  /** Devices whose interrupts the platform does not isolate can be bound all the same (03 §4.1 check 3). */
  readonly allowUnsafeInterrupts?: boolean
  readonly observer?: Observer
  /** Commands beside the engine's own: the test interface registers IOMMU_TEST_CMD so. */
  readonly commands?: readonly Command[]
  readonly containerIoctl?: ContainerIoctl
}

type CallEvent = Extract<EngineEvent, { readonly type: 'call' }>

/** An ioctl and what it is made on; `context` where that is an iommufd. */
interface ServedIoctl {
  readonly call: Call
  readonly file: OpenFile
  /** Looked at when the call has been served. */
  readonly context: Context | undefined
}

export class Machine {
  readonly testInterface: boolean
  readonly compatIoas: 'linux' | 'strict'
  readonly noIommu: boolean
  readonly allowUnsafeInterrupts: boolean
  /** For devices that do DMA in threads of their own. */
  readonly dma = new DmaChanges()
  /** What the engine knows of each IOMMU group: owner, translation, attachments. */
  readonly groups = new IommuGroups(this.dma)
  #observer: Observer | undefined
  /** The same, if it wants to know of memory and of what calls read and write. */
  memoryObserver: Observer | undefined
  /** Commands by the low 8 bits of their request number. */
  readonly commands: ReadonlyMap<number, Command>
  /** Locked-memory counters: per user, and per address space (VmPin, VmLck). */
  readonly lockedMemory = new LockedMemory()
  /** Page identity to simulated physical frame, and the long-term pins on it. */
  readonly frames = new FrameTable(this.dma)
  /** The simulated physical memory that DMA reads and writes. */
  readonly memory = new PhysicalMemory(this.frames)
  #calls: CallNumber = 0
  #contexts = 0
  readonly #nodeSources: (() => readonly DeviceNode[])[] = []
  #current: CallNumber = 0
  /** A system call is being served that has no number yet. */
  #unnumbered = false
  /** The known structure of the current call as read and as written back, while somebody observes. */
  callInput: Uint8Array | undefined
  callOutput: Uint8Array | undefined
  /** What answers request numbers outside iommufd's own (01 §4.1 step 1). */
  readonly containerIoctl: ContainerIoctl

  constructor(options: MachineOptions = {}) {
    this.testInterface = options.testInterface ?? false
    this.compatIoas = options.compatIoas ?? 'linux'
    this.noIommu = options.noIommu ?? true
    this.allowUnsafeInterrupts = options.allowUnsafeInterrupts ?? false
    this.observer = options.observer
    const table = new Map<number, Command>()
    for (const command of [...commands, ...(options.commands ?? [])])
      table.set(command.ioctl.request & 0xff, command)
    this.commands = table
    this.containerIoctl = options.containerIoctl ?? containerIoctl
  }

  get observer(): Observer | undefined {
    return this.#observer
  }

  set observer(observer: Observer | undefined) {
    this.#observer = observer
    this.memoryObserver = observer?.interest === 'objects' ? undefined : observer
  }

  /**
   * All device nodes: the two that open an iommufd, and what others have added. Of two with the same
   * path the one added later counts: so a native container takes /dev/vfio/vfio.
   */
  nodes(): readonly DeviceNode[] {
    const nodes = new Map<string, DeviceNode>()
    for (const node of [...this.#ownNodes(), ...this.#nodeSources.flatMap((source) => source())])
      nodes.set(node.path, node)
    return [...nodes.values()]
  }

  /** The node with this path. */
  node(path: string): DeviceNode | undefined {
    return this.nodes().find((node) => node.path === path)
  }

  /** `source` is asked whenever nodes are looked up, so they may come and go. */
  addNodes(source: () => readonly DeviceNode[]): void {
    this.#nodeSources.push(source)
  }

  #ownNodes(): readonly DeviceNode[] {
    const open =
      (path: ContextNode): DeviceNode['open'] =>
      (process, mode) =>
        this.open(path, process, mode)
    return [
      { path: '/dev/iommu', major: 'misc', permissions: 0o660, open: open('/dev/iommu') },
      {
        path: '/dev/vfio/vfio',
        major: 'misc',
        minor: 196,
        permissions: 0o666,
        open: open('/dev/vfio/vfio'),
      },
    ]
  }

  /** A new, empty context (01 §2). `mode` is how the node was opened. */
  open(node: ContextNode, process: Process, mode: OpenMode = 'read-write'): Context {
    this.#contexts += 1
    return new Context(this, { number: this.#contexts, node, process, mode })
  }

  /** A system call that may concern us is about to be served; it gets a number when something happens in it. */
  callArrives(): void {
    this.#current = 0
    this.#unnumbered = true
  }

  /** It has been served: what happens now is caused by no call. */
  callEnds(): void {
    this.#current = 0
    this.#unnumbered = false
  }

  /** The call being served; 0 outside calls. */
  get currentCall(): CallNumber {
    return this.#unnumbered ? this.#nextCall() : this.#current
  }

  #nextCall(): CallNumber {
    this.#unnumbered = false
    this.#calls += 1
    this.#current = this.#calls
    return this.#current
  }

  /**
   * Serves one ioctl on a file of ours: numbers the call and reports it. `run` may leave the structure
   * it read and wrote in `callInput` and `callOutput`.
   */
  serveIoctl(
    served: ServedIoctl,
    request: number,
    argument: UserVa,
    run: () => Result<number>,
  ): Result<number> {
    const outer = this.#current
    const number = this.#nextCall()
    this.callInput = undefined
    this.callOutput = undefined
    const result = run()
    if (this.observer !== undefined)
      this.#reportIoctl(this.observer, served, request, argument, result, number)
    this.#current = outer
    return result
  }

  #reportIoctl(
    observer: Observer,
    { call, file, context }: ServedIoctl,
    request: number,
    argument: UserVa,
    result: Result<number>,
    number: CallNumber,
  ): void {
    const event: { -readonly [Name in keyof CallEvent]: CallEvent[Name] } = {
      type: 'call',
      call: number,
      context: context?.number,
      pid: call.process.pid,
      tid: call.tid,
      operation: 'ioctl',
      file: file.linkText,
      request,
      argument,
      result,
    }
    if (this.callInput !== undefined) event.input = this.callInput
    if (this.callOutput !== undefined) event.output = this.callOutput
    const place = call.place?.()
    if (place !== undefined) event.place = place
    observer.event(event)
  }
}
