/**
 * IOMMU_TEST_CMD: one request with twenty-three operations, whose arguments share one place (05 §A.1).
 * Each operation has a structure of its own here, all of them views of the same 72 bytes.
 */
import {
  array,
  at,
  enum32,
  type Field,
  fd32,
  flags32,
  hex32,
  hex64,
  id32,
  iova64,
  len64,
  pasid32,
  reserved32,
  sizeWord,
  u32,
  va64,
} from './fields.ts'
import { iommufdCommand } from './ioctl.ts'
import { type Fields, type Struct, struct } from './layout.ts'

export const IOMMU_TEST_OPS = {
  IOMMU_TEST_OP_ADD_RESERVED: 1,
  IOMMU_TEST_OP_MOCK_DOMAIN: 2,
  IOMMU_TEST_OP_MD_CHECK_MAP: 3,
  IOMMU_TEST_OP_MD_CHECK_REFS: 4,
  IOMMU_TEST_OP_CREATE_ACCESS: 5,
  IOMMU_TEST_OP_DESTROY_ACCESS_PAGES: 6,
  IOMMU_TEST_OP_ACCESS_PAGES: 7,
  IOMMU_TEST_OP_ACCESS_RW: 8,
  IOMMU_TEST_OP_SET_TEMP_MEMORY_LIMIT: 9,
  IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE: 10,
  IOMMU_TEST_OP_ACCESS_REPLACE_IOAS: 11,
  IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS: 12,
  IOMMU_TEST_OP_DIRTY: 13,
  IOMMU_TEST_OP_MD_CHECK_IOTLB: 14,
  IOMMU_TEST_OP_TRIGGER_IOPF: 15,
  IOMMU_TEST_OP_DEV_CHECK_CACHE: 16,
  IOMMU_TEST_OP_TRIGGER_VEVENT: 17,
  IOMMU_TEST_OP_PASID_ATTACH: 18,
  IOMMU_TEST_OP_PASID_REPLACE: 19,
  IOMMU_TEST_OP_PASID_DETACH: 20,
  IOMMU_TEST_OP_PASID_CHECK_HWPT: 21,
  IOMMU_TEST_OP_DMABUF_GET: 22,
  IOMMU_TEST_OP_DMABUF_REVOKE: 23,
} as const

export const MOCK_ACCESS_FLAGS = {
  MOCK_FLAGS_ACCESS_WRITE: 1 << 0,
  MOCK_FLAGS_ACCESS_SYZ: 1 << 16,
} as const

export const MOCK_ACCESS_RW_FLAGS = {
  MOCK_ACCESS_RW_WRITE: 1 << 0,
  MOCK_ACCESS_RW_SLOW_PATH: 1 << 2,
  MOCK_FLAGS_ACCESS_SYZ: 1 << 16,
} as const

export const MOCK_ACCESS_CREATE_FLAGS = {
  MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES: 1 << 0,
} as const

export const MOCK_DEVICE_FLAGS = {
  MOCK_FLAGS_DEVICE_NO_DIRTY: 1 << 0,
  MOCK_FLAGS_DEVICE_PASID: 1 << 2,
} as const

/** Geometry and magic numbers of the mock IOMMU (05 §A.1.3). */
export const MOCK = {
  MOCK_APERTURE_START: 0x0100_0000,
  MOCK_APERTURE_LAST: 0x7fff_ffff,
  MOCK_PAGE_SIZE: 2048,
  MOCK_HUGE_PAGE_SIZE: 512 * 2048,
  MOCK_NESTED_DOMAIN_IOTLB_ID_MAX: 3,
  MOCK_NESTED_DOMAIN_IOTLB_NUM: 4,
  MOCK_DEV_CACHE_ID_MAX: 3,
  MOCK_DEV_CACHE_NUM: 4,
  MOCK_PASID_WIDTH: 20,
  IOMMU_TEST_PASID_RESERVED: 1024,
  IOMMU_HW_INFO_SELFTEST_REGVAL: 0xdead_beef,
  IOMMU_TEST_IOTLB_DEFAULT: 0x0bad_beef,
  IOMMU_TEST_DEV_CACHE_DEFAULT: 0x00ba_ddad,
  IOMMU_TEST_HW_QUEUE_MAX: 2,
} as const

