/** Commands that concern the context as a whole: DESTROY, OPTION, VFIO_IOAS. */
import { enum16, enum32, id32, reserved16, sizeWord, u64 } from '../fields.ts'
import { iommufdCommand } from '../ioctl.ts'
import { struct } from '../layout.ts'

export const iommu_destroy = struct('iommu_destroy', {
  size: sizeWord(),
  id: id32('in', 'Object to destroy, of any type.'),
})

export const IOMMU_DESTROY = iommufdCommand('IOMMU_DESTROY', 0x80, iommu_destroy, {
  meaning: 'Destroys an object that nothing uses.',
  writeBack: 'none',
})

export const IOMMUFD_OPTION = {
  IOMMU_OPTION_RLIMIT_MODE: 0,
  IOMMU_OPTION_HUGE_PAGES: 1,
} as const

/** SET is zero. */
export const IOMMUFD_OPTION_OPS = {
  IOMMU_OPTION_OP_SET: 0,
  IOMMU_OPTION_OP_GET: 1,
} as const

export const iommu_option = struct('iommu_option', {
  size: sizeWord(),
  option_id: enum32(IOMMUFD_OPTION, 'in', 'Which option.'),
  op: enum16(IOMMUFD_OPTION_OPS, 'in', 'Read it or set it.'),
  __reserved: reserved16(),
  object_id: id32('in', 'The IOAS, for HUGE_PAGES; 0 for RLIMIT_MODE.'),
  val64: u64('inout', 'The value to set, or the value found.'),
})

export const IOMMU_OPTION = iommufdCommand('IOMMU_OPTION', 0x87, iommu_option, {
  meaning: 'Reads or sets an option of the context or of an IOAS.',
  writeBack: { field: 'val64' },
})

export const IOMMUFD_VFIO_IOAS_OP = {
  IOMMU_VFIO_IOAS_GET: 0,
  IOMMU_VFIO_IOAS_SET: 1,
  IOMMU_VFIO_IOAS_CLEAR: 2,
} as const

export const iommu_vfio_ioas = struct('iommu_vfio_ioas', {
  size: sizeWord(),
  ioas_id: id32('inout', 'The IOAS to use as compat IOAS (SET), or the one in use (GET).'),
  op: enum16(IOMMUFD_VFIO_IOAS_OP, 'in', 'Read, set or forget the compat IOAS.'),
  __reserved: reserved16(),
})

export const IOMMU_VFIO_IOAS = iommufdCommand('IOMMU_VFIO_IOAS', 0x88, iommu_vfio_ioas, {
  meaning: 'Reads or changes which IOAS the VFIO container calls work on.',
  // GET only (02 §2.6); SET and CLEAR write nothing.
  writeBack: 'whole',
})
