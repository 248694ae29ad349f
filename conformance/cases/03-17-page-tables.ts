/**
 * 03 §17, what its examples say about page tables, played with mock devices: numbers differ from those
 * of the text where the mock hardware differs from its platform P.
 */
import { example, fails, ok, type Steps, words } from '../example.ts'
import { ARRAY, UNMAPPED } from '../places.ts'
import {
  allocHwpt,
  DATA_SELFTEST,
  destroy,
  FAULT_ID_VALID,
  faultQueue,
  INVALIDATE_SELFTEST,
  mockDevice,
  NEST_PARENT,
  nested,
  nestedData,
  replace,
  s1,
} from './setups.ts'

const needs = { needs: ['test-interface'] } as const

export const manualAndReplace = example(
  '03 §17 3 Manual HWPT and replace',
  (t) => {
    s1(t)
    allocHwpt(t, 1, 0, ok({ out_hwpt_id: 5 }))
    replace(t, 2, 5)
    destroy(t, 4, fails('ENOENT'))
    destroy(t, 5, fails('EBUSY'))
    replace(t, 2, 5)
    replace(t, 2, 1, ok({ pt_id: 4 }))
    destroy(t, 5)
  },
  needs,
)

export const manualNotChosen = example(
  '03 §17 4 A manual HWPT is never chosen automatically, but an auto one may be named',
  (t) => {
    s1(t)
    allocHwpt(t, 1, 0, ok({ out_hwpt_id: 5 }))
    replace(t, 2, 5)
    mockDevice(t, 1, [4, 6, 7])
    replace(t, 2, 7)
    destroy(t, 4)
    destroy(t, 7, fails('EBUSY'))
    destroy(t, 2)
    destroy(t, 7, fails('ENOENT'))
    destroy(t, 5)
  },
  needs,
)

export const allocErrors = example(
  '03 §17 10 HWPT_ALLOC errors, in order',
  (t) => {
    s1(t)
    const alloc = (fields: object, wanted: ReturnType<typeof ok>, tail: number[] = []): void =>
      t.step('HWPT_ALLOC', { dev_id: 3, pt_id: 1, ...fields }, wanted, { tail })
    alloc({ size: 20 }, fails('EINVAL'))
    alloc({ size: 24 }, ok({ out_hwpt_id: 5 }))
    alloc({ __reserved: 1, flags: 0x80000000, dev_id: 0, pt_id: 0 }, fails('EOPNOTSUPP'))
    alloc({ data_type: 0, data_len: 8 }, fails('EINVAL'))
    alloc({ data_type: 1, data_len: 0 }, fails('EINVAL'))
    alloc({ dev_id: 1 }, fails('ENOENT'))
    alloc({ pt_id: 77 }, fails('EINVAL'))
    alloc({ pt_id: 3 }, fails('EINVAL'))
    alloc({ flags: 0x10 }, fails('EOPNOTSUPP'))
    alloc({ flags: NEST_PARENT | FAULT_ID_VALID }, fails('EOPNOTSUPP'))
    alloc({ flags: FAULT_ID_VALID, fault_id: 0 }, fails('ENOENT'))
    alloc({ data_type: 1, data_len: 24, data_uptr: ARRAY }, fails('EOPNOTSUPP'))
    alloc({ data_uptr: 1n }, ok({ out_hwpt_id: 6 }))
    alloc({ __reserved2: 5 }, ok({ out_hwpt_id: 7 }))
    alloc({ size: 56 }, ok({ out_hwpt_id: 8 }), [0, 0, 0, 0, 0, 0, 0, 0])
    alloc({ size: 56 }, fails('E2BIG'), [0, 0, 0, 0, 0, 0, 0, 1])
  },
  needs,
)

export const nesting = example(
  '03 §17 11 Nesting',
  (t) => {
    s1(t)
    allocHwpt(t, 1, NEST_PARENT, ok({ out_hwpt_id: 5 }))
    allocHwpt(t, 1, 0, ok({ out_hwpt_id: 6 }))
    nestedData(t)
    allocHwpt(t, 6, 0, fails('EINVAL'), nested)
    allocHwpt(t, 5, 0, fails('EOPNOTSUPP'))
    allocHwpt(t, 5, NEST_PARENT, fails('EOPNOTSUPP'), nested)
    allocHwpt(t, 5, 0, fails('EOPNOTSUPP'), { ...nested, data_type: 2 })
    allocHwpt(t, 5, 0, fails('EINVAL'), { ...nested, data_len: 3 })
    allocHwpt(t, 5, 0, fails('EINVAL'), { ...nested, data_len: 9 })
    allocHwpt(t, 5, 0, fails('EFAULT'), { ...nested, data_uptr: UNMAPPED })
    allocHwpt(t, 5, 0, ok({ out_hwpt_id: 7 }), nested)
    allocHwpt(t, 7, 0, fails('EINVAL'), nested)
    destroy(t, 5, fails('EBUSY'))
    replace(t, 2, 7)
    destroy(t, 7, fails('EBUSY'))
    t.step('HWPT_SET_DIRTY_TRACKING', { flags: 1, hwpt_id: 7 }, fails('ENOENT'))
    replace(t, 2, 5)
    destroy(t, 7)
  },
  needs,
)

const SELFTEST_INFO = 0xfeedbeef

