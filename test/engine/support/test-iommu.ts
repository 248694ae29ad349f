/**
 * An IOMMU for tests of the engine: the driver contract over a plain Map of leaves. Platform P of 03 §17
 * by default; `mockLike` has the numbers of the mock of 05. Everything it is asked is written down.
 */
import {
  type ByteLength,
  byteLength,
  hex,
  type Iova,
  iova,
  type ObjectId,
  type Pasid,
  type PhysAddr,
  physAddr,
} from '../../../src/abi/brands.ts'
import type { ErrnoName } from '../../../src/abi/errno.ts'
import type {
  DirtyOps,
  Domain,
  DriverArray,
  DriverData,
  HwQueueRequest,
  IommuCapability,
  IommuDevice,
  IommuDriver,
  IommuGroup,
  IommuInstance,
  NestedDomain,
  PageResponse,
  PagingDomain,
  Protection,
  PublishedRegion,
  ReservedRegion,
  StaticDomain,
  ViommuOps,
  ViommuServices,
} from '../../../src/engine/iommu-driver.ts'
import { Refusal, type Result, reasonKind, refuse } from '../../../src/engine/reason.ts'

const refusalOf = (errno: ErrnoName) =>
  reasonKind<{ what: string }>({
    code: `test-driver-${errno.toLowerCase()}`,
    errno,
    cite: 'test fixture',
    say: ({ what }) => what,
  })
const kinds = {
  EINVAL: refusalOf('EINVAL'),
  EOPNOTSUPP: refusalOf('EOPNOTSUPP'),
  ENOENT: refusalOf('ENOENT'),
  ENOMEM: refusalOf('ENOMEM'),
  EEXIST: refusalOf('EEXIST'),
  EIO: refusalOf('EIO'),
  ERANGE: refusalOf('ERANGE'),
  EADDRINUSE: refusalOf('EADDRINUSE'),
} as const
const no = (errno: keyof typeof kinds, what: string): Refusal => refuse(kinds[errno], { what })

interface Leaf {
  readonly phys: PhysAddr
  readonly size: bigint
  readonly prot: Protection
  dirty: boolean
}

export interface TestDriverOptions {
  readonly name?: string
  readonly pageSizes?: bigint
  readonly apertureStart?: bigint
  readonly apertureEnd?: bigint
  /** Data type and lengths of nested HWPTs. */
  readonly nested?: { readonly type: number; readonly minimum: number; readonly full: number }
  readonly viommuType?: number
  /** No flags and no data: only `allocPagingPlain`. */
  readonly plain?: boolean
  readonly noPasids?: boolean
  readonly userPasidTables?: boolean
}

/** As the mock's numbers are (05 §A.3). */
export const mockLike: TestDriverOptions = {
  name: 'mock-like',
  pageSizes: 0x1f_ffff_f800n,
  apertureStart: 0x100_0000n,
  apertureEnd: 0x7fff_ffffn,
  nested: { type: 0xdead, minimum: 4, full: 8 },
  viommuType: 0xdead_beef,
  userPasidTables: true,
}

export class TestStatic implements StaticDomain {
  readonly driver: TestDriver
  readonly type: 'blocked' | 'identity'
  faultCapable = false

  constructor(driver: TestDriver, type: 'blocked' | 'identity') {
    this.driver = driver
    this.type = type
  }

  attach(device: IommuDevice): Result<void> {
    this.driver.log.push(`${this.type} ${device.name}`)
  }

  attachPasid(device: IommuDevice, pasid: Pasid): Result<void> {
    this.driver.log.push(`${this.type} ${device.name}.${pasid}`)
  }

  free(): void {}
}

export class TestPaging implements PagingDomain {
  readonly type = 'paging'
  readonly driver: TestDriver
  readonly pageSizes: bigint
  readonly apertureStart: Iova
  readonly apertureEnd: Iova
  readonly leaves = new Map<bigint, Leaf>()
  readonly dirty?: DirtyOps
  faultCapable = false
  coherencyEnforced = false
  tracking = false
  freed = false
  attachPasid?: (device: IommuDevice, pasid: Pasid, old: Domain | undefined) => Result<void>