export const MOCK_IOMMUPT = { MOCK_IOMMUPT_DEFAULT: 0, MOCK_IOMMUPT_HUGE: 1 } as const

const UNION_OFFSET = 16
const LAST_OFFSET = 64

const head = <Id>(id: Field<Id, 'in'>) => ({
  size: sizeWord(),
  op: enum32(IOMMU_TEST_OPS, 'in', 'Which operation.'),
  id,
  __reserved: reserved32('Not looked at.'),
})

const end = {
  last: at(LAST_OFFSET, reserved32('Not looked at; where the smallest accepted size ends.')),
  __padding: reserved32('Not looked at.'),
}

/** The request before its operation is known. */
export const iommu_test_cmd = struct('iommu_test_cmd', {
  ...head(id32('in', 'The object, of a type that depends on the operation.')),
  arguments: at(UNION_OFFSET, array(hex64('inout', "The operation's arguments."), 6)),
  ...end,
})

export interface TestOperation<F extends Fields = Fields> {
  readonly name: keyof typeof IOMMU_TEST_OPS
  readonly op: number
  readonly struct: Struct<F>
  /** Whether a success copies the structure back; a failure never does. */
  readonly writeBack: boolean
}

const operation = <F extends Fields>(
  name: keyof typeof IOMMU_TEST_OPS,
  writeBack: boolean,
  fields: F,
): TestOperation<F> => ({
  name,
  op: IOMMU_TEST_OPS[name],
  struct: struct(`iommu_test_cmd.${name.slice('IOMMU_TEST_OP_'.length).toLowerCase()}`, fields),
  writeBack,
})

const unused = id32('in', 'Not looked at.')
const accessFd = fd32('in', 'Descriptor of the access.')
const stdev = id32('in', 'The mock device (its selftest object).')

const mockDomainOutputs = {
  out_stdev_id: id32('out', 'ID of the mock device.'),
  out_hwpt_id: id32('out', 'ID of the hardware page table it is attached to.'),
  out_idev_id: id32('out', 'ID of the device object.'),
}

