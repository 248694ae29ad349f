/**
 * The type1 backend of a native container (02 §6.1, §6.2): mappings, hardware domains with their
 * groups, emulated groups. Pages, charges and page tables are those of an IOAS, in a context that no
 * descriptor reaches; what type1 checks and answers differently is in the files beside this one.
 */
import { iova, MAX_U64 } from '../abi/brands.ts'
import type { Context } from '../engine/context.ts'
import { Ioas, type IovaRange } from '../engine/ioas.ts'
import type { PagingDomain } from '../engine/iommu-driver.ts'
import type { Machine } from '../engine/machine.ts'
import type { Call, Process } from '../engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../engine/reason.ts'
import type { VfioGroup } from './group.ts'
import type { PhysicalGroup } from './physical.ts'
import { DirtyLog } from './type1-dirty-log.ts'

export const VaddrInvalidated = reasonKind<{ mappings: number }>({
  code: 'vaddr-invalidated',
  errno: 'EBUSY',
  cite: '02 §6.2, §6.8',
  say: ({ mappings }) => `${mappings} mappings have an invalidated vaddr`,
  advice: 'Give them a new vaddr first (VFIO_DMA_MAP_FLAG_VADDR).',
})

export const ApertureDoesNotFit = reasonKind<{ group: string; start: bigint; end: bigint }>({
  code: 'aperture-does-not-fit',
  errno: 'EINVAL',
  cite: '02 §6.2',
  say: ({ group, start, end }) =>
    `the IOMMU of ${group} reaches 0x${start.toString(16)}-0x${end.toString(16)} only, which leaves out mappings or everything that is valid so far`,
  advice:
    'Map within what the IOMMU of every group reaches: VFIO_IOMMU_GET_INFO lists it after the groups have joined.',
})

export const RegionMeetsMapping = reasonKind<{ group: string; start: bigint; last: bigint }>({
  code: 'region-meets-mapping',
  errno: 'EINVAL',
  cite: '02 §6.2',
  say: ({ group, start, last }) =>
    `${group} reserves 0x${start.toString(16)}-0x${last.toString(16)}, where something is mapped`,
  advice:
    'Put all groups into the container before mapping, and map within the ranges of VFIO_IOMMU_GET_INFO.',
})

export const NoValidIovaLeft = reasonKind<{ group: string }>({
  code: 'no-valid-iova-left',
  errno: 'EINVAL',
  cite: '02 §6.2',
  say: ({ group }) => `with ${group} no valid IOVA would remain`,
  advice: 'Use a container of its own for the group.',
})

export const GroupMsiNotIsolated = reasonKind<{ group: string }>({
  code: 'group-msi-not-isolated',
  errno: 'EPERM',
  cite: '02 §6.2',
  say: ({ group }) => `the platform does not isolate the interrupts of ${group}`,
  advice: 'Use a platform with interrupt remapping, or allow unsafe interrupts.',
})

interface DomainUse {
  readonly domain: PagingDomain
  readonly groups: Set<VfioGroup>
}

const PAGE = 0x1000n
const BELOW_PAGE = 0xfffn
const NO_DOMAIN_PAGE_SIZES = 0xffff_ffff_ffff_f000n
/** The module parameter dma_entry_limit. */
export const ENTRY_LIMIT = 65535

export class Type1Backend {
  readonly machine: Machine
  readonly context: Context
  readonly ioas: Ioas
  /** SET_IOMMU(TYPE1): unmapping a part is possible, in type1's own way. */
  readonly splits: boolean
  readonly dirty: DirtyLog
  /** First IOVAs of the mappings whose vaddr is invalidated. */
  readonly invalidated = new Set<bigint>()
  readonly #domains: DomainUse[] = []
  readonly #emulated = new Set<VfioGroup>()
  /** No physical group was ever there: the list of valid IOVAs is empty, everything is permitted. */
  #unrestricted = true

  constructor(machine: Machine, process: Process, options: { readonly splits: boolean }) {
    this.machine = machine
    this.splits = options.splits
    this.context = machine.open('/dev/vfio/vfio', process)
    this.context.takesDeviceMemory = true
    const id = this.context.objects.reserve()
    if (id instanceof Refusal) throw new Error('a new context has no free ID')
    this.ioas = new Ioas(this.context, id)
    this.context.objects.publish(this.ioas)
    this.dirty = new DirtyLog(this)
  }

  get hasEmulatedGroups(): boolean {
    return this.#emulated.size > 0
  }

  get hasPhysicalGroups(): boolean {
    return this.#domains.length > 0
  }

  get enforcesCoherency(): boolean {
    return this.#domains.every(({ domain }) => domain.coherencyEnforced)
  }

