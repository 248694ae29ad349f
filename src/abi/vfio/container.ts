/** The VFIO container: its versions and extensions, and the type1 IOMMU (02 §3 and §6). */
import {
  argsz,
  argszReplaced,
  flags32,
  flexible,
  hex64,
  iova64,
  len64,
  tailBytes,
  u32,
  u64,
  va64,
} from '../fields.ts'
import { vfioIoctl, vfioStructIoctl } from '../ioctl.ts'
import { nested, struct } from '../layout.ts'
import { vfio_info_cap_header } from './capability.ts'

export const VFIO_API_VERSION = 0

/** Arguments of CHECK_EXTENSION; the IOMMU types among them are also arguments of SET_IOMMU. */
export const VFIO_EXTENSIONS = {
  VFIO_TYPE1_IOMMU: 1,
  VFIO_SPAPR_TCE_IOMMU: 2,
  VFIO_TYPE1v2_IOMMU: 3,
  VFIO_DMA_CC_IOMMU: 4,
  VFIO_EEH: 5,
  __VFIO_RESERVED_TYPE1_NESTING_IOMMU: 6,
  VFIO_SPAPR_TCE_v2_IOMMU: 7,
  VFIO_NOIOMMU_IOMMU: 8,
  VFIO_UNMAP_ALL: 9,
  VFIO_UPDATE_VADDR: 10,
} as const

export const VFIO_GET_API_VERSION = vfioIoctl(
  'container',
  'VFIO_GET_API_VERSION',
  0,
  'none',
  'Returns the version of the interface.',
)
export const VFIO_CHECK_EXTENSION = vfioIoctl(
  'container',
  'VFIO_CHECK_EXTENSION',
  1,
  'value',
  'Says whether an IOMMU type or another extension is there.',
  VFIO_EXTENSIONS,
)
export const VFIO_SET_IOMMU = vfioIoctl(
  'container',
  'VFIO_SET_IOMMU',
  2,
  'value',
  'Chooses the IOMMU type of the container.',
  VFIO_EXTENSIONS,
)

export const VFIO_IOMMU_INFO_FLAGS = {
  VFIO_IOMMU_INFO_PGSIZES: 1 << 0,
  VFIO_IOMMU_INFO_CAPS: 1 << 1,
} as const

export const vfio_iommu_type1_info = struct('vfio_iommu_type1_info', {
  argsz: argszReplaced(),
  flags: flags32(VFIO_IOMMU_INFO_FLAGS, 'out', 'What the answer contains.'),
  iova_pgsizes: hex64('out', 'Bit n: pages of 2^n bytes can be mapped.'),
  cap_offset: u32('out', 'Where the capability chain begins; 0 if it did not fit.'),
  pad: u32('out', 'Zero.'),
})

export const VFIO_IOMMU_TYPE1_INFO_CAPS = {
  VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE: 1,
  VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION: 2,
  VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL: 3,
} as const

export const vfio_iova_range = struct('vfio_iova_range', {
  start: iova64('out', 'First IOVA.'),
  end: iova64('out', 'Last IOVA, inclusive.'),
})

export const vfio_iommu_type1_info_cap_iova_range = struct('vfio_iommu_type1_info_cap_iova_range', {
  header: nested(vfio_info_cap_header, 'out', 'Capability 1, version 1.'),
  nr_iovas: u32('out', 'Number of ranges.'),
  reserved: u32('out', 'Zero.'),
  iova_ranges: flexible(nested(vfio_iova_range, 'out', 'Ranges that can be mapped, ascending.')),
})

export const vfio_iommu_type1_info_cap_migration = struct('vfio_iommu_type1_info_cap_migration', {
  header: nested(vfio_info_cap_header, 'out', 'Capability 2, version 1.'),
  flags: u32('out', 'None are defined.'),
  pgsize_bitmap: hex64('out', 'Page sizes that dirty tracking can report.'),
  max_dirty_bitmap_size: u64('out', 'Largest bitmap, in bytes, that GET_BITMAP takes.'),
})

export const vfio_iommu_type1_info_dma_avail = struct('vfio_iommu_type1_info_dma_avail', {
  header: nested(vfio_info_cap_header, 'out', 'Capability 3, version 1.'),
  avail: u32('out', 'Mappings that can still be made.'),
})