export const TEST_ADD_RESERVED = operation('IOMMU_TEST_OP_ADD_RESERVED', false, {
  ...head(id32('in', 'The IOAS.')),
  start: iova64('in', 'First IOVA to reserve.'),
  length: len64('in', 'Bytes.'),
  ...end,
})
export const TEST_MOCK_DOMAIN = operation('IOMMU_TEST_OP_MOCK_DOMAIN', true, {
  ...head(id32('in', 'The IOAS or hardware page table to attach to.')),
  ...mockDomainOutputs,
  ...end,
})
export const TEST_MOCK_DOMAIN_FLAGS = operation('IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS', true, {
  ...head(id32('in', 'The IOAS or hardware page table to attach to.')),
  ...mockDomainOutputs,
  dev_flags: flags32(MOCK_DEVICE_FLAGS, 'in', 'What the device can do.'),
  ...end,
})
export const TEST_MD_CHECK_MAP = operation('IOMMU_TEST_OP_MD_CHECK_MAP', false, {
  ...head(id32('in', 'The paging hardware page table.')),
  iova: iova64('in', 'First IOVA.'),
  length: len64('in', 'Bytes.'),
  uptr: va64('in', 'Memory that must be mapped there.'),
  ...end,
})
export const TEST_MD_CHECK_REFS = operation('IOMMU_TEST_OP_MD_CHECK_REFS', false, {
  ...head(unused),
  length: len64('in', 'Bytes.'),
  uptr: va64('in', 'Memory whose pins are counted.'),
  refs: u32('in', 'Pins that each page must have.'),
  ...end,
})
export const TEST_CREATE_ACCESS = operation('IOMMU_TEST_OP_CREATE_ACCESS', true, {
  ...head(id32('in', 'The IOAS.')),
  out_access_fd: fd32('out', 'Descriptor of the new access.'),
  flags: flags32(MOCK_ACCESS_CREATE_FLAGS, 'in', 'Whether it pins pages.'),
  ...end,
})
export const TEST_DESTROY_ACCESS_PAGES = operation('IOMMU_TEST_OP_DESTROY_ACCESS_PAGES', false, {
  ...head(accessFd),
  access_pages_id: u32('in', 'Which pinned range to let go.'),
  ...end,
})
export const TEST_ACCESS_PAGES = operation('IOMMU_TEST_OP_ACCESS_PAGES', true, {
  ...head(accessFd),
  flags: flags32(MOCK_ACCESS_FLAGS, 'in', 'Whether pages are pinned for writing.'),
  out_access_pages_id: u32('out', 'Number of the pinned range.'),
  iova: iova64('in', 'First IOVA.'),
  length: len64('in', 'Bytes.'),
  uptr: va64('in', 'Memory that must be mapped there; 0 for no check.'),
  ...end,
})
export const TEST_ACCESS_RW = operation('IOMMU_TEST_OP_ACCESS_RW', false, {
  ...head(accessFd),
  iova: iova64('in', 'First IOVA.'),
  length: len64('in', 'Bytes.'),
  uptr: va64('in', 'Where data come from, or go to.'),
  flags: flags32(MOCK_ACCESS_RW_FLAGS, 'in', 'Write rather than read; how.'),
  ...end,
})
export const TEST_SET_TEMP_MEMORY_LIMIT = operation('IOMMU_TEST_OP_SET_TEMP_MEMORY_LIMIT', false, {
  ...head(unused),
  limit: u32('in', 'Bytes of working memory for pinning, at least 12.'),
  ...end,
})
export const TEST_MOCK_DOMAIN_REPLACE = operation('IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE', true, {
  ...head(stdev),
  pt_id: id32('inout', 'In: what to attach to; out: the hardware page table in effect.'),
  ...end,
})
export const TEST_ACCESS_REPLACE_IOAS = operation('IOMMU_TEST_OP_ACCESS_REPLACE_IOAS', false, {
  ...head(accessFd),
  ioas_id: id32('in', 'The IOAS to move to.'),
  ...end,
})
export const TEST_DIRTY = operation('IOMMU_TEST_OP_DIRTY', true, {
  ...head(id32('in', 'The paging hardware page table.')),
  flags: flags32({}, 'in', 'Not looked at.'),
  iova: iova64('in', 'The IOVA of bit 0.'),
  length: len64('in', 'Bytes.'),
  page_size: hex64('in', 'Bytes that one bit stands for.'),
  uptr: va64('in', 'Bitmap of what to make dirty.'),
  out_nr_dirty: hex64('out', 'Pages made dirty.'),
  ...end,
})
export const TEST_MD_CHECK_IOTLB = operation('IOMMU_TEST_OP_MD_CHECK_IOTLB', false, {
  ...head(id32('in', 'The nested hardware page table.')),
  /** Called `id` too in Linux. */
  entry_id: u32('in', 'Which entry.'),
  iotlb: hex32('in', 'What it must hold.'),
  ...end,
})
export const TEST_TRIGGER_IOPF = operation('IOMMU_TEST_OP_TRIGGER_IOPF', false, {
  ...head(unused),
  dev_id: id32('in', 'The device.'),
  pasid: pasid32('in', 'The PASID; 0 for none.'),
  grpid: u32('in', 'Number of the group of requests.'),
  perm: hex32('in', 'IOMMU_PGFAULT_PERM_ bits.'),
  addr: hex64('in', 'The address that faults.'),
  ...end,
})
export const TEST_DEV_CHECK_CACHE = operation('IOMMU_TEST_OP_DEV_CHECK_CACHE', false, {
  ...head(id32('in', 'The device.')),
  /** Called `id` too in Linux. */
  entry_id: u32('in', 'Which entry.'),
  cache: hex32('in', 'What it must hold.'),
  ...end,
})
export const TEST_TRIGGER_VEVENT = operation('IOMMU_TEST_OP_TRIGGER_VEVENT', false, {
  ...head(unused),
  dev_id: id32('in', 'The device.'),
  ...end,
})
export const TEST_PASID_ATTACH = operation('IOMMU_TEST_OP_PASID_ATTACH', true, {
  ...head(stdev),
  pasid: pasid32('in', 'The PASID; 0 for the device itself.'),
  pt_id: id32('inout', 'In: what to attach to; out: the hardware page table in effect.'),
  ...end,
})
export const TEST_PASID_REPLACE = operation('IOMMU_TEST_OP_PASID_REPLACE', true, {
  ...head(stdev),
  pasid: pasid32('in', 'The PASID; 0 for the device itself.'),
  pt_id: id32('inout', 'In: what to attach to; out: the hardware page table in effect.'),
  ...end,
})
export const TEST_PASID_DETACH = operation('IOMMU_TEST_OP_PASID_DETACH', false, {
  ...head(stdev),
  pasid: pasid32('in', 'The PASID; 0 for the device itself.'),
  ...end,
})
export const TEST_PASID_CHECK_HWPT = operation('IOMMU_TEST_OP_PASID_CHECK_HWPT', false, {
  ...head(stdev),
  pasid: pasid32('in', 'The PASID; 0 for the device itself.'),
  hwpt_id: id32('in', 'What must be attached; 0 for nothing.'),
  ...end,
})
export const TEST_DMABUF_GET = operation('IOMMU_TEST_OP_DMABUF_GET', false, {
  ...head(unused),
  length: u32('in', 'Bytes.'),
  open_flags: hex32('in', 'O_ flags of the new descriptor.'),
  ...end,
})
export const TEST_DMABUF_REVOKE = operation('IOMMU_TEST_OP_DMABUF_REVOKE', false, {
  ...head(unused),
  dmabuf_fd: fd32('in', 'The dma-buf.'),
  revoked: u32('in', 'Take its pages away (1) or give them back (0).'),
  ...end,
})

