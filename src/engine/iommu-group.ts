/**
 * IOMMU groups: who owns the DMA of a group, and what it translates through now (03 §3).
 *
 * The hardware's view lives here (current domain, PASID table); which HWPTs and devices stand behind it
 * is recorded as attachments by `attach.ts` and `attach-pasid.ts`.
 */
import { hex, type Iova, type Pasid, type PhysAddr } from '../abi/brands.ts'
import type { Attachment } from './attachment.ts'
import type { Device } from './device.ts'
import type { DmaChanges } from './dma-changes.ts'
import type {
  Domain,
  IommuDevice,
  IommuDriver,
  IommuGroup,
  PageFault,
  ReservedRegion,
} from './iommu-driver.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'

/**
 * Whoever may own the DMA of a group: a context, a legacy container, the kernel. Compared by ===;
 * `toString` names it for people.
 */
export type DmaOwner = object

export const GroupOwnedByAnother = reasonKind<{ group: number; owner: string }>({
  code: 'group-owned-by-another',
  errno: 'EPERM',
  cite: '03 §3.2',
  say: ({ group, owner }) => `the DMA of IOMMU group ${group} belongs to ${owner}`,
  advice: 'All devices of a group must be used through one iommufd; unbind the others first.',
})

export const GroupOffItsDefault = reasonKind<{ group: number }>({
  code: 'group-off-its-default',
  errno: 'EBUSY',
  cite: '03 §3.2',
  say: ({ group }) =>
    `IOMMU group ${group} has no owner but does not run on its default translation, or uses PASIDs`,
  advice: "Let the kernel driver release the group's devices first.",
})

export const GroupNeedsDirectMap = reasonKind<{
  group: number
  device: string
  region: ReservedRegion
}>({
  code: 'group-needs-direct-map',
  errno: 'EINVAL',
  cite: '03 §3.2',
  say: ({ group, device, region }) =>
    `firmware demands a permanent 1:1 map of ${hex(region.start)}-${hex(
      region.start + region.length - 1n,
    )} for ${device}, so no device of IOMMU group ${group} can be given away`,
  advice:
    'Such devices must stay with the kernel, unless firmware can be told to drop the demand (RMRR).',
})

export const GroupOnForeignTranslation = reasonKind<{ group: number }>({
  code: 'group-on-foreign-translation',
  errno: 'EBUSY',
  cite: '03 §5.3 step 4.4',
  say: ({ group }) =>
    `IOMMU group ${group} is neither on its default nor on a blocking translation`,
  advice: 'Detach what else uses the group, such as another container or another process.',
})

export const DomainOfOtherDriver = reasonKind<{
  group: number
  domainDriver: string
  driver: string
}>({
  code: 'domain-of-other-driver',
  errno: 'EINVAL',
  cite: '03 §5.3 step 4.5, §6.3 step 4.4',
  say: ({ group, domainDriver, driver }) =>
    `the page table was made by the IOMMU driver ${domainDriver}, but IOMMU group ${group} is served by ${driver}`,
  advice:
    'Use an HWPT for the devices of one IOMMU only, or attach to the IOAS and let the kernel choose one.',
})

export const GroupMemberInReset = reasonKind<{ device: string }>({
  code: 'group-member-in-reset',
  errno: 'EBUSY',
  cite: '03 §5.3 step 4.6',
  say: ({ device }) => `${device} is being reset`,
  advice: 'Try again when the reset is done.',
})

export const NoPasidOperation = reasonKind<{ driver: string }>({
  code: 'no-pasid-operation',
  errno: 'EOPNOTSUPP',
  cite: '03 §6.3 step 4.3, §6.4 step 4',
  say: ({ driver }) => `the IOMMU driver ${driver} cannot put this page table on a PASID`,
  advice:
    'Use PASIDs only where VFIO_DEVICE_FEATURE or IOMMU_GET_HW_INFO reports them, and with page tables that the driver takes for them.',
})

export const PasidOutOfRange = reasonKind<{ pasid: Pasid; device: string; maxPasids: number }>({
  code: 'pasid-out-of-range',
  errno: 'EINVAL',
  cite: '03 §6.3 step 4.6',
  say: ({ pasid, device, maxPasids }) =>
    `PASID ${pasid} is not below ${maxPasids}, the number of PASIDs that ${device} and its IOMMU handle`,
  advice: 'GET_HW_INFO reports out_max_pasid_log2.',
})

