/** A VFIO group: the devices that can only be given away together, and who has its file open (02 §4.1). */
import type { OpenMode } from '../engine/file.ts'
import type { Machine } from '../engine/machine.ts'
import type { Process } from '../engine/ports.ts'
import { type Result, reasonKind, refuse } from '../engine/reason.ts'
import type { DeviceKind, VfioDevice } from './device.ts'
import { GroupFile } from './group-file.ts'
import type { PhysicalGroup } from './physical.ts'

export const GroupNeedsRawIo = reasonKind<{ group: string; pid: number }>({
  code: 'group-needs-raw-io',
  errno: 'EPERM',
  cite: '02 §4.2 step 2',
  say: ({ group, pid }) => `${group} has no IOMMU, and process ${pid} lacks CAP_SYS_RAWIO`,
  advice: 'Run it with CAP_SYS_RAWIO, or use a group that has an IOMMU.',
})

export const GroupHasBoundCdev = reasonKind<{ group: string; devices: readonly string[] }>({
  code: 'group-has-bound-cdev',
  errno: 'EBUSY',
  cite: '02 §4.2 step 3, §4.9',
  say: ({ group, devices }) =>
    `${group} cannot be opened while its device ${devices.join(', ')} is bound through /dev/vfio/devices`,
  advice:
    'Use either the group or the device nodes of a group, not both; close the device file first.',
})

export const GroupAlreadyOpen = reasonKind<{ group: string }>({
  code: 'group-already-open',
  errno: 'EBUSY',
  cite: '02 §4.2 step 4',
  say: ({ group }) => `${group} is open already; a group has one open file at a time`,
  advice: 'Share the descriptor (dup, fork, SCM_RIGHTS), or close the other file first.',
})

export class VfioGroup {
  readonly machine: Machine
  readonly number: number
  readonly kind: DeviceKind
  /** In order of registration. */
  readonly devices: VfioDevice[] = []
  /** Absent for emulated and no-IOMMU groups, which have no DMA ownership. */
  readonly dma: PhysicalGroup | undefined
  /** The one open file of the group node. */
  opener: GroupFile | undefined
  /** Devices bound through their cdev now. */
  readonly boundCdevs = new Set<VfioDevice>()

  constructor(machine: Machine, number: number, kind: DeviceKind, dma?: PhysicalGroup) {
    this.machine = machine
    this.number = number
    this.kind = kind
    this.dma = dma
  }

  /** `/dev/vfio/7`, `/dev/vfio/noiommu-0`. */
  get path(): string {
    return `/dev/vfio/${this.kind === 'no-iommu' ? 'noiommu-' : ''}${this.number}`
  }

  toString(): string {
    return this.path
  }

  /** open() of the group node (02 §4.2). */
  open(process: Process, mode: OpenMode): Result<GroupFile> {
    if (this.kind === 'no-iommu' && !process.capable('CAP_SYS_RAWIO'))
      return refuse(GroupNeedsRawIo, { group: this.path, pid: process.pid })
    if (this.boundCdevs.size > 0) {
      const devices = [...this.boundCdevs].map((device) => device.name)
      return refuse(GroupHasBoundCdev, { group: this.path, devices })
    }
    if (this.opener !== undefined) return refuse(GroupAlreadyOpen, { group: this.path })
    this.opener = new GroupFile(this, mode)
    return this.opener
  }
}