/** In order of operation number. */
export const testOperations: readonly TestOperation[] = [
  TEST_ADD_RESERVED,
  TEST_MOCK_DOMAIN,
  TEST_MD_CHECK_MAP,
  TEST_MD_CHECK_REFS,
  TEST_CREATE_ACCESS,
  TEST_DESTROY_ACCESS_PAGES,
  TEST_ACCESS_PAGES,
  TEST_ACCESS_RW,
  TEST_SET_TEMP_MEMORY_LIMIT,
  TEST_MOCK_DOMAIN_REPLACE,
  TEST_ACCESS_REPLACE_IOAS,
  TEST_MOCK_DOMAIN_FLAGS,
  TEST_DIRTY,
  TEST_MD_CHECK_IOTLB,
  TEST_TRIGGER_IOPF,
  TEST_DEV_CHECK_CACHE,
  TEST_TRIGGER_VEVENT,
  TEST_PASID_ATTACH,
  TEST_PASID_REPLACE,
  TEST_PASID_DETACH,
  TEST_PASID_CHECK_HWPT,
  TEST_DMABUF_GET,
  TEST_DMABUF_REVOKE,
]

const byOp = new Map(testOperations.map((operation) => [operation.op, operation]))

export const testOperation = (op: number): TestOperation | undefined => byOp.get(op)

export const IOMMU_TEST_CMD = iommufdCommand('IOMMU_TEST_CMD', 0xa0, iommu_test_cmd, {
  meaning: 'The test interface: mock devices, accesses, injected events.',
  minimum: 'last',
  writeBack: 'whole',
  view: (bytes) => testOperation(iommu_test_cmd.decode(bytes).op)?.struct,
})