/** One group as the engine knows it. */
export class GroupState {
  readonly group: IommuGroup
  readonly driver: IommuDriver
  owner: DmaOwner | undefined
  /** How often the owner claimed the group: once for each bound member. */
  claims = 0
  /** What DMA without PASID translates through, for every member. */
  domain: Domain
  /** Domain of each PASID in use. */
  readonly pasidDomains = new Map<Pasid, Domain>()
  /** The HWPT behind `domain`, while a device is attached. */
  rid: Attachment | undefined
  readonly pasids = new Map<Pasid, Attachment>()
  /** Bound members. */
  readonly bound = new Map<IommuDevice, Device>()
  /** Page requests of which the last of their group has not come yet, in order of arrival (04 §4.4). */
  readonly partialFaults = new Map<IommuDevice, readonly PageFault[]>()
  /** Software MSI (03 §5.6): where the window starts, and the doorbell pages in use. */
  softwareMsiStart: Iova | undefined
  readonly doorbells = new Set<PhysAddr>()

  readonly #changes: DmaChanges | undefined

  constructor(group: IommuGroup, driver: IommuDriver, changes?: DmaChanges) {
    this.#changes = changes
    this.group = group
    this.driver = driver
    this.domain = driver.defaultDomain
  }

  /** Claims the group's DMA for `owner`; the first claim blocks all DMA of all members (03 §3.2). */
  claim(owner: DmaOwner): Result<void> {
    const { group, driver } = this
    if (this.owner === owner) {
      this.claims++
      return
    }
    if (this.owner !== undefined)
      return refuse(GroupOwnedByAnother, { group: group.number, owner: String(this.owner) })
    if (this.domain !== driver.defaultDomain || this.pasidDomains.size > 0)
      return refuse(GroupOffItsDefault, { group: group.number })
    for (const device of group.devices)
      for (const region of driver.reservedRegions(device))
        if (region.kind === 'direct')
          return refuse(GroupNeedsDirectMap, { group: group.number, device: device.name, region })
    const refusal = this.#attachMembers(driver.blockedDomain)
    if (refusal instanceof Refusal) return refusal
    this.owner = owner
    this.claims = 1
  }

  /** Takes the group for the kernel's own DMA without blocking it: a kernel driver is bound to a member. */
  claimForKernel(owner: DmaOwner): Result<void> {
    if (this.owner !== undefined && this.owner !== owner)
      return refuse(GroupOwnedByAnother, { group: this.group.number, owner: String(this.owner) })
    this.owner = owner
    this.claims++
  }

  /** Gives one claim back; with the last the group returns to its default translation. */
  unclaim(): void {
    if (--this.claims > 0) return
    this.owner = undefined
    this.softwareMsiStart = undefined
    this.doorbells.clear()
    this.#attachMembers(this.driver.defaultDomain)
  }

  /** First attachment of the group (03 §5.3 steps 4.4 to 4.7). */
  attach(domain: Domain): Result<void> {
    const { group, driver } = this
    if (this.domain !== driver.defaultDomain && this.domain !== driver.blockedDomain)
      return refuse(GroupOnForeignTranslation, { group: group.number })
    if (domain.driver !== driver) return this.#otherDriver(domain)
    return this.replace(domain)
  }

  /** Moves every member to `domain`; on error every member is back where it was (03 §5.7 step 7). */
  replace(domain: Domain): Result<void> {
    const inReset = this.group.devices.find((device) => device.inReset)
    if (inReset !== undefined) return refuse(GroupMemberInReset, { device: inReset.name })
    return this.#attachMembers(domain)
  }

  /** Blocks all DMA without PASID of all members. */
  block(): void {
    this.#attachMembers(this.driver.blockedDomain)
  }

