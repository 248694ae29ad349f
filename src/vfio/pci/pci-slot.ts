/** Where functions sit: their addresses, and which of them one bus reset takes along (06 §7.2). */
import type { VfioPci } from './vfio-pci.ts'

export interface PciAddress {
  readonly domain: number
  readonly bus: number
  readonly device: number
  readonly fn: number
}

const ADDRESS = /^([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])$/

/** `0000:01:00.0`; undefined when the text is no such address. */
export const parseAddress = (text: string): PciAddress | undefined => {
  const found = ADDRESS.exec(text)
  if (found === null) return undefined
  const [domain, bus, device, fn] = found.slice(1).map((part) => Number.parseInt(part, 16))
  if (domain === undefined || bus === undefined || device === undefined || fn === undefined)
    return undefined
  return device < 32 ? { domain, bus, device, fn } : undefined
}

const digits = (value: number, length: number): string => value.toString(16).padStart(length, '0')

export const formatAddress = ({ domain, bus, device, fn }: PciAddress): string =>
  `${digits(domain, 4)}:${digits(bus, 2)}:${digits(device, 2)}.${fn}`

export const devfn = ({ device, fn }: PciAddress): number => device * 8 + fn

/** Functions below one bridge; those on the root bus can be reset only one by one. */
export class PciBus {
  readonly isRoot: boolean
  readonly functions: VfioPci[] = []

  constructor(isRoot: boolean) {
    this.isRoot = isRoot
  }
}