  constructor(driver: TestDriver, tracksDirty: boolean) {
    this.driver = driver
    this.pageSizes = driver.pageSizes
    this.apertureStart = driver.apertureStart
    this.apertureEnd = driver.apertureEnd
    if (tracksDirty) this.dirty = { setTracking: (on) => this.#track(on), readAndClear: this.#read }
    if (!driver.options.noPasids)
      this.attachPasid = (device, pasid) => driver.judge('pasid', device, this, pasid)
  }

  attach(device: IommuDevice): Result<void> {
    if (this.dirty !== undefined && !this.driver.capable(device, 'dirty-tracking'))
      return no('EINVAL', 'the device cannot track dirty pages')
    if (this.coherencyEnforced && !this.driver.capable(device, 'enforce-coherency'))
      return no('EINVAL', 'the device cannot enforce coherency')
    return this.driver.judge('attach', device, this)
  }

  map(start: Iova, phys: PhysAddr, length: ByteLength, prot: Protection): Result<void> {
    const end = start + length
    if (!prot.read && !prot.write) return no('EINVAL', 'an entry without permissions')
    if (start < this.apertureStart || end - 1n > this.apertureEnd)
      return no('ERANGE', 'outside the aperture')
    const made: bigint[] = []
    for (let at: bigint = start; at < end; ) {
      const physAt = physAddr(phys + (at - start))
      const size = this.#leafSize(at, physAt, end - at)
      if (this.leaves.has(at)) return no('EADDRINUSE', `mapped already: ${hex(at)}`)
      this.leaves.set(at, { phys: physAt, size, prot, dirty: false })
      made.push(at)
      at += size
    }
  }

  #leafSize(at: bigint, phys: bigint, left: bigint): bigint {
    let best = 0n
    for (let size = 1n; size <= left; size <<= 1n)
      if ((this.pageSizes & size) !== 0n && ((at | phys) & (size - 1n)) === 0n) best = size
    if (best === 0n) throw new Error(`misaligned map at ${hex(at)}`)
    return best
  }

  unmap(start: Iova, length: ByteLength): void {
    const end = start + length
    for (let at: bigint = start; at < end; ) {
      const leaf = this.leaves.get(at)
      if (leaf === undefined) throw new Error(`unmap of ${hex(at)}, which is not mapped`)
      this.leaves.delete(at)
      at += leaf.size
    }
  }

  leafAt(address: bigint): readonly [bigint, Leaf] | undefined {
    for (let size = 1n; size <= this.pageSizes; size <<= 1n) {
      if ((this.pageSizes & size) === 0n) continue
      const base = address & ~(size - 1n)
      const leaf = this.leaves.get(base)
      if (leaf !== undefined && leaf.size === size) return [base, leaf]
    }
  }

  iovaToPhys(address: Iova): PhysAddr | undefined {
    const found = this.leafAt(address)
    return found && physAddr(found[1].phys + (address - found[0]))
  }

  /** A device writes through this domain. */
  dmaWrite(address: bigint): boolean {
    const found = this.leafAt(address)
    if (found !== undefined && this.tracking) found[1].dirty = true
    return found !== undefined
  }

  enforceCoherency(): boolean {
    if (this.leaves.size > 0) throw new Error('coherency is enforced before any map')
    this.coherencyEnforced = this.driver.enforces
    return this.driver.enforces
  }

  #track(on: boolean): undefined {
    this.tracking = on
  }

  readonly #read: DirtyOps['readAndClear'] = (start, length, clear, report) => {
    this.driver.dirtyReads.push([start, length])
    const sorted = [...this.leaves].sort(([a], [b]) => (a < b ? -1 : 1))
    for (const [at, leaf] of sorted) {
      if (!leaf.dirty || at + leaf.size <= start || at >= start + length) continue
      report?.(iova(at), byteLength(leaf.size))
      if (clear) leaf.dirty = false
    }
  }

  free(): void {
    if (this.leaves.size > 0) throw new Error('freed with mappings')
    this.freed = true
    this.driver.domains.delete(this)
  }
}