  #attachMembers(domain: Domain): Result<void> {
    const old = this.domain
    const done: IommuDevice[] = []
    for (const device of this.group.devices) {
      const refusal = domain.attach(device, old)
      if (refusal instanceof Refusal) {
        for (const earlier of done) old.attach(earlier, domain)
        return refusal
      }
      done.push(device)
    }
    this.domain = domain
    this.#changes?.translationChanged()
  }

  #otherDriver(domain: Domain): Refusal {
    return refuse(DomainOfOtherDriver, {
      group: this.group.number,
      domainDriver: domain.driver.name,
      driver: this.driver.name,
    })
  }

  /** First use of a PASID in the group (03 §6.3 steps 4.3 to 4.8). */
  attachPasid(pasid: Pasid, domain: Domain): Result<void> {
    const { group, driver } = this
    if (domain.attachPasid === undefined || driver.blockedDomain.attachPasid === undefined)
      return refuse(NoPasidOperation, { driver: domain.driver.name })
    if (domain.driver !== driver) return this.#otherDriver(domain)
    const inReset = group.devices.find((device) => device.inReset)
    if (inReset !== undefined) return refuse(GroupMemberInReset, { device: inReset.name })
    for (const { name, maxPasids } of group.devices)
      if (maxPasids > 0 && pasid >= maxPasids)
        return refuse(PasidOutOfRange, { pasid, device: name, maxPasids })
    return this.#setPasid(pasid, domain)
  }

  /** Moves a PASID in use to another domain (03 §6.4 steps 4 and 5). */
  replacePasid(pasid: Pasid, domain: Domain): Result<void> {
    if (domain.attachPasid === undefined)
      return refuse(NoPasidOperation, { driver: domain.driver.name })
    if (domain.driver !== this.driver) return this.#otherDriver(domain)
    const inReset = this.group.devices.find((device) => device.inReset)
    if (inReset !== undefined) return refuse(GroupMemberInReset, { device: inReset.name })
    return this.#setPasid(pasid, domain)
  }

  /** Blocks a PASID; members in reset are skipped (03 §6.5). */
  blockPasid(pasid: Pasid): void {
    const old = this.pasidDomains.get(pasid)
    for (const device of this.#pasidMembers())
      if (!device.inReset) this.driver.blockedDomain.attachPasid?.(device, pasid, old)
    this.pasidDomains.delete(pasid)
    this.#changes?.translationChanged()
  }

  #setPasid(pasid: Pasid, domain: Domain): Result<void> {
    const old = this.pasidDomains.get(pasid)
    const done: IommuDevice[] = []
    for (const device of this.#pasidMembers()) {
      const refusal = domain.attachPasid?.(device, pasid, old)
      if (refusal instanceof Refusal) {
        const back = old ?? this.driver.blockedDomain
        for (const earlier of done) back.attachPasid?.(earlier, pasid, domain)
        return refusal
      }
      done.push(device)
    }
    this.pasidDomains.set(pasid, domain)
    this.#changes?.translationChanged()
  }

  /** Members with no PASIDs at all take no part (03 §6.3, end). */
  #pasidMembers(): IommuDevice[] {
    return this.group.devices.filter((device) => device.maxPasids > 0)
  }

  /**
   * What DMA of a member with `pasid` (undefined or 0: without) goes through now (03 §14.6): a PASID
   * without entry is blocked unless the RID's nested domain handles all PASIDs itself.
   */
  translation(pasid?: Pasid): Domain {
    if (pasid === undefined || pasid === 0) return this.domain
    const own = this.pasidDomains.get(pasid)
    if (own !== undefined) return own
    return this.driver.userPasidTables && this.rid?.hwpt.isNested
      ? this.domain
      : this.driver.blockedDomain
  }
}

/** All groups of a machine. A group's state lives as long as the group itself is known to anybody. */
export class IommuGroups {
  readonly #states = new WeakMap<IommuGroup, GroupState>()
  readonly #changes: DmaChanges | undefined

  constructor(changes?: DmaChanges) {
    this.#changes = changes
  }

  of(device: IommuDevice): GroupState {
    const known = this.#states.get(device.group)
    if (known !== undefined) return known
    const state = new GroupState(device.group, device.instance.driver, this.#changes)
    this.#states.set(device.group, state)
    return state
  }

  /** The DEVICE object that binds a device now. */
  deviceOf(device: IommuDevice): Device | undefined {
    return this.of(device).bound.get(device)
  }
}
