/** Hardware page tables: allocation with drivers' data, dirty tracking, invalidation (03 §7 to §12). */
import {
  array,
  enum32,
  flags32,
  flags64,
  hex64,
  id32,
  iova64,
  len64,
  reserved32,
  sizeWord,
  u32,
  u64,
  va64,
} from '../fields.ts'
import { iommufdCommand } from '../ioctl.ts'
import { struct } from '../layout.ts'
import { IOMMU_HWPT_DATA_SELFTEST, IOMMU_HWPT_INVALIDATE_DATA_SELFTEST } from '../selftest-types.ts'

export const IOMMUFD_HWPT_ALLOC_FLAGS = {
  IOMMU_HWPT_ALLOC_NEST_PARENT: 1 << 0,
  IOMMU_HWPT_ALLOC_DIRTY_TRACKING: 1 << 1,
  IOMMU_HWPT_FAULT_ID_VALID: 1 << 2,
  IOMMU_HWPT_ALLOC_PASID: 1 << 3,
} as const

export const IOMMU_HWPT_DATA_TYPE = {
  IOMMU_HWPT_DATA_NONE: 0,
  IOMMU_HWPT_DATA_VTD_S1: 1,
  IOMMU_HWPT_DATA_ARM_SMMUV3: 2,
  IOMMU_HWPT_DATA_AMD_GUEST: 3,
} as const

export const iommu_hwpt_alloc = struct('iommu_hwpt_alloc', {
  size: sizeWord(),
  flags: flags32(IOMMUFD_HWPT_ALLOC_FLAGS, 'in', 'What the page table must be able to do.'),
  dev_id: id32('in', 'The device whose IOMMU the page table is for.'),
  pt_id: id32('in', 'What it stands on: an IOAS, a nesting parent or a vIOMMU.'),
  out_hwpt_id: id32('out', 'ID of the new hardware page table.'),
  __reserved: reserved32(),
  data_type: enum32(
    { ...IOMMU_HWPT_DATA_TYPE, IOMMU_HWPT_DATA_SELFTEST },
    'in',
    "What kind of driver's data is at data_uptr.",
  ),
  data_len: u32('in', "Bytes of driver's data; 0 for none."),
  data_uptr: va64('in', "Where the driver's data is."),
  fault_id: id32('in', 'Fault queue for its I/O page faults, with FAULT_ID_VALID.'),
  __reserved2: reserved32('Reserved; not checked.'),
})

export const IOMMU_HWPT_ALLOC = iommufdCommand('IOMMU_HWPT_ALLOC', 0x89, iommu_hwpt_alloc, {
  meaning: 'Makes a hardware page table, over an IOAS or nested.',
  minimum: '__reserved',
  writeBack: 'whole',
})

export const IOMMU_HWPT_VTD_S1_FLAGS = {
  IOMMU_VTD_S1_SRE: 1 << 0,
  IOMMU_VTD_S1_EAFE: 1 << 1,
  IOMMU_VTD_S1_WPE: 1 << 2,
} as const

export const iommu_hwpt_vtd_s1 = struct('iommu_hwpt_vtd_s1', {
  flags: flags64(
    IOMMU_HWPT_VTD_S1_FLAGS,
    'in',
    'Supervisor requests, extended accessed flag, write protection.',
  ),
  pgtbl_addr: hex64('in', 'Guest physical address of the stage-1 table.'),
  addr_width: u32('in', 'Bits of the input address.'),
  __reserved: reserved32(),
})

export const iommu_hwpt_arm_smmuv3 = struct('iommu_hwpt_arm_smmuv3', {
  ste: array(hex64('in', "First two words of the guest's stream table entry."), 2),
})

export const iommu_hwpt_amd_guest = struct('iommu_hwpt_amd_guest', {
  dte: array(hex64('in', "The guest's device table entry."), 4),
})

export const IOMMUFD_HWPT_SET_DIRTY_TRACKING_FLAGS = {
  IOMMU_HWPT_DIRTY_TRACKING_ENABLE: 1,
} as const

