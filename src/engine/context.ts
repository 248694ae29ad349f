/** An open iommufd: one context, shared by all duplicates of its descriptor (01 §2, §3, §5.6). */
import type { FileOffset, UserVa } from '../abi/brands.ts'
import { dispatch } from './command.ts'
import { ContainerDevices } from './container-devices.ts'
import type { CallNumber, EngineEvent } from './events.ts'
import type { MmapRegion, MmapRequest, OpenFile, OpenMode } from './file.ts'
import type { Ioas } from './ioas.ts'
import type { ContextNode, Machine } from './machine.ts'
import { MmapRegions } from './mmap-regions.ts'
import { ObjectTable } from './objects.ts'
import { SourceOwners } from './page-source.ts'
import type { Call, Process } from './ports.ts'
import type { Result } from './reason.ts'
import { SoftwareMsi } from './software-msi.ts'

/** How locked memory of unprivileged mappings is charged (01 §8.1): 0 and 1 of RLIMIT_MODE. */
export type AccountingMode = 'user' | 'process'

/** An event of a context before the context adds its number and that of the call. */
export type ContextEvent = EngineEvent extends infer Event
  ? Event extends { readonly context: number; readonly call: number }
    ? Omit<Event, 'context' | 'call'>
    : never
  : never

export class Context implements OpenFile {
  readonly kind = 'iommufd'
  readonly linkText: ContextNode
  readonly mode: OpenMode
  readonly isDevice = true
  readonly machine: Machine
  readonly number: number
  readonly objects = new ObjectTable()
  readonly regions: MmapRegions
  /** Interrupt doorbell pages and their IOVAs (03 §5.6). */
  readonly softwareMsi = new SoftwareMsi()
  readonly owners = new SourceOwners(this)
  accounting: AccountingMode
  /** The IOAS that the VFIO container ioctls act on (02 §2.1); does not count as a user. */
  compatIoas: Ioas | undefined
  readonly containerDevices = new ContainerDevices()
  /** No-IOMMU mode of the VFIO layer (02 §2.1). */
  noIommu = false
  /** Mapped BARs can be mapped for DMA, as into native type1 containers and never into an iommufd (06 §4.4). */
  takesDeviceMemory = false
  /** Called when the context is released, in order of registration, before the objects go. */
  readonly onRelease: (() => void)[] = []
  #references = 1
  #released = false

  constructor(
    machine: Machine,
    opened: { number: number; node: ContextNode; process: Process; mode: OpenMode },
  ) {
    this.machine = machine
    this.number = opened.number
    this.linkText = opened.node
    this.mode = opened.mode
    this.regions = new MmapRegions(this)
    this.accounting = opened.node === '/dev/vfio/vfio' ? 'process' : 'user'
    if (machine.observer !== undefined)
      this.emit({ type: 'context-opened', node: opened.node, pid: opened.process.pid })
  }

  ioctl(call: Call, request: number, argument: UserVa): Result<number> {
    return this.machine.serveIoctl({ call, file: this, context: this }, request, argument, () =>
      dispatch(this, call, request, argument),
    )
  }

  mmap(call: Call, request: MmapRequest): Result<MmapRegion> {
    return this.regions.mmap(call, request)
  }

  mappingsOf(offset: FileOffset, vmas: number): void {
    this.regions.mappingsOf(offset, vmas)
  }

  /** The last descriptor is gone; the context lives on while anything else holds it (01 §5.6). */
  release(): void {
    this.drop()
  }

  /** One more thing keeps the context alive: a bound device, an access, an event file, a group, a VMA. */
  hold(): void {
    this.#references += 1
  }

  /** Gives back one reference; the last one releases everything. */
  drop(): void {
    this.#references -= 1
    if (this.#references > 0 || this.#released) return
    this.#released = true
    for (const listener of this.onRelease) listener()
    const leaked = this.objects.sweep()
    if (leaked.length > 0) throw new Error(`objects leaked at release: ${leaked.join(', ')}`)
    if (this.machine.observer !== undefined) this.emit({ type: 'context-released' })
  }

  /** The IOAS is destroyed: if it was the compat IOAS, there is none any more (02 §2.2). */
  forgetCompatIoas(ioas: Ioas): void {
    if (this.compatIoas !== ioas) return
    this.compatIoas = undefined
    if (this.machine.observer !== undefined)
      this.emit({ type: 'compat-ioas', ioas: undefined, previous: ioas.id, by: 'destroy' })
  }

  get released(): boolean {
    return this.#released
  }

  /** Tells the observer, if there is one. Callers ask for an observer first, so that nothing is built for nobody. */
  emit(event: ContextEvent): void {
    const { observer, currentCall } = this.machine
    if (observer === undefined) return
    // Made for this call by its emitter: adding to it costs a tenth of copying it.
    const made: ContextEvent & { context?: number; call?: CallNumber } = event
    made.context = this.number
    made.call = currentCall
    observer.event(made as EngineEvent)
  }

  /** `/dev/iommu context 3`, for people. */
  toString(): string {
    return `context ${this.number}`
  }
}
