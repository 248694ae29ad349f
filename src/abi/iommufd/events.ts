/** Fault queues and virtual event queues: the allocations, and what is read and written (04). */
import {
  array,
  enum32,
  fd32,
  flags32,
  hex32,
  hex64,
  id32,
  pasid32,
  reserved32,
  sizeWord,
  u32,
} from '../fields.ts'
import { iommufdCommand } from '../ioctl.ts'
import { struct } from '../layout.ts'
import { IOMMU_VEVENTQ_TYPE_SELFTEST } from '../selftest-types.ts'

export const iommu_fault_alloc = struct('iommu_fault_alloc', {
  size: sizeWord(),
  flags: flags32({}, 'in', 'None are defined.'),
  out_fault_id: id32('out', 'ID of the new fault queue.'),
  out_fault_fd: fd32('out', 'Descriptor from which faults are read and to which responses go.'),
})

export const IOMMU_FAULT_QUEUE_ALLOC = iommufdCommand(
  'IOMMU_FAULT_QUEUE_ALLOC',
  0x8e,
  iommu_fault_alloc,
  { meaning: 'Makes a queue for I/O page faults.', writeBack: 'whole' },
)

export const IOMMU_HWPT_PGFAULT_FLAGS = {
  IOMMU_PGFAULT_FLAGS_PASID_VALID: 1 << 0,
  IOMMU_PGFAULT_FLAGS_LAST_PAGE: 1 << 1,
} as const

export const IOMMU_HWPT_PGFAULT_PERM = {
  IOMMU_PGFAULT_PERM_READ: 1 << 0,
  IOMMU_PGFAULT_PERM_WRITE: 1 << 1,
  IOMMU_PGFAULT_PERM_EXEC: 1 << 2,
  IOMMU_PGFAULT_PERM_PRIV: 1 << 3,
} as const

/** One message read from a fault queue. */
export const iommu_hwpt_pgfault = struct('iommu_hwpt_pgfault', {
  flags: flags32(IOMMU_HWPT_PGFAULT_FLAGS, 'out', 'Whether pasid counts; last of its group.'),
  dev_id: id32('out', 'The device.'),
  pasid: pasid32('out', 'The PASID, with PASID_VALID.'),
  grpid: u32('out', "The device's number for the group of requests."),
  perm: flags32(IOMMU_HWPT_PGFAULT_PERM, 'out', 'The access that was wanted.'),
  __reserved: reserved32('Zero.'),
  addr: hex64('out', 'The address that faulted.'),
  length: u32('out', 'Bytes that the device is going to touch; 0 where unknown.'),
  cookie: u32('out', 'Names the group in the response.'),
})

export const IOMMUFD_PAGE_RESPONSE_CODE = {
  IOMMUFD_PAGE_RESP_SUCCESS: 0,
  IOMMUFD_PAGE_RESP_INVALID: 1,
} as const

/** One response written to a fault queue. */
export const iommu_hwpt_page_response = struct('iommu_hwpt_page_response', {
  cookie: u32('in', 'The group that is answered.'),
  code: enum32(IOMMUFD_PAGE_RESPONSE_CODE, 'in', 'The page is there now, or will never be.'),
})

export const IOMMU_VEVENTQ_TYPE = {
  IOMMU_VEVENTQ_TYPE_DEFAULT: 0,
  IOMMU_VEVENTQ_TYPE_ARM_SMMUV3: 1,
  IOMMU_VEVENTQ_TYPE_TEGRA241_CMDQV: 2,
} as const

export const iommu_veventq_alloc = struct('iommu_veventq_alloc', {
  size: sizeWord(),
  flags: flags32({}, 'in', 'None are defined.'),
  viommu_id: id32('in', 'The vIOMMU.'),
  type: enum32({ ...IOMMU_VEVENTQ_TYPE, IOMMU_VEVENTQ_TYPE_SELFTEST }, 'in', 'Kind of events.'),
  veventq_depth: u32('in', 'Events that it holds before they are lost.'),
  out_veventq_id: id32('out', 'ID of the new queue.'),
  out_veventq_fd: fd32('out', 'Descriptor from which events are read.'),
  __reserved: reserved32(),
})

export const IOMMU_VEVENTQ_ALLOC = iommufdCommand(
  'IOMMU_VEVENTQ_ALLOC',
  0x93,
  iommu_veventq_alloc,
  {
    meaning: 'Makes a queue for the events of a vIOMMU.',
    minimum: 'out_veventq_fd',
    writeBack: 'whole',
  },
)

export const IOMMU_VEVENTQ_FLAG = {
  IOMMU_VEVENTQ_FLAG_LOST_EVENTS: 1 << 0,
} as const

/** Before every event read from a virtual event queue. */
export const iommufd_vevent_header = struct('iommufd_vevent_header', {
  flags: flags32(IOMMU_VEVENTQ_FLAG, 'out', 'Events were lost here and no event follows.'),
  sequence: u32('out', 'Number of the event, 0 to 2^31-1; a gap means lost events.'),
})

export const iommu_vevent_arm_smmuv3 = struct('iommu_vevent_arm_smmuv3', {
  evt: array(hex64('out', 'Event record, with the virtual stream ID.'), 4),
})

export const iommu_vevent_tegra241_cmdqv = struct('iommu_vevent_tegra241_cmdqv', {
  lvcmdq_err_map: array(hex64('out', 'One error bit for each logical queue.'), 2),
})

/** The mock IOMMU's event (05 §A.5.4). */
export const iommu_viommu_event_selftest = struct('iommu_viommu_event_selftest', {
  virt_id: hex32('out', 'Virtual ID of the device, its low 32 bits.'),
})