export const iommu_hwpt_set_dirty_tracking = struct('iommu_hwpt_set_dirty_tracking', {
  size: sizeWord(),
  flags: flags32(IOMMUFD_HWPT_SET_DIRTY_TRACKING_FLAGS, 'in', 'Start, or without it stop.'),
  hwpt_id: id32('in', 'The hardware page table.'),
  __reserved: reserved32(),
})

export const IOMMU_HWPT_SET_DIRTY_TRACKING = iommufdCommand(
  'IOMMU_HWPT_SET_DIRTY_TRACKING',
  0x8b,
  iommu_hwpt_set_dirty_tracking,
  { meaning: 'Starts or stops dirty tracking.', writeBack: 'none' },
)

export const IOMMUFD_HWPT_GET_DIRTY_BITMAP_FLAGS = {
  IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR: 1,
} as const

export const iommu_hwpt_get_dirty_bitmap = struct('iommu_hwpt_get_dirty_bitmap', {
  size: sizeWord(),
  hwpt_id: id32('in', 'The hardware page table.'),
  flags: flags32(IOMMUFD_HWPT_GET_DIRTY_BITMAP_FLAGS, 'in', 'Whether pages stay dirty.'),
  __reserved: reserved32(),
  iova: iova64('in', 'The IOVA that bit 0 stands for.'),
  length: len64('in', 'Bytes of the range.'),
  page_size: hex64('in', 'Bytes that one bit stands for.'),
  data: va64('in', 'The bitmap; bits are set in it, never cleared.'),
})

export const IOMMU_HWPT_GET_DIRTY_BITMAP = iommufdCommand(
  'IOMMU_HWPT_GET_DIRTY_BITMAP',
  0x8c,
  iommu_hwpt_get_dirty_bitmap,
  {
    meaning: 'Reports, and by default forgets, which pages devices have written.',
    writeBack: 'none',
  },
)

/** A number, not a bit: 0 is VT-d's. */
export const IOMMU_HWPT_INVALIDATE_DATA_TYPE = {
  IOMMU_HWPT_INVALIDATE_DATA_VTD_S1: 0,
  IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3: 1,
} as const

export const iommu_hwpt_invalidate = struct('iommu_hwpt_invalidate', {
  size: sizeWord(),
  hwpt_id: id32('in', 'A nested hardware page table, or a vIOMMU.'),
  data_uptr: va64('in', 'Array of requests.'),
  data_type: enum32(
    { ...IOMMU_HWPT_INVALIDATE_DATA_TYPE, IOMMU_HWPT_INVALIDATE_DATA_SELFTEST },
    'in',
    'What kind of requests.',
  ),
  entry_len: u32('in', 'Bytes from one request to the next.'),
  entry_num: u32('inout', 'In: number of requests; out: how many were carried out.'),
  __reserved: reserved32(),
})

export const IOMMU_HWPT_INVALIDATE = iommufdCommand(
  'IOMMU_HWPT_INVALIDATE',
  0x8d,
  iommu_hwpt_invalidate,
  {
    meaning: 'Invalidates cached translations of a nested table or a vIOMMU.', // On failure too (03 §11.3).
    writeBack: 'whole',
  },
)

export const IOMMU_HWPT_VTD_S1_INVALIDATE_FLAGS = {
  IOMMU_VTD_INV_FLAGS_LEAF: 1 << 0,
} as const

export const iommu_hwpt_vtd_s1_invalidate = struct('iommu_hwpt_vtd_s1_invalidate', {
  addr: hex64('in', 'First input address; 0 with npages 2^64-1 means everything.'),
  npages: u64('in', 'Number of 4 KiB pages.'),
  flags: flags32(IOMMU_HWPT_VTD_S1_INVALIDATE_FLAGS, 'in', 'Only leaf entries have changed.'),
  __reserved: reserved32(),
})

export const iommu_viommu_arm_smmuv3_invalidate = struct('iommu_viommu_arm_smmuv3_invalidate', {
  cmd: array(hex64('in', "A command as in the guest's command queue."), 2),
})