export class TestNested implements NestedDomain {
  readonly type = 'nested'
  readonly driver: TestDriver
  readonly data: Uint8Array
  readonly viommu: ViommuServices | undefined
  readonly words = [0, 0, 0, 0]
  faultCapable = false

  constructor(driver: TestDriver, data: Uint8Array, viommu?: ViommuServices) {
    this.driver = driver
    this.data = data
    this.viommu = viommu
    this.words.fill(new DataView(data.buffer).getUint32(0, true))
    driver.domains.add(this)
  }

  attach(device: IommuDevice): Result<void> {
    if (this.viommu !== undefined && this.viommu.virtIdOf(device) === undefined)
      return no('ENOENT', 'the device has no vDEVICE on the vIOMMU')
    // VT-d judges the address width when the HWPT is attached (03 §15.2).
    if (this.data.length === 24) {
      const width = new DataView(this.data.buffer).getUint32(16, true)
      if (width !== 48 && width !== 57) return no('EINVAL', `address width ${width}`)
    }
    return this.driver.judge('attach', device, this)
  }

  attachPasid(device: IommuDevice, pasid: Pasid): Result<void> {
    return this.driver.judge('pasid', device, this, pasid)
  }

  invalidate(requests: DriverArray): Result<void> {
    if (requests.type !== 0xdead_beef) return no('EINVAL', 'type')
    for (let index = 0; index < requests.entryCount; index++) {
      const entry = requests.copyEntry(0xdead_beef, index, 8, 8)
      if (entry instanceof Refusal) return entry
      const view = new DataView(entry.buffer)
      const [flags, word] = [view.getUint32(0, true), view.getUint32(4, true)]
      if ((flags & ~1) !== 0) return no('EOPNOTSUPP', 'flags')
      if (word > 3) return no('EINVAL', 'word')
      if (flags === 1) this.words.fill(0)
      else this.words[word] = 0
      requests.handled++
    }
  }

  free(): void {
    this.driver.domains.delete(this)
  }
}

export class TestDriver implements IommuDriver {
  readonly name: string
  readonly options: TestDriverOptions
  readonly pageSizes: bigint
  readonly apertureStart: Iova
  readonly apertureEnd: Iova
  readonly userPasidTables: boolean
  readonly blockedDomain: TestStatic
  readonly defaultDomain: TestStatic
  /** Attaches, in order: `attach A`, `blocked A`, `pasid A.7`. */
  readonly log: string[] = []
  /** What devices were answered: `A group 7: 1`. */
  readonly responses: string[] = []
  readonly dirtyReads: [bigint, bigint][] = []
  /** Domains made and not freed. */
  readonly domains = new Set<Domain>()
  /** Whether page tables can be switched to enforcing coherency. */
  enforces = true
  /** Runs when a vDEVICE is torn down. */
  onVdeviceDestroy: () => void = () => undefined
  /** Refuses the next attach that it returns an errno for. */
  refuseAttach: (what: string) => keyof typeof kinds | undefined = () => undefined
  allocPaging?: NonNullable<IommuDriver['allocPaging']>

  constructor(options: TestDriverOptions = {}) {
    this.options = options
    this.name = options.name ?? 'vtd-like'
    this.pageSizes = options.pageSizes ?? 0x4020_1000n
    this.apertureStart = iova(options.apertureStart ?? 0n)
    this.apertureEnd = iova(options.apertureEnd ?? 0xffff_ffff_ffffn)
    this.userPasidTables = options.userPasidTables ?? false
    this.blockedDomain = new TestStatic(this, 'blocked')
    this.defaultDomain = new TestStatic(this, 'identity')
    if (!options.plain) this.allocPaging = (_device, flags, data) => this.#paging(flags, data)
  }

  capable(device: IommuDevice, capability: IommuCapability): boolean {
    return device instanceof TestDevice && device.capabilities.has(capability)
  }

