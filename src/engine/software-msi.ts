/**
 * The software MSI window (03 §5.6): on platforms that translate interrupt writes, the doorbell pages
 * of interrupt controllers are mapped into the domains of the devices that use them.
 */
import { byteLength, hex, type Iova, iova, type PhysAddr } from '../abi/brands.ts'
import type { Device } from './device.ts'
import type { HwptPaging } from './hwpt.ts'
import type { GroupState } from './iommu-group.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'

const PAGE = 0x1000n
/** Doorbell pages of one context. */
const MAX_PAGES = 64

export const SoftwareMsiWindowFull = reasonKind<{ doorbell: PhysAddr }>({
  code: 'software-msi-window-full',
  errno: 'EOVERFLOW',
  cite: '03 §5.6',
  say: ({ doorbell }) =>
    `the context maps ${MAX_PAGES} interrupt doorbell pages already; there is no place for ${hex(doorbell)}`,
  advice: 'Use fewer interrupt controllers from one context, or several contexts.',
})

/** Which doorbell page has which IOVA, for the life of a context. */
export class SoftwareMsi {
  readonly #windows = new Map<Iova, Map<PhysAddr, Iova>>()
  #pages = 0

  /** The IOVA of a doorbell page: in order of first use within the window. */
  iovaOf(start: Iova, page: PhysAddr): Result<Iova> {
    const window = this.#windows.get(start) ?? new Map<PhysAddr, Iova>()
    const known = window.get(page)
    if (known !== undefined) return known
    if (this.#pages === MAX_PAGES) return refuse(SoftwareMsiWindowFull, { doorbell: page })
    const address = iova(start + BigInt(window.size) * PAGE)
    window.set(page, address)
    this.#windows.set(start, window)
    this.#pages++
    return address
  }
}

/**
 * An interrupt of an attached device is set up: where the device must write to reach the doorbell at
 * `doorbell`. Undefined where MSIs are not translated (no window), or nothing is attached.
 */
export const translateDoorbell = (device: Device, doorbell: PhysAddr): Result<Iova | undefined> => {
  const { group } = device
  if (group.softwareMsiStart === undefined || group.rid === undefined) return undefined
  const page = (doorbell & ~(PAGE - 1n)) as PhysAddr
  const address = mapDoorbell(group.rid.hwpt.paging, page, group.softwareMsiStart)
  if (address instanceof Refusal) return address
  group.doorbells.add(page)
  return iova(address + (doorbell & (PAGE - 1n)))
}

/** All doorbell pages that the group has used, into a domain it is about to be attached to. */
export const mapDoorbells = (group: GroupState, hwpt: HwptPaging): Result<void> => {
  const start = group.softwareMsiStart
  if (start === undefined) return
  for (const page of group.doorbells) {
    const address = mapDoorbell(hwpt, page, start)
    if (address instanceof Refusal) return address
  }
}

const mapDoorbell = (hwpt: HwptPaging, page: PhysAddr, start: Iova): Result<Iova> => {
  const address = hwpt.context.softwareMsi.iovaOf(start, page)
  if (address instanceof Refusal || hwpt.doorbells.has(page)) return address
  const mapped = hwpt.domain.map(address, page, byteLength(PAGE), {
    read: true,
    write: true,
    mmio: true,
  })
  if (mapped instanceof Refusal) return mapped
  hwpt.doorbells.set(page, address)
  return address
}