export const VFIO_IOMMU_GET_INFO = vfioStructIoctl(
  'container',
  'VFIO_IOMMU_GET_INFO',
  12,
  vfio_iommu_type1_info,
  {
    meaning: 'Page sizes and, as a capability chain, limits of the IOMMU.',
    minimum: 'iova_pgsizes',
    writeBack: 'whole',
  },
)

export const VFIO_DMA_MAP_FLAGS = {
  VFIO_DMA_MAP_FLAG_READ: 1 << 0,
  VFIO_DMA_MAP_FLAG_WRITE: 1 << 1,
  VFIO_DMA_MAP_FLAG_VADDR: 1 << 2,
} as const

export const vfio_iommu_type1_dma_map = struct('vfio_iommu_type1_dma_map', {
  argsz: argsz(),
  flags: flags32(VFIO_DMA_MAP_FLAGS, 'in', 'What devices may do; VADDR: only tell a new address.'),
  vaddr: va64('in', "First byte of the memory, in the caller's address space."),
  iova: iova64('in', 'The IOVA.'),
  size: len64('in', 'Bytes.'),
})

export const VFIO_IOMMU_MAP_DMA = vfioStructIoctl(
  'container',
  'VFIO_IOMMU_MAP_DMA',
  13,
  vfio_iommu_type1_dma_map,
  { meaning: "Maps the caller's memory at a given IOVA.", writeBack: 'none' },
)

export const VFIO_DMA_UNMAP_FLAGS = {
  VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP: 1 << 0,
  VFIO_DMA_UNMAP_FLAG_ALL: 1 << 1,
  VFIO_DMA_UNMAP_FLAG_VADDR: 1 << 2,
} as const

export const vfio_iommu_type1_dma_unmap = struct('vfio_iommu_type1_dma_unmap', {
  argsz: argsz(),
  flags: flags32(VFIO_DMA_UNMAP_FLAGS, 'in', 'A range or everything; with a dirty bitmap.'),
  iova: iova64('in', 'First IOVA of the range; 0 with ALL.'),
  size: len64('inout', 'In: bytes of the range, 0 with ALL; out: bytes that were unmapped.'),
  data: tailBytes('in', 'A vfio_bitmap, with GET_DIRTY_BITMAP.'),
})

export const VFIO_IOMMU_UNMAP_DMA = vfioStructIoctl(
  'container',
  'VFIO_IOMMU_UNMAP_DMA',
  14,
  vfio_iommu_type1_dma_unmap,
  { meaning: 'Unmaps a range, or everything.', writeBack: 'whole' },
)

export const VFIO_IOMMU_ENABLE = vfioIoctl(
  'container',
  'VFIO_IOMMU_ENABLE',
  15,
  'none',
  'Of other IOMMU types; not served.',
)
export const VFIO_IOMMU_DISABLE = vfioIoctl(
  'container',
  'VFIO_IOMMU_DISABLE',
  16,
  'none',
  'Of other IOMMU types; not served.',
)

export const vfio_bitmap = struct('vfio_bitmap', {
  pgsize: hex64('in', 'Bytes that one bit stands for.'),
  size: u64('in', 'Bytes of the bitmap.'),
  data: va64('in', 'Where the bitmap is.'),
})

export const VFIO_IOMMU_DIRTY_PAGES_FLAGS = {
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START: 1 << 0,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP: 1 << 1,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP: 1 << 2,
} as const

export const vfio_iommu_type1_dirty_bitmap = struct('vfio_iommu_type1_dirty_bitmap', {
  argsz: argsz(),
  flags: flags32(VFIO_IOMMU_DIRTY_PAGES_FLAGS, 'in', 'Start or stop tracking, or read.'),
  data: tailBytes('in', 'A vfio_iommu_type1_dirty_bitmap_get, with GET_BITMAP.'),
})

export const vfio_iommu_type1_dirty_bitmap_get = struct('vfio_iommu_type1_dirty_bitmap_get', {
  iova: iova64('in', 'First IOVA of the range.'),
  size: len64('in', 'Bytes of the range.'),
  bitmap: nested(vfio_bitmap, 'in', 'The bitmap to fill.'),
})

export const VFIO_IOMMU_DIRTY_PAGES = vfioStructIoctl(
  'container',
  'VFIO_IOMMU_DIRTY_PAGES',
  17,
  vfio_iommu_type1_dirty_bitmap,
  { meaning: 'Dirty page tracking of the native type1 container.', writeBack: 'none' },
)
