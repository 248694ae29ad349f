/** The set-ups S0 to S2 of 04 §12, and what examples do with them. */
import { anything, type Expectation, fails, ok, type Steps, words } from '../example.ts'
import { ARRAY, B } from '../places.ts'
import { F, R, W } from './flags.ts'

export const DATA_SELFTEST = 0xdead
export const INVALIDATE_SELFTEST = 0xdeadbeef
export const VIOMMU_SELFTEST = 0xdeadbeef
export const VEVENTQ_SELFTEST = 0xbeefbeef
export const HW_QUEUE_SELFTEST = 0xdeadbeef
export const [NEST_PARENT, DIRTY_TRACKING, FAULT_ID_VALID, PASID] = [1, 2, 4, 8]
/** Where the mock's aperture begins. */
export const X = 0x1000000n

/** `buf` of chapter 5: 64 KiB of shared memory in ordinary pages. */
export const buf = B
export const sharedBuffer = (t: Steps): void => t.buffer('shared', 0x10000n)

/** S0: one IOAS, ID 1. */
export const s0 = (t: Steps): void => {
  sharedBuffer(t)
  t.open()
  t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 1 }))
}

/** A new mock device on `id`: what it answers is stdev, idev, HWPT. */
export const mockDevice = (
  t: Steps,
  id: number,
  [out_stdev_id, out_idev_id, out_hwpt_id]: readonly [number, number, number],
  dev_flags?: number,
): void =>
  dev_flags === undefined
    ? t.test('MOCK_DOMAIN', { id }, ok({ out_stdev_id, out_hwpt_id, out_idev_id }))
    : t.test('MOCK_DOMAIN_FLAGS', { id, dev_flags }, ok({ out_stdev_id, out_hwpt_id, out_idev_id }))

/** S1: also a mock device, stdev 2, idev 3, automatic HWPT 4. */
export const s1 = (t: Steps): void => {
  s0(t)
  mockDevice(t, 1, [2, 3, 4])
}

/** The driver's data of a nested mock HWPT, put at ARRAY. */
export const nestedData = (t: Steps, iotlb = 0x0badbeef): void => t.poke(ARRAY, words(iotlb, 0))

export const allocHwpt = (
  t: Steps,
  pt_id: number,
  flags: number,
  wanted: Expectation,
  fields = {},
): void => t.step('HWPT_ALLOC', { dev_id: 3, pt_id, flags, ...fields }, wanted)

export const nested = { data_type: DATA_SELFTEST, data_len: 8, data_uptr: ARRAY }

/** S2: also nesting parent 5, vIOMMU 6, nested HWPT 7 that nothing is attached to. */
export const s2 = (t: Steps): void => {
  s1(t)
  allocHwpt(t, 1, NEST_PARENT, ok({ out_hwpt_id: 5 }))
  t.step('VIOMMU_ALLOC', { type: VIOMMU_SELFTEST, dev_id: 3, hwpt_id: 5 }, ok({ out_viommu_id: 6 }))
  nestedData(t)
  allocHwpt(t, 6, 0, ok({ out_hwpt_id: 7 }), nested)
}

export const map = (
  t: Steps,
  iova: bigint,
  user_va: bigint,
  length: bigint,
  wanted: Expectation = ok(),
  { flags = R | W | F, ioas_id = 1 } = {},
): void => t.step('IOAS_MAP', { flags, ioas_id, user_va, length, iova }, wanted)

export const unmap = (
  t: Steps,
  iova: bigint,
  length: bigint,
  wanted: Expectation = ok(),
  ioas_id = 1,
): void => t.step('IOAS_UNMAP', { ioas_id, iova, length }, wanted)

/** The alignment of an IOAS, without asking for its ranges. */
export const alignment = (
  t: Steps,
  out_iova_alignment: bigint,
  { ioas_id = 1, num_iovas = 1 } = {},
): void =>
  t.step('IOAS_IOVA_RANGES', { ioas_id }, fails('EMSGSIZE', { num_iovas, out_iova_alignment }))

export const refs = (
  t: Steps,
  uptr: bigint,
  length: bigint,
  count: number,
  wanted: Expectation = ok(),
): void => t.test('MD_CHECK_REFS', { uptr, length, refs: count }, wanted)

export const checkMap = (
  t: Steps,
  id: number,
  [iova, length, uptr]: readonly [bigint, bigint, bigint],
  wanted: Expectation = ok(),
): void => t.test('MD_CHECK_MAP', { id, iova, length, uptr }, wanted)

/** A new access whose descriptor goes to `slot`. */
export const createAccess = (t: Steps, id: number, flags: number, slot: number): void => {
  t.test('CREATE_ACCESS', { id, flags }, ok({ out_access_fd: anything }))
  t.takeDescriptor('TEST_CREATE_ACCESS', 'out_access_fd', slot)
}

/** A fault queue `id` whose descriptor goes to `slot`. */
export const faultQueue = (t: Steps, id: number, slot: number): void => {
  t.step('FAULT_QUEUE_ALLOC', {}, ok({ out_fault_id: id, out_fault_fd: anything }))
  t.takeDescriptor('FAULT_QUEUE_ALLOC', 'out_fault_fd', slot)
}

/** A vEVENTQ of vIOMMU 6, its descriptor in `slot`. */
export const eventQueue = (
  t: Steps,
  id: number,
  veventq_depth: number,
  slot: number,
  fields = {},
): void => {
  t.step(
    'VEVENTQ_ALLOC',
    { viommu_id: 6, type: VEVENTQ_SELFTEST, veventq_depth, ...fields },
    ok({ out_veventq_id: id, out_veventq_fd: anything }),
  )
  t.takeDescriptor('VEVENTQ_ALLOC', 'out_veventq_fd', slot)
}

/** Reads up to `count` bytes from `slot` and sees exactly these. */
export const reads = (t: Steps, slot: number, count: number, bytes: Uint8Array): void => {
  t.fill(ARRAY, 0x200n, 0xaa)
  t.plain(`read ${slot} ${ARRAY} ${count}`, bytes.length)
  t.sees(ARRAY, [...bytes, ...new Uint8Array(16).fill(0xaa)])
}

export const writes = (t: Steps, slot: number, bytes: Uint8Array, wanted: number): void => {
  t.poke(ARRAY, bytes)
  t.plain(`write ${slot} ${ARRAY} ${bytes.length}`, wanted)
}

export const replace = (t: Steps, id: number, pt_id: number, wanted: Expectation = ok()): void =>
  t.test('MOCK_DOMAIN_REPLACE', { id, pt_id }, wanted)

export const destroy = (t: Steps, id: number, wanted: Expectation = ok()): void =>
  t.step('DESTROY', { id }, wanted)
