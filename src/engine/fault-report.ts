/** From a device's page request to the fault queue of the HWPT it concerns (04 §4.4). */
import type { Attachment } from './attachment.ts'
import { answer, PAGE_RESP_INVALID } from './fault-queue.ts'
import type { IommuDevice, PageFault } from './iommu-driver.ts'
import type { GroupState, IommuGroups } from './iommu-group.ts'

/** What became of a reported fault: refused at once, kept aside for its group's last, or queued with it. */
export type FaultOutcome = 'refused' | 'kept' | 'queued'

/** A device reports a page request. */
export const reportFault = (
  groups: IommuGroups,
  device: IommuDevice,
  fault: PageFault,
): FaultOutcome => {
  const group = groups.of(device)
  const attachment = attachmentOf(group, fault)
  const outcome = route(group, device, fault, attachment)
  const context = attachment?.hwpt.context
  if (context?.machine.observer !== undefined)
    context.emit({
      type: 'page-fault',
      device: device.name,
      hwpt: attachment?.hwpt.id,
      queue: attachment?.hwpt.fault?.id,
      pasid: fault.pasid,
      grpid: fault.grpid,
      perm: fault.perm,
      address: fault.address,
      outcome,
    })
  return outcome
}

/**
 * The attachment of the PASID; else, where the IOMMU supports PASID tables of the user, that of the
 * device itself if it is nested.
 */
const attachmentOf = (group: GroupState, fault: PageFault): Attachment | undefined => {
  if (fault.pasid === undefined || fault.pasid === 0) return group.rid
  const own = group.pasids.get(fault.pasid)
  if (own !== undefined) return own
  return group.driver.userPasidTables && group.rid?.hwpt.isNested ? group.rid : undefined
}

const route = (
  group: GroupState,
  device: IommuDevice,
  fault: PageFault,
  attachment: Attachment | undefined,
): FaultOutcome => {
  const queue = attachment?.hwpt.fault
  if (attachment === undefined || queue === undefined) {
    answer(device, fault, PAGE_RESP_INVALID)
    return 'refused'
  }
  const kept = group.partialFaults.get(device) ?? []
  if (!fault.last) {
    group.partialFaults.set(device, [...kept, fault])
    return 'kept'
  }
  // Matched by the group index alone: equal indices with different PASIDs merge (04 §13.12).
  const faults = [...kept.filter((other) => other.grpid === fault.grpid), fault]
  group.partialFaults.set(
    device,
    kept.filter((other) => other.grpid !== fault.grpid),
  )
  queue.push({ device, attachment, faults })
  return 'queued'
}

/** Faults of a device that are kept aside are dropped without an answer: its IOMMU's queue overflowed. */
export const forgetPartialFaults = (groups: IommuGroups, device: IommuDevice): void => {
  groups.of(device).partialFaults.delete(device)
}

/**
 * An attachment ended (its group is on another translation already): what is pending of it is answered
 * INVALID, and with the last fault-capable HWPT page requests are off, so that what is kept aside goes.
 */
export const endAttachment = (group: GroupState, ended: Attachment): void => {
  if (ended.hwpt.fault === undefined) return
  ended.hwpt.fault.cancel(ended)
  const stillOn = [group.rid, ...group.pasids.values()].some(
    (attachment) => attachment?.hwpt.fault !== undefined,
  )
  if (!stillOn) group.partialFaults.clear()
}