  hwInfo(_device: IommuDevice, type: number): Result<{ type: number; data: Uint8Array }> {
    if (type > 1) return no('EOPNOTSUPP', 'hw info type')
    return { type: 1, data: Uint8Array.from({ length: 24 }, (_, index) => index + 1) }
  }

  #paging(flags: number, data: DriverData | undefined): Result<PagingDomain> {
    if (data !== undefined) return no('EOPNOTSUPP', 'no data for paging HWPTs')
    if ((flags & ~0xb) !== 0) return no('EOPNOTSUPP', 'flags')
    const domain = new TestPaging(this, (flags & 2) !== 0)
    this.domains.add(domain)
    return domain
  }

  allocPagingPlain(): Result<PagingDomain> {
    return this.#paging(0, undefined)
  }

  allocNested(
    _device: IommuDevice,
    _parent: PagingDomain,
    _flags: number,
    data: DriverData,
  ): Result<NestedDomain> {
    return this.nested(data)
  }

  nested(data: DriverData, viommu?: ViommuServices): Result<NestedDomain> {
    const { type, minimum, full } = this.options.nested ?? { type: 1, minimum: 24, full: 24 }
    if (data.type !== type) return no('EOPNOTSUPP', 'nested data type')
    const bytes = data.copyIn(type, minimum, full)
    return bytes instanceof Refusal ? bytes : new TestNested(this, bytes, viommu)
  }

  reservedRegions(device: IommuDevice): readonly ReservedRegion[] {
    return device instanceof TestDevice ? device.regions : []
  }

  judge(
    what: 'attach' | 'pasid',
    device: IommuDevice,
    domain: Domain,
    pasid?: Pasid,
  ): Result<void> {
    const line = `${what} ${device.name}${pasid === undefined ? '' : `.${pasid}`}`
    const errno = this.refuseAttach(line)
    this.log.push(errno === undefined ? line : `${line} ${errno}`)
    if (errno !== undefined) return no(errno, line)
    if (domain.driver !== this) return no('EINVAL', 'foreign domain')
  }

  offersViommu(_device: IommuDevice, type: number): boolean {
    return type === this.options.viommuType
  }

  initViommu(
    viommu: ViommuServices,
    _parent: PagingDomain,
    data: DriverData | undefined,
  ): Result<ViommuOps> {
    return TestViommu.make(this, viommu, data)
  }

  pageResponse(device: IommuDevice, { pasid, grpid, code }: PageResponse): void {
    const of = pasid === undefined ? '' : ` pasid ${pasid}`
    this.responses.push(`${device.name}${of} group ${grpid}: ${code}`)
  }
}

/** As the mock's vIOMMU is (05 §A.5). */
export class TestViommu implements ViommuOps {
  readonly #driver: TestDriver
  readonly #services: ViommuServices
  readonly #queues = new Map<number, ObjectId>()
  readonly region: PublishedRegion | undefined
  /** vDEVICEs and queues that were set up and not torn down. */
  live = 0

  private constructor(
    driver: TestDriver,
    services: ViommuServices,
    region: PublishedRegion | undefined,
  ) {
    this.#driver = driver
    this.#services = services
    this.region = region
  }

  static make(
    driver: TestDriver,
    services: ViommuServices,
    data: DriverData | undefined,
  ): Result<ViommuOps> {
    if (data === undefined) return new TestViommu(driver, services, undefined)
    const bytes = data.copyIn(services.viommuType, 8, 24)
    if (bytes instanceof Refusal) return bytes
    const region = services.publishRegion(8192)
    if (region instanceof Refusal) return region
    region.write(0, bytes.subarray(0, 4))
    const view = new DataView(bytes.buffer)
    view.setUint32(4, view.getUint32(0, true), true)
    view.setBigUint64(8, region.mmapOffset, true)
    view.setBigUint64(16, BigInt(region.length), true)
    const written = data.copyOut(services.viommuType, 8, bytes)
    return written instanceof Refusal ? written : new TestViommu(driver, services, region)
  }

