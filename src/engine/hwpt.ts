/** Hardware page tables: HWPT_PAGING mirrors an IOAS, HWPT_NESTED is the user's own stage 1 (03 §1). */
import { byteLength, type Iova, type ObjectId, type PhysAddr } from '../abi/brands.ts'
import type { Context } from './context.ts'
import type { FaultQueue } from './fault-queue.ts'
import type { DomainLink, Ioas } from './ioas.ts'
import type { Domain, NestedDomain, PagingDomain } from './iommu-driver.ts'
import { type Caller, type DestroyedBy, KernelObject } from './objects.ts'
import { Refusal, type Result } from './reason.ts'
import type { Viommu } from './viommu.ts'

/** IOMMU_HWPT_ALLOC flags, by what the engine asks about. */
export const HwptFlag = {
  NEST_PARENT: 1,
  DIRTY_TRACKING: 2,
  FAULT_ID_VALID: 4,
  PASID: 8,
} as const

export abstract class Hwpt extends KernelObject {
  abstract readonly domain: Domain
  abstract readonly isNested: boolean
  /** The paging HWPT whose IOAS is concerned: itself, or the parent of a nested one. */
  abstract readonly paging: HwptPaging
  /** Allocated with IOMMU_HWPT_ALLOC_PASID (03 §6.2). */
  readonly pasidCompatible: boolean
  #fault: FaultQueue | undefined

  constructor(context: Context, id: ObjectId, pasidCompatible: boolean) {
    super(context, id)
    this.pasidCompatible = pasidCompatible
  }

  /** Where its page faults go. */
  get fault(): FaultQueue | undefined {
    return this.#fault
  }

  /** Holds the fault object for its whole life (04 §4.3). Before anything is attached. */
  giveFaultQueue(fault: FaultQueue): void {
    this.#fault = fault
    fault.users++
    this.domain.faultCapable = true
  }

  /** Gives back an HWPT that was never published: its creation failed further on. */
  discard(): void {
    this.context.objects.abort(this.id)
    this.teardown('undo')
  }

  protected dropFaultQueue(): void {
    if (this.#fault !== undefined) this.#fault.users--
    this.#fault = undefined
  }

  override holds(): readonly KernelObject[] {
    return this.#fault === undefined ? [] : [this.#fault]
  }
}

export class HwptPaging extends Hwpt implements DomainLink {
  readonly type = 'hwpt-paging'
  readonly isNested = false
  readonly ioas: Ioas
  readonly domain: PagingDomain
  /** Made by attaching to the IOAS; destroyed with its last attachment (03 §5.2). */
  readonly auto: boolean
  readonly nestParent: boolean
  /** Doorbell pages mapped in it, with their IOVAs (03 §5.6). */
  readonly doorbells = new Map<PhysAddr, Iova>()
  #joined = false

  /** Holds the IOAS from the start; `join` makes it mirror the IOAS. */
  constructor(
    ioas: Ioas,
    id: ObjectId,
    domain: PagingDomain,
    how: { readonly auto: boolean; readonly flags: number },
  ) {
    super(ioas.context, id, (how.flags & HwptFlag.PASID) !== 0)
    this.ioas = ioas
    this.domain = domain
    this.auto = how.auto
    this.nestParent = (how.flags & HwptFlag.NEST_PARENT) !== 0
    ioas.users++
  }

  get paging(): HwptPaging {
    return this
  }

  /** Aperture, alignment and every mapping of the IOAS (03 §5.5). On refusal nothing has changed. */
  join(caller: Caller): Result<void> {
    const joined = this.ioas.addDomain(caller, this)
    if (joined instanceof Refusal) return joined
    this.#joined = true
  }

  override holds(): readonly KernelObject[] {
    return [this.ioas, ...super.holds()]
  }

  /** The last attachment may be gone: an automatic HWPT that nobody uses any more goes too. */
  dropIfUnusedAuto(): void {
    // One that is not published yet is being made: whoever makes it discards it.
    if (this.auto && this.users === 1 && this.context.objects.peek(this.id) === this)
      this.context.objects.remove(this, 'last-detach')
  }

  teardown(_by: DestroyedBy): void {
    if (this.#joined) this.ioas.removeDomain(this)
    for (const iova of this.doorbells.values()) this.domain.unmap(iova, DOORBELL_PAGE)
    this.domain.free()
    this.ioas.users--
    this.dropFaultQueue()
  }
}

const DOORBELL_PAGE = byteLength(0x1000n)

/** On a nest parent directly, or on a vIOMMU, which then is what it holds (03 §1.2). */
export class HwptNested extends Hwpt {
  readonly type = 'hwpt-nested'
  readonly isNested = true
  readonly domain: NestedDomain
  readonly parent: HwptPaging | Viommu

  constructor(parent: HwptPaging | Viommu, id: ObjectId, domain: NestedDomain, flags: number) {
    super(parent.context, id, (flags & HwptFlag.PASID) !== 0)
    this.parent = parent
    this.domain = domain
    parent.users++
  }

  get paging(): HwptPaging {
    return this.parent instanceof HwptPaging ? this.parent : this.parent.parent
  }

  override holds(): readonly KernelObject[] {
    return [this.parent, ...super.holds()]
  }

  teardown(_by: DestroyedBy): void {
    this.domain.free()
    this.parent.users--
    this.dropFaultQueue()
  }
}
