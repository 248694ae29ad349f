/** The mock IOMMU and IOMMU_TEST, in the words of the worked examples (05 §A.12). */
import { IOMMU_TEST_OPS } from '../../src/abi/test-cmd.ts'
import { anything, type Expectation, type FieldValues, ok, type Steps } from '../example.ts'
import { ARRAY, B, slotFd } from '../places.ts'
import { F, R, W } from './flags.ts'

type Named<Key> = Key extends `IOMMU_TEST_OP_${infer Name}` ? Name : never
type Operation = Named<keyof typeof IOMMU_TEST_OPS>

/** `T(op, ...)` of the worked examples. */
export const T = (
  t: Steps,
  name: Operation,
  fields: FieldValues,
  wanted: Expectation = ok(),
): void =>
  t.step(`TEST_${name}`, { op: IOMMU_TEST_OPS[`IOMMU_TEST_OP_${name}`], ...fields }, wanted)

/** Where the mock's aperture starts. */
export const A = 0x100_0000n
export const SELFTEST_DATA = 0xdead
export const SELFTEST = 0xdead_beef
export const NEST_PARENT = 1
export const DIRTY_TRACKING = 2
export const FAULT_ID_VALID = 4
export const PASID = 8

/** Opens a context with IOAS 1. */
export const oneIoas = (t: Steps): void => {
  t.open()
  t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 1 }))
}

/** A mock device: the IDs of its selftest, device and page-table objects, in this order. */
export const mockDevice = (
  t: Steps,
  id: number,
  [out_stdev_id, out_idev_id, out_hwpt_id]: readonly [number, number, number],
): void => T(t, 'MOCK_DOMAIN', { id }, ok({ out_stdev_id, out_idev_id, out_hwpt_id }))

/** Context, IOAS 1, and a mock device: stdev 2, idev 3, hwpt 4. */
export const oneDevice = (t: Steps): void => {
  oneIoas(t)
  mockDevice(t, 1, [2, 3, 4])
}

/** `buf` of the worked examples: 64 KiB of shared memory. */
export const buf = (t: Steps): void => t.buffer('shared', 0x10000n)

export const mapFixed = (
  t: Steps,
  iova: bigint,
  length: bigint,
  wanted: Expectation = ok(),
  { user_va = B, ioas_id = 1, flags = R | W } = {},
): void => t.step('IOAS_MAP', { flags: F | flags, ioas_id, user_va, length, iova }, wanted)

export const unmap = (
  t: Steps,
  iova: bigint,
  length: bigint,
  wanted: Expectation = ok(),
  ioas_id = 1,
): void => t.step('IOAS_UNMAP', { ioas_id, iova, length }, wanted)

export const destroy = (t: Steps, id: number, wanted: Expectation = ok()): void =>
  t.step('DESTROY', { id }, wanted)

/** HWPT_ALLOC for the device on something, with driver's data if `data` is given. */
export const hwptAlloc = (
  t: Steps,
  fields: FieldValues,
  wanted: Expectation,
  data?: Uint8Array,
): void => {
  if (data !== undefined) t.poke(ARRAY, data)
  const described =
    data === undefined ? {} : { data_type: SELFTEST_DATA, data_len: data.length, data_uptr: ARRAY }
  t.step('HWPT_ALLOC', { ...described, ...fields }, wanted)
}

/** An access on IOAS `id`, its descriptor in `slot`. */
export const createAccess = (t: Steps, id: number, flags: number, slot: number): void => {
  T(t, 'CREATE_ACCESS', { id, flags }, ok({ out_access_fd: anything }))
  t.takeDescriptor('TEST_CREATE_ACCESS', 'out_access_fd', slot)
}

export const fdOf = slotFd
