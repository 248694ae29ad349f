/** Which IOVAs a platform lets a device have: what its page table reaches, less what it reserves. */
import type { Iova } from '../abi/brands.ts'
import type { ReservedKind } from '../engine/iommu-driver.ts'
import { Refusal } from '../engine/reason.ts'
import { PlatformDevice, PlatformGroup } from './platform-device.ts'
import { type Platform, platforms } from './platforms.ts'

/** Inclusive. */
interface Range {
  readonly start: Iova
  readonly last: Iova
}

export interface PlatformReach {
  readonly platform: Platform
  readonly aperture: Range
  readonly reserved: readonly (Range & { readonly kind: ReservedKind })[]
}

/** Undefined for a platform that gives no device away. */
export const reachOf = (platform: Platform): PlatformReach | undefined => {
  const { instance } = platform.create()
  const { driver } = instance
  const device = new PlatformDevice(instance, new PlatformGroup(0), { name: '0000:00:00.0' })
  if (!driver.capable(device, 'coherent')) return undefined
  const domain = driver.allocPaging?.(device, 0, undefined) ?? driver.allocPagingPlain?.(device)
  if (domain === undefined || domain instanceof Refusal) return undefined
  return {
    platform,
    aperture: { start: domain.apertureStart, last: domain.apertureEnd },
    reserved: driver.reservedRegions(device).map(({ start, length, kind }) => ({
      start,
      last: (start + length - 1n) as Iova,
      kind,
    })),
  }
}

/** Those that give devices away. */
export const platformReaches = (): readonly PlatformReach[] =>
  platforms.map(reachOf).filter((reach) => reach !== undefined)
