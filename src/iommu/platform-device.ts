/** A device behind a simulated platform IOMMU. */
import type {
  IommuDevice,
  IommuGroup,
  IommuInstance,
  ReservedRegion,
} from '../engine/iommu-driver.ts'

/** A group that members join as they are found. */
export class PlatformGroup implements IommuGroup {
  readonly number: number
  readonly devices: IommuDevice[] = []

  constructor(number: number) {
    this.number = number
  }
}

export interface PlatformDeviceOptions {
  /** `0000:00:03.0`. */
  readonly name: string
  /** PASIDs that the device itself handles; 0 for none. */
  readonly pasids?: number
  readonly ats?: boolean
  readonly pri?: boolean
  readonly isVf?: boolean
  readonly firmwareRegions?: readonly ReservedRegion[]
  /** The platform remaps interrupts (03 §4.1 check 3). */
  readonly msiIsolated?: boolean
}

export class PlatformDevice implements IommuDevice {
  readonly name: string
  readonly instance: IommuInstance
  readonly group: PlatformGroup
  readonly maxPasids: number
  readonly pci: NonNullable<IommuDevice['pci']>
  readonly msiIsolated: boolean
  readonly firmwareRegions: readonly ReservedRegion[]

  constructor(instance: IommuInstance, group: PlatformGroup, options: PlatformDeviceOptions) {
    this.name = options.name
    this.instance = instance
    this.group = group
    this.maxPasids = Math.min(options.pasids ?? 0, instance.maxPasids)
    this.pci = {
      isVf: options.isVf ?? false,
      pfHasPri: false,
      pasidExec: false,
      pasidPriv: false,
      ats: options.ats ?? false,
      pri: options.pri ?? false,
    }
    this.msiIsolated = options.msiIsolated ?? true
    this.firmwareRegions = options.firmwareRegions ?? []
    group.devices.push(this)
  }
}

/** Puts devices behind one IOMMU, made for the first of them, and into groups by their numbers. */
export const devicesBehind = (
  create: () => { readonly instance: IommuInstance },
): ((name: string, group: number, model: unknown, pasids: number) => PlatformDevice) => {
  let instance: IommuInstance | undefined
  const groups = new Map<number, PlatformGroup>()
  return (name, number, _model, pasids) => {
    instance ??= create().instance
    const group = groups.get(number) ?? new PlatformGroup(number)
    groups.set(number, group)
    return new PlatformDevice(instance, group, { name, pasids })
  }
}
