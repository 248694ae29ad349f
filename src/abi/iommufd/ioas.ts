/** I/O address spaces: making them, what they can map, mapping and unmapping (01 §9 to §16). */
import {
  fd32,
  flags32,
  hex64,
  id32,
  iova64,
  len64,
  offset64,
  reserved32,
  sizeWord,
  u32,
  va64,
} from '../fields.ts'
import { iommufdCommand } from '../ioctl.ts'
import { struct } from '../layout.ts'

export const iommu_ioas_alloc = struct('iommu_ioas_alloc', {
  size: sizeWord(),
  flags: flags32({}, 'in', 'None are defined.'),
  out_ioas_id: id32('out', 'ID of the new IOAS.'),
})

export const IOMMU_IOAS_ALLOC = iommufdCommand('IOMMU_IOAS_ALLOC', 0x81, iommu_ioas_alloc, {
  meaning: 'Makes an empty I/O address space.',
  writeBack: 'whole',
})

/** Element of the arrays of IOAS_IOVA_RANGES and IOAS_ALLOW_IOVAS. */
export const iommu_iova_range = struct('iommu_iova_range', {
  start: iova64('inout', 'First IOVA of the range.'),
  last: iova64('inout', 'Last IOVA of the range, inclusive.'),
})

export const iommu_ioas_allow_iovas = struct('iommu_ioas_allow_iovas', {
  size: sizeWord(),
  ioas_id: id32('in', 'The IOAS.'),
  num_iovas: u32('in', 'Elements of the array.'),
  __reserved: reserved32(),
  allowed_iovas: va64('in', 'Array of iommu_iova_range from which IOVAs may be chosen.'),
})

export const IOMMU_IOAS_ALLOW_IOVAS = iommufdCommand(
  'IOMMU_IOAS_ALLOW_IOVAS',
  0x82,
  iommu_ioas_allow_iovas,
  {
    meaning: 'Restricts automatic IOVAs to some ranges, which then stay usable.',
    writeBack: 'none',
  },
)

export const IOMMUFD_IOAS_MAP_FLAGS = {
  IOMMU_IOAS_MAP_FIXED_IOVA: 1 << 0,
  IOMMU_IOAS_MAP_WRITEABLE: 1 << 1,
  IOMMU_IOAS_MAP_READABLE: 1 << 2,
} as const

export const iommu_ioas_copy = struct('iommu_ioas_copy', {
  size: sizeWord(),
  flags: flags32(IOMMUFD_IOAS_MAP_FLAGS, 'in', 'Who chooses the IOVA, and what devices may do.'),
  dst_ioas_id: id32('in', 'The IOAS to map into.'),
  src_ioas_id: id32('in', 'The IOAS whose mapping is shared; may be the same.'),
  length: len64('in', 'Bytes.'),
  dst_iova: iova64('inout', 'The new IOVA: chosen by the caller with FIXED_IOVA, else here.'),
  src_iova: iova64('in', 'First IOVA of the range to share.'),
})

export const IOMMU_IOAS_COPY = iommufdCommand('IOMMU_IOAS_COPY', 0x83, iommu_ioas_copy, {
  meaning: 'Maps the memory of one IOAS range a second time, sharing its pages.',
  writeBack: 'whole',
})

export const iommu_ioas_iova_ranges = struct('iommu_ioas_iova_ranges', {
  size: sizeWord(),
  ioas_id: id32('in', 'The IOAS.'),
  num_iovas: u32('inout', 'In: elements that the array holds; out: ranges that there are.'),
  __reserved: reserved32(),
  allowed_iovas: va64('in', 'Array of iommu_iova_range to fill.'),
  out_iova_alignment: hex64('out', 'Alignment of every IOVA and length.'),
})

export const IOMMU_IOAS_IOVA_RANGES = iommufdCommand(
  'IOMMU_IOAS_IOVA_RANGES',
  0x84,
  iommu_ioas_iova_ranges,
  { meaning: 'Lists the IOVA ranges that can be mapped.', writeBack: 'whole' },
)

export const iommu_ioas_map = struct('iommu_ioas_map', {
  size: sizeWord(),
  flags: flags32(IOMMUFD_IOAS_MAP_FLAGS, 'in', 'Who chooses the IOVA, and what devices may do.'),
  ioas_id: id32('in', 'The IOAS to map into.'),
  __reserved: reserved32(),
  user_va: va64('in', "First byte of the memory, in the caller's address space."),
  length: len64('in', 'Bytes.'),
  iova: iova64('inout', 'The IOVA: chosen by the caller with FIXED_IOVA, else here.'),
})

export const IOMMU_IOAS_MAP = iommufdCommand('IOMMU_IOAS_MAP', 0x85, iommu_ioas_map, {
  meaning: "Maps the caller's memory into an IOAS.",
  writeBack: 'whole',
})

export const iommu_ioas_unmap = struct('iommu_ioas_unmap', {
  size: sizeWord(),
  ioas_id: id32('in', 'The IOAS.'),
  iova: iova64('in', 'First IOVA of the range; 0 together with the largest length unmaps all.'),
  length: len64('inout', 'In: bytes of the range; out: bytes that were mapped there.'),
})

export const IOMMU_IOAS_UNMAP = iommufdCommand('IOMMU_IOAS_UNMAP', 0x86, iommu_ioas_unmap, {
  meaning: 'Unmaps every area that lies in a range.',
  writeBack: 'whole',
})

export const iommu_ioas_map_file = struct('iommu_ioas_map_file', {
  size: sizeWord(),
  flags: flags32(IOMMUFD_IOAS_MAP_FLAGS, 'in', 'Who chooses the IOVA, and what devices may do.'),
  ioas_id: id32('in', 'The IOAS to map into.'),
  fd: fd32('in', 'The file: a memfd, or a dma-buf.'),
  start: offset64('in', 'First byte within the file.'),
  length: len64('in', 'Bytes.'),
  iova: iova64('inout', 'The IOVA: chosen by the caller with FIXED_IOVA, else here.'),
})

export const IOMMU_IOAS_MAP_FILE = iommufdCommand(
  'IOMMU_IOAS_MAP_FILE',
  0x8f,
  iommu_ioas_map_file,
  { meaning: 'Maps part of a file into an IOAS.', writeBack: 'whole' },
)

export const iommu_ioas_change_process = struct('iommu_ioas_change_process', {
  size: sizeWord(),
  __reserved: reserved32(),
})

export const IOMMU_IOAS_CHANGE_PROCESS = iommufdCommand(
  'IOMMU_IOAS_CHANGE_PROCESS',
  0x92,
  iommu_ioas_change_process,
  {
    meaning: 'Makes the calling process the owner of all file mappings of the context.',
    writeBack: 'none',
  },
)