  /** Bit n: pages of 2^n bytes can be mapped. */
  get pageSizes(): bigint {
    let sizes = NO_DOMAIN_PAGE_SIZES
    if (this.#domains.length > 0) sizes = MAX_U64
    for (const { domain } of this.#domains) sizes &= domain.pageSizes
    return (sizes & BELOW_PAGE) !== 0n ? (sizes & ~BELOW_PAGE) | PAGE : sizes
  }

  get smallestPage(): bigint {
    return this.pageSizes & -this.pageSizes
  }

  /** Mappings still possible. */
  get available(): number {
    return ENTRY_LIMIT - this.ioas.areas.size
  }

  /** The valid IOVA ranges; undefined while there is no restriction. */
  get validRanges(): readonly IovaRange[] | undefined {
    return this.#unrestricted ? undefined : this.ioas.usableRanges()
  }

  /** 02 §6.2. All or nothing. */
  attach(group: VfioGroup, call: Call): Result<void> {
    if (this.invalidated.size > 0)
      return refuse(VaddrInvalidated, { mappings: this.invalidated.size })
    const { dma } = group
    if (dma === undefined) {
      this.#emulated.add(group)
      return
    }
    const domain = dma.allocDomain()
    if (domain instanceof Refusal) return domain
    const attached = dma.state.attach(domain)
    if (attached instanceof Refusal) {
      domain.free()
      return attached
    }
    const refused = this.#check(group, dma, domain) ?? this.#join(group, dma, domain, call)
    if (refused instanceof Refusal) {
      this.ioas.unreserve(group)
      dma.state.block()
      domain.free()
      return refused
    }
    this.#unrestricted = false
  }

  #check(group: VfioGroup, dma: PhysicalGroup, domain: PagingDomain): Refusal | undefined {
    const { apertureStart: start, apertureEnd: end } = domain
    const aperture: IovaRange = { start, last: end }
    const usable = this.ioas.usableRanges()
    const mapsOutside = [
      ...(start > 0n ? [{ start: iova(0n), last: iova(start - 1n) }] : []),
      ...(end < MAX_U64 ? [{ start: iova(end + 1n), last: iova(MAX_U64) }] : []),
    ].some((range) => this.#isMapped(range))
    if (mapsOutside || !usable.some((range) => range.start <= end && range.last >= start))
      return refuse(ApertureDoesNotFit, { group: group.path, start, end })
    for (const range of dma.reservedRanges()) {
      if (this.#isMapped(range)) return refuse(RegionMeetsMapping, { group: group.path, ...range })
      this.ioas.reserve(group, range)
    }
    const left = this.ioas.usableRanges()
    if (!left.some((range) => range.start <= aperture.last && range.last >= aperture.start))
      return refuse(NoValidIovaLeft, { group: group.path })
    if (!this.machine.allowUnsafeInterrupts && !dma.isMsiIsolated)
      return refuse(GroupMsiNotIsolated, { group: group.path })
    return undefined
  }

  #isMapped(range: IovaRange): boolean {
    let mapped = false
    this.ioas.forEachArea(() => {
      mapped = true
      return false
    }, range)
    return mapped
  }

  /** Shares a domain that fits and accepts the group, or enters everything into the new one. */
  #join(group: VfioGroup, dma: PhysicalGroup, domain: PagingDomain, call: Call): Result<void> {
    const fitting = this.#domains.find(
      (use) =>
        use.domain.driver === domain.driver &&
        use.domain.coherencyEnforced === domain.coherencyEnforced &&
        !(dma.state.replace(use.domain) instanceof Refusal),
    )
    if (fitting !== undefined) {
      fitting.groups.add(group)
      domain.free()
      return
    }
    const use: DomainUse = { domain, groups: new Set([group]) }
    const added = this.ioas.addDomain(call, use)
    if (added instanceof Refusal) return added
    this.#domains.push(use)
  }

  /** The domain goes with its last group; the mappings stay. */
  detach(group: VfioGroup): void {
    if (this.#emulated.delete(group)) return
    const { dma } = group
    const index = this.#domains.findIndex(({ groups }) => groups.has(group))
    const use = this.#domains[index]
    if (use === undefined || dma === undefined)
      throw new Error(`${group.path} is not attached to this container`)
    this.ioas.unreserve(group)
    use.groups.delete(group)
    if (use.groups.size > 0) {
      dma.state.block()
      return
    }
    this.#domains.splice(index, 1)
    this.ioas.removeDomain(use)
    dma.state.block()
    use.domain.free()
  }

  /** The last group has left, or SET_IOMMU failed: mappings, pins and charges go. */
  dissolve(): void {
    for (const { groups } of [...this.#domains]) for (const group of [...groups]) this.detach(group)
    this.context.release()
  }

  /** A mapping is gone. */
  forget(mapping: IovaRange): void {
    this.invalidated.delete(mapping.start)
    this.dirty.forget(mapping)
  }
}