  destroy(): void {
    this.region?.withdraw()
    if (this.live > 0) throw new Error('vIOMMU destroyed before what is on it')
  }

  allocNested(_device: IommuDevice, _flags: number, data: DriverData): Result<NestedDomain> {
    return this.#driver.nested(data, this.#services)
  }

  initVdevice(): Result<{ destroy(): void }> {
    this.live++
    return {
      destroy: () => {
        this.live--
        this.#driver.onVdeviceDestroy()
      },
    }
  }

  /** The mock's event: the virtual ID, 4 bytes. */
  raise(device: IommuDevice, type = 0xbeef_beef): Result<void> {
    const virtId = this.#services.virtIdOf(device)
    if (virtId === undefined) return no('ENOENT', 'no vDEVICE')
    const payload = new Uint8Array(4)
    new DataView(payload.buffer).setUint32(0, Number(virtId & 0xffff_ffffn), true)
    return this.#services.reportEvent(type, payload)
  }

  offersHwQueue(type: number): boolean {
    return type === 0xdead_beef
  }

  initHwQueue({ id, index }: HwQueueRequest): Result<{ destroy(): void; dependsOn?: ObjectId }> {
    if (index > 1) return no('EINVAL', 'index')
    if (this.#queues.has(index)) return no('EEXIST', 'index in use')
    const before = this.#queues.get(index - 1)
    if (index === 1 && before === undefined) return no('EIO', 'no queue 0')
    this.#queues.set(index, id)
    this.live++
    const destroy = () => {
      this.#queues.delete(index)
      this.live--
    }
    return before === undefined ? { destroy } : { destroy, dependsOn: before }
  }
}

export class TestGroup implements IommuGroup {
  readonly number: number
  readonly devices: TestDevice[] = []

  constructor(number: number) {
    this.number = number
  }
}

export interface TestDeviceOptions {
  readonly group?: TestGroup
  readonly maxPasids?: number
  readonly regions?: readonly ReservedRegion[]
  readonly without?: readonly IommuCapability[]
  readonly msiIsolated?: boolean
  readonly pci?: NonNullable<IommuDevice['pci']>
}

export const region = (
  kind: ReservedRegion['kind'],
  start: bigint,
  length: bigint,
): ReservedRegion => ({ kind, start: iova(start), length: byteLength(length) })

export const MSI = region('msi', 0xfee0_0000n, 0x10_0000n)

export class TestDevice implements IommuDevice {
  readonly name: string
  readonly instance: IommuInstance
  readonly group: TestGroup
  readonly maxPasids: number
  readonly msiIsolated: boolean
  readonly capabilities: ReadonlySet<IommuCapability>
  readonly regions: readonly ReservedRegion[]
  readonly pci?: NonNullable<IommuDevice['pci']>
  inReset = false

  constructor(name: string, iommu: TestIommu, options: TestDeviceOptions = {}) {
    this.name = name
    this.instance = iommu
    this.group = options.group ?? iommu.newGroup()
    this.group.devices.push(this)
    this.maxPasids = options.maxPasids ?? 1 << 20
    this.msiIsolated = options.msiIsolated ?? true
    this.regions = options.regions ?? [MSI]
    if (options.pci !== undefined) this.pci = options.pci
    const all: IommuCapability[] = ['coherent', 'enforce-coherency', 'dirty-tracking', 'ats']
    this.capabilities = new Set(all.filter((each) => !options.without?.includes(each)))
  }
}

/** One IOMMU unit and the devices behind it. */
export class TestIommu implements IommuInstance {
  readonly name: string
  readonly driver: TestDriver
  readonly maxPasids = 1 << 20
  #groups = 0

  constructor(driver: TestDriver = new TestDriver(), name = 'iommu0') {
    this.driver = driver
    this.name = name
  }

  newGroup(): TestGroup {
    return new TestGroup(++this.#groups)
  }

  device(name: string, options: TestDeviceOptions = {}): TestDevice {
    return new TestDevice(name, this, options)
  }
}