export const hwInfo = example(
  '03 §17 12 GET_HW_INFO',
  (t) => {
    s1(t)
    const answer = { data_len: 8, out_data_type: SELFTEST_INFO, out_capabilities: 9n }
    const info = (fields: object, wanted = ok(answer)): void =>
      t.step('GET_HW_INFO', { dev_id: 3, ...fields }, wanted)
    info({})
    t.fill(ARRAY, 72n, 0xff)
    info({ data_len: 64, data_uptr: ARRAY })
    t.sees(ARRAY, [
      ...words(0, 0xdeadbeef),
      ...new Array<number>(56).fill(0),
      ...new Array<number>(8).fill(0xff),
    ])
    info({ data_len: 8 }, fails('EFAULT'))
    info({ in_data_type: 0x1234 })
    info({ flags: 1, in_data_type: SELFTEST_INFO })
    info({ flags: 1, in_data_type: 2 }, fails('EOPNOTSUPP'))
    info({ flags: 1, in_data_type: 0 })
    info({ flags: 2 }, fails('EOPNOTSUPP'))
    info({ dev_id: 1 }, fails('ENOENT'))
    info({ size: 32 }, ok({ data_len: 8, out_data_type: SELFTEST_INFO }))
  },
  needs,
)

export const invalidating = example(
  '03 §17 13 HWPT_INVALIDATE',
  (t) => {
    s1(t)
    allocHwpt(t, 1, NEST_PARENT, ok({ out_hwpt_id: 5 }))
    nestedData(t, 0x0badbeef)
    allocHwpt(t, 5, 0, ok({ out_hwpt_id: 6 }), nested)
    const call = (
      entries: readonly number[],
      wanted: ReturnType<typeof ok>,
      fields: object = {},
    ): void => {
      if (entries.length > 0) t.poke(ARRAY, words(...entries))
      t.step(
        'HWPT_INVALIDATE',
        {
          hwpt_id: 6,
          data_uptr: ARRAY,
          data_type: INVALIDATE_SELFTEST,
          entry_len: 8,
          entry_num: entries.length / 2,
          ...fields,
        },
        wanted,
      )
    }
    const none = { entry_num: 0 }
    call([0, 0], fails('EINVAL', none), { hwpt_id: 5 })
    call([0, 0], fails('ENOENT', none), { hwpt_id: 99 })
    call([], ok(), { data_uptr: 0n, entry_len: 0 })
    call([], fails('EINVAL'), { data_type: 1 })
    call([0, 0], fails('EINVAL', none), { data_uptr: 0n })
    for (const entry_len of [0, 4097, 9, 1]) call([0, 0], fails('EINVAL', none), { entry_len })
    call([0, 0], fails('EINVAL', none), { entry_num: 524289 })
    call([0, 0], fails('EOPNOTSUPP', none), { __reserved: 1 })
    call([0, 0, 0xffffffff, 1], fails('EOPNOTSUPP', { entry_num: 1 }))
    const entry = (entry_id: number, iotlb: number): void =>
      t.test('MD_CHECK_IOTLB', { id: 6, entry_id, iotlb })
    entry(0, 0)
    for (const other of [1, 2, 3]) entry(other, 0x0badbeef)
    call([0, 0, 0, 4], fails('EINVAL', { entry_num: 1 }))
    call([0, 2, 0, 3], ok())
    call([1, 0], ok())
    for (const each of [0, 1, 2, 3]) entry(each, 0)
    call([1, 4], fails('EINVAL', none))
  },
  needs,
)

export const faultQueueOfHwpt = example(
  '03 §17 20 Fault queue on an HWPT',
  (t) => {
    s1(t)
    faultQueue(t, 5, 1)
    allocHwpt(t, 1, FAULT_ID_VALID, ok({ out_hwpt_id: 6 }), { fault_id: 5 })
    destroy(t, 5, fails('EBUSY'))
    t.close(1)
    destroy(t, 5, fails('EBUSY'))
    destroy(t, 6)
    destroy(t, 5)
    allocHwpt(t, 1, FAULT_ID_VALID, fails('ENOENT'), { fault_id: 1 })
  },
  needs,
)

export const deviceLost = example(
  '03 §17 22 Device lost while its HWPT stays',
  (t) => {
    s1(t)
    allocHwpt(t, 1, 0, ok({ out_hwpt_id: 5 }))
    replace(t, 2, 5)
    destroy(t, 2)
    allocHwpt(t, 1, 0, fails('ENOENT'))
    mockDevice(t, 5, [2, 3, 5])
  },
  needs,
)

export const twoDevices = example(
  '03 §17 24 Two mock devices, replace',
  (t) => {
    s1(t)
    mockDevice(t, 1, [5, 6, 4])
    t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 7 }))
    replace(t, 2, 7, ok({ pt_id: 8 }))
    replace(t, 2, 4)
    replace(t, 2, 8, fails('ENOENT'))
    destroy(t, 2)
    destroy(t, 5)
    destroy(t, 4, fails('ENOENT'))
    destroy(t, 7)
    destroy(t, 1)
  },
  needs,
)

export const automaticData = example(
  '03 §17 10, more: a paging HWPT may be given the mock driver its data',
  (t: Steps) => {
    s1(t)
    t.poke(ARRAY, words(0, 2))
    const data = { data_type: DATA_SELFTEST, data_len: 8, data_uptr: ARRAY }
    allocHwpt(t, 1, 0, fails('EOPNOTSUPP'), data)
    allocHwpt(t, 1, 0, ok({ out_hwpt_id: 5 }), { ...data, data_len: 4 })
  },
  needs,
)
