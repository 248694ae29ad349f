/**
 * Every reason there is. A reason is declared when its module is loaded, so whatever lists them all
 * loads the rooms that declare any from here.
 */
import { allReasonKinds, type ReasonKind } from '../engine/reason.ts'
import './simulated-machine.ts'
import '../iommu/lpae-table.ts'
import '../vfio/pci/pci-machine.ts'
import '../vfio/pci/sysfs-controls.ts'
import '../vfio/pci-name.ts'
import '../iommu/platforms.ts'
import '../host/server.ts'
import '../library/program-memory.ts'

export const everyReason = (): readonly ReasonKind<never>[] => allReasonKinds()
