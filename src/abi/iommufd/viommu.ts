/** Virtual IOMMUs, their devices and hardware queues (04). */
import {
  enum32,
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
import { IOMMU_HW_QUEUE_TYPE_SELFTEST, IOMMU_VIOMMU_TYPE_SELFTEST } from '../selftest-types.ts'

export const IOMMU_VIOMMU_TYPE = {
  IOMMU_VIOMMU_TYPE_DEFAULT: 0,
  IOMMU_VIOMMU_TYPE_ARM_SMMUV3: 1,
  IOMMU_VIOMMU_TYPE_TEGRA241_CMDQV: 2,
} as const

export const iommu_viommu_alloc = struct('iommu_viommu_alloc', {
  size: sizeWord(),
  flags: flags32({}, 'in', 'None are defined.'),
  type: enum32({ ...IOMMU_VIOMMU_TYPE, IOMMU_VIOMMU_TYPE_SELFTEST }, 'in', 'Kind of vIOMMU.'),
  dev_id: id32('in', 'A device behind the IOMMU to virtualise.'),
  hwpt_id: id32('in', 'The nesting parent that holds guest memory.'),
  out_viommu_id: id32('out', 'ID of the new vIOMMU.'),
  data_len: u32('in', "Bytes of driver's data; 0 for none."),
  __reserved: reserved32(),
  data_uptr: va64('in', "The driver's data, which it may fill in."),
})

export const IOMMU_VIOMMU_ALLOC = iommufdCommand('IOMMU_VIOMMU_ALLOC', 0x90, iommu_viommu_alloc, {
  meaning: "Makes a virtual IOMMU: a guest's slice of a real one.",
  minimum: 'out_viommu_id',
  writeBack: 'whole',
})

export const iommu_viommu_tegra241_cmdqv = struct('iommu_viommu_tegra241_cmdqv', {
  out_vintf_mmap_offset: offset64('out', 'Offset at which the queue registers can be mapped.'),
  out_vintf_mmap_length: len64('out', 'Bytes that can be mapped there.'),
})

/** The mock vIOMMU's data (05 §A.5.1). */
export const iommu_viommu_selftest = struct('iommu_viommu_selftest', {
  in_data: u32('in', 'Any number.'),
  out_data: u32('out', 'The same number.'),
  out_mmap_offset: offset64('out', 'Offset at which its two pages can be mapped.'),
  out_mmap_length: len64('out', 'Bytes that can be mapped there.'),
})

export const iommu_vdevice_alloc = struct('iommu_vdevice_alloc', {
  size: sizeWord(),
  viommu_id: id32('in', 'The vIOMMU.'),
  dev_id: id32('in', 'The device.'),
  out_vdevice_id: id32('out', 'ID of the new vDEVICE.'),
  virt_id: hex64('in', "The guest's number for the device: stream ID, device ID, requester ID."),
})

export const IOMMU_VDEVICE_ALLOC = iommufdCommand(
  'IOMMU_VDEVICE_ALLOC',
  0x91,
  iommu_vdevice_alloc,
  { meaning: 'Gives a device its number within a vIOMMU.', writeBack: 'whole' },
)

export const IOMMU_HW_QUEUE_TYPE = {
  IOMMU_HW_QUEUE_TYPE_DEFAULT: 0,
  IOMMU_HW_QUEUE_TYPE_TEGRA241_CMDQV: 1,
} as const

export const iommu_hw_queue_alloc = struct('iommu_hw_queue_alloc', {
  size: sizeWord(),
  flags: flags32({}, 'in', 'None are defined.'),
  viommu_id: id32('in', 'The vIOMMU.'),
  type: enum32({ ...IOMMU_HW_QUEUE_TYPE, IOMMU_HW_QUEUE_TYPE_SELFTEST }, 'in', 'Kind of queue.'),
  index: u32('in', 'Which queue of the vIOMMU.'),
  out_hw_queue_id: id32('out', 'ID of the new queue.'),
  nesting_parent_iova: iova64('in', 'Where the queue is, in the nesting parent.'),
  length: len64('in', 'Bytes of the queue.'),
})

export const IOMMU_HW_QUEUE_ALLOC = iommufdCommand(
  'IOMMU_HW_QUEUE_ALLOC',
  0x94,
  iommu_hw_queue_alloc,
  { meaning: "Lets the hardware read a guest's queue directly.", writeBack: 'whole' },
)
