/** 05 §A.12, examples 13 to 19: dirty tracking, IOTLB words, vIOMMUs, queues, events, faults. */
import { anything, type Expectation, example, fails, ok, type Steps, words } from '../example.ts'
import { ARRAY, MAX, SPARE } from '../places.ts'
import {
  A,
  buf,
  DIRTY_TRACKING,
  destroy,
  FAULT_ID_VALID,
  hwptAlloc,
  mapFixed,
  NEST_PARENT,
  oneDevice,
  SELFTEST,
  T,
  unmap,
} from './mock.ts'

const needs = ['test-interface'] as const
const NO_CLEAR = 1

export const dirty = example(
  '05 §A.12.13 Dirty tracking',
  (t) => {
    t.open()
    t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 1 }))
    t.step('OPTION', { option_id: 1, op: 0, object_id: 1, val64: 0n }, ok())
    T(t, 'MOCK_DOMAIN', { id: 1 }, ok({ out_stdev_id: 2, out_idev_id: 3, out_hwpt_id: 4 }))
    hwptAlloc(t, { flags: DIRTY_TRACKING, dev_id: 3, pt_id: 1 }, ok({ out_hwpt_id: 5 }))
    buf(t)
    mapFixed(t, A, 0x2000n)
    const mark = (bitmap: number, wanted: Expectation, iova = A, id = 5): void => {
      t.poke(ARRAY, [bitmap])
      T(t, 'DIRTY', { id, iova, length: 0x2000n, page_size: 0x800n, uptr: ARRAY }, wanted)
    }
    const reads = (bitmap: number, { flags = 0, page_size = 0x800n } = {}): void => {
      t.fill(ARRAY, 8n, 0)
      t.step(
        'HWPT_GET_DIRTY_BITMAP',
        { hwpt_id: 5, flags, iova: A, length: 0x2000n, page_size, data: ARRAY },
        ok(),
      )
      t.sees(ARRAY, [bitmap, 0])
    }
    mark(0x05, fails('EINVAL'))
    t.step('HWPT_SET_DIRTY_TRACKING', { hwpt_id: 5, flags: 1 }, ok())
    mark(0x05, ok({ out_nr_dirty: 2n }))
    reads(0x05)
    reads(0x00)
    mark(0x02, ok({ out_nr_dirty: 1n }))
    reads(0x01, { flags: NO_CLEAR })
    reads(0x01)
    reads(0x00)
    mark(0x0f, ok({ out_nr_dirty: 4n }))
    reads(0x03, { page_size: 0x1000n })
    mark(0x01, fails('EINVAL'), A, 4)
    t.step(
      'HWPT_GET_DIRTY_BITMAP',
      { hwpt_id: 4, iova: A, length: 0x2000n, page_size: 0x800n, data: ARRAY },
      fails('EOPNOTSUPP'),
    )
    mark(0x01, ok({ out_nr_dirty: 1n }), 0x2000000n)
    reads(0x00)
    t.step('HWPT_SET_DIRTY_TRACKING', { hwpt_id: 5, flags: 0 }, ok())
    mark(0x01, fails('EINVAL'))
  },
  { needs },
)

/** Context with a device, a nest parent (5) and what `make` puts on it. */
const nestParent = (t: Steps): void => {
  oneDevice(t)
  hwptAlloc(t, { flags: NEST_PARENT, dev_id: 3, pt_id: 1 }, ok({ out_hwpt_id: 5 }))
}

const invalidate = (
  t: Steps,
  hwpt_id: number,
  requests: readonly number[],
  wanted: Expectation,
  {
    data_type = SELFTEST,
    entry_len = 8,
    entry_num,
  }: { data_type?: number; entry_len?: number; entry_num?: number } = {},
): void => {
  t.poke(ARRAY, words(...requests))
  const data_uptr = ARRAY
  const count = entry_num ?? (requests.length * 4) / entry_len
  t.step('HWPT_INVALIDATE', { hwpt_id, data_uptr, data_type, entry_len, entry_num: count }, wanted)
}
const handled = (entry_num: number): Expectation => ok({ entry_num })

const ALL = 1

export const iotlb = example(
  '05 §A.12.14 IOTLB words',
  (t) => {
    nestParent(t)
    hwptAlloc(t, { dev_id: 3, pt_id: 5 }, ok({ out_hwpt_id: 6 }), words(0x0badbeef, 0))
    const check = (entry_id: number, iotlb: number, wanted = ok(), id = 6): void =>
      T(t, 'MD_CHECK_IOTLB', { id, entry_id, iotlb }, wanted)
    check(3, 0x0badbeef)
    check(4, 0x0badbeef, fails('EINVAL'))
    check(3, 0x0badbeef, fails('ENOENT'), 5)
    invalidate(t, 6, [0, 0, 0xffffffff, 1], fails('EOPNOTSUPP', { entry_num: 1 }))
    check(0, 0)
    check(1, 0x0badbeef)
    invalidate(t, 6, [ALL, 3], handled(1))
    for (const entry of [0, 1, 2, 3]) check(entry, 0)
    invalidate(t, 6, [ALL, 4], fails('EINVAL', { entry_num: 0 }))
    invalidate(t, 6, [0, 0], fails('EINVAL', { entry_num: 0 }), { entry_len: 9, entry_num: 1 })
    invalidate(t, 6, [], fails('EINVAL'), { data_type: 0xdadbeef, entry_num: 0 })
    invalidate(t, 5, [0, 0], fails('EINVAL', { entry_num: 0 }))
    invalidate(t, 4711, [0, 0], fails('ENOENT', { entry_num: 0 }))
  },
  { needs },
)

const viommuAlloc = (
  t: Steps,
  wanted: Expectation,
  { data_len = 24, type = SELFTEST, hwpt_id = 5 } = {},
): void =>
  t.step(
    'VIOMMU_ALLOC',
    { dev_id: 3, hwpt_id, type, data_len, data_uptr: data_len === 0 ? 0n : ARRAY },
    wanted,
  )

export const viommuData = example(
  '05 §A.12.15 vIOMMU data and its pages',
  (t) => {
    nestParent(t)
    hwptAlloc(t, { dev_id: 3, pt_id: 5 }, ok({ out_hwpt_id: 6 }), words(0x0badbeef, 0))
    t.poke(ARRAY, words(0xbeef, 0, 0, 0, 0, 0))
    viommuAlloc(t, ok({ out_viommu_id: 7 }))
    t.sees(ARRAY, words(0xbeef, 0xbeef, 0x1000, 0, 8192, 0))
    viommuAlloc(t, ok({ out_viommu_id: 8 }))
    t.sees(ARRAY, words(0xbeef, 0xbeef, 0x3000, 0, 8192, 0))
    viommuAlloc(t, fails('EINVAL'), { data_len: 7 })
    viommuAlloc(t, fails('EINVAL'), { data_len: 25 })
    viommuAlloc(t, fails('EOPNOTSUPP'), { type: 0xdead })
    viommuAlloc(t, fails('EINVAL'), { hwpt_id: 4 })
    const ENXIO = -6
    t.plain(`mapfd ${SPARE} 8192 rw shared 0 0x1000`, 0)
    t.sees(SPARE, words(0xbeef))
    for (const [length, offset] of [
      [4096, 0x1000],
      [16384, 0x1000],
      [8192, 0x2000],
      [8192, 0x5000],
    ])
      t.plain(`mapfd ${SPARE + 0x100000n} ${length} rw shared 0 ${offset}`, ENXIO)
    t.plain(`mapfd ${SPARE + 0x100000n} 8192 rw private 0 0x1000`, -22)
    t.plain(`mapfd ${SPARE + 0x100000n} 8192 rx shared 0 0x1000`, -1)
    destroy(t, 7, fails('EBUSY'))
    t.unmapMemory(SPARE, 8192n)
    destroy(t, 7)
    viommuAlloc(t, ok({ out_viommu_id: 7 }))
    t.sees(ARRAY, words(0xbeef, 0xbeef, 0x1000, 0, 8192, 0))
  },
  { needs },
)

export const viommuCache = example(
  '05 §A.5.2 vIOMMU cache invalidation',
  (t) => {
    nestParent(t)
    viommuAlloc(t, ok({ out_viommu_id: 6 }), { data_len: 0 })
    t.step('VDEVICE_ALLOC', { viommu_id: 6, dev_id: 3, virt_id: 0x99n }, ok({ out_vdevice_id: 7 }))
    const CACHE = 0x00baddad
    const check = (...cache: number[]): void => {
      for (const [entry_id, value] of cache.entries())
        T(t, 'DEV_CHECK_CACHE', { id: 3, entry_id, cache: value })
    }
    check(CACHE, CACHE, CACHE, CACHE)
    T(t, 'DEV_CHECK_CACHE', { id: 3, entry_id: 4, cache: CACHE }, fails('EINVAL'))
    T(t, 'DEV_CHECK_CACHE', { id: 2, entry_id: 0, cache: CACHE }, fails('ENOENT'))
    const vIotlb = { entry_len: 12 }
    const one = (flags: number, virtId: number, cache: number): number[] => [flags, virtId, cache]
    invalidate(t, 6, one(0, 0x99, 1), handled(1), vIotlb)
    check(CACHE, 0, CACHE, CACHE)
    invalidate(
      t,
      6,
      [...one(0, 0x99, 2), ...one(0, 9, 0)],
      fails('EINVAL', { entry_num: 1 }),
      vIotlb,
    )
    check(CACHE, 0, 0, CACHE)
    invalidate(t, 6, one(2, 0x99, 0), fails('EOPNOTSUPP', { entry_num: 0 }), vIotlb)
    invalidate(t, 6, one(ALL, 0x99, 4), fails('EINVAL', { entry_num: 0 }), vIotlb)
    invalidate(t, 6, [], ok(), { entry_len: 12, entry_num: 0 })
    invalidate(t, 6, [], fails('EINVAL'), { entry_len: 12, entry_num: 0, data_type: 0xdadbeef })
    invalidate(t, 6, [0, 0x99, 3, 0], handled(1), { entry_len: 16 })
    check(CACHE, 0, 0, 0)
    invalidate(t, 6, [0, 0x99, 0, 1], fails('E2BIG', { entry_num: 0 }), { entry_len: 16 })
    invalidate(t, 6, [0, 0x99], handled(1), { entry_len: 8 })
    check(0, 0, 0, 0)
    invalidate(t, 6, [ALL, 0x99, 3], handled(1), vIotlb)
  },
  { needs },
)

export const hwQueues = example(
  '05 §A.12.16 Hardware queues',
  (t) => {
    nestParent(t)
    viommuAlloc(t, ok({ out_viommu_id: 6 }), { data_len: 0 })
    const queue = (
      index: number,
      wanted: Expectation,
      { nesting_parent_iova = A, length = 0x1000n, type = SELFTEST } = {},
    ): void =>
      t.step('HW_QUEUE_ALLOC', { viommu_id: 6, type, index, nesting_parent_iova, length }, wanted)
    queue(0, fails('ENOENT'))
    buf(t)
    mapFixed(t, A, 0x1000n)
    queue(1, fails('EIO'))
    queue(2, fails('EINVAL'))
    queue(0, ok({ out_hw_queue_id: 7 }))
    queue(0, fails('EEXIST'))
    unmap(t, A, 0x1000n, fails('EBUSY'))
    queue(1, ok({ out_hw_queue_id: 9 }), { nesting_parent_iova: A + 0x800n, length: 0x800n })
    destroy(t, 7, fails('EBUSY'))
    destroy(t, 8, fails('EBUSY'))
    destroy(t, 9)
    destroy(t, 7)
    unmap(t, A, 0x1000n)
    queue(0, fails('EOPNOTSUPP'), { type: 0 })
    queue(0, fails('EINVAL'), { length: 0n })
    queue(0, fails('EOVERFLOW'), { nesting_parent_iova: MAX, length: 4096n })
  },
  { needs },
)

const EVENTS = 1
const replaceBy = (t: Steps, pt_id: number, wanted = ok()): void =>
  T(t, 'MOCK_DOMAIN_REPLACE', { id: 2, pt_id }, wanted)

export const vevents = example(
  '05 §A.12.17 and .18 vEVENTs, and the tombstone',
  (t) => {
    nestParent(t)
    viommuAlloc(t, ok({ out_viommu_id: 6 }), { data_len: 0 })
    hwptAlloc(t, { dev_id: 3, pt_id: 6 }, ok({ out_hwpt_id: 7 }), words(0x0badbeef, 0))
    replaceBy(t, 7, fails('ENOENT'))
    t.step('VDEVICE_ALLOC', { viommu_id: 6, dev_id: 3, virt_id: 0x99n }, ok({ out_vdevice_id: 8 }))
    replaceBy(t, 7)
    destroy(t, 4, fails('ENOENT'))
    const trigger = (wanted = ok()): void => T(t, 'TRIGGER_VEVENT', { dev_id: 3 }, wanted)
    trigger(fails('EOPNOTSUPP'))
    t.step(
      'VEVENTQ_ALLOC',
      { viommu_id: 6, type: 0xbeefbeef, veventq_depth: 2 },
      ok({ out_veventq_id: 4, out_veventq_fd: anything }),
    )
    t.takeDescriptor('VEVENTQ_ALLOC', 'out_veventq_fd', EVENTS)
    trigger()
    trigger()
    trigger()
    const read = (length: number, wanted: number): void =>
      t.plain(`read ${EVENTS} ${ARRAY} ${length}`, wanted)
    read(36, 32)
    t.sees(ARRAY, words(0, 0, 0x99, 0, 1, 0x99, 1, 2))
    trigger()
    read(8, -22)
    read(36, 12)
    t.sees(ARRAY, words(0, 3, 0x99))
    read(8, 0)
    read(7, -22)
    replaceBy(t, 1, ok({ pt_id: 9 }))
    trigger(fails('ENOENT'))

    destroy(t, 2)
    destroy(t, 8, fails('ENOENT'))
    t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 2 }))
    t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 3 }))
    t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: anything }))
  },
  { needs },
)

const FAULTS = 1

export const faults = example(
  '05 §A.12.19 Faults',
  (t) => {
    nestParent(t)
    t.step('FAULT_QUEUE_ALLOC', {}, ok({ out_fault_id: 6, out_fault_fd: anything }))
    t.takeDescriptor('FAULT_QUEUE_ALLOC', 'out_fault_fd', FAULTS)
    hwptAlloc(
      t,
      { flags: FAULT_ID_VALID, fault_id: 6, dev_id: 3, pt_id: 5 },
      ok({ out_hwpt_id: 7 }),
      words(0x0badbeef, 0),
    )
    const trigger = (dev_id: number, pasid: number, wanted = ok()): void =>
      T(t, 'TRIGGER_IOPF', { dev_id, pasid, grpid: 2, perm: 3, addr: 0xdeadbeafn }, wanted)
    const read = (wanted: number): void => t.plain(`read ${FAULTS} ${ARRAY} 40`, wanted)
    trigger(3, 1)
    read(0)
    replaceBy(t, 7)
    trigger(3, 1)
    read(40)
    t.sees(ARRAY, words(3, 3, 1, 2, 3, 0, 0xdeadbeaf, 0, 0, 1))
    t.poke(ARRAY, words(1, 0))
    t.plain(`write ${FAULTS} ${ARRAY} 8`, 8)
    t.plain(`write ${FAULTS} ${ARRAY} 8`, -22)
    trigger(3, 0)
    read(40)
    t.sees(ARRAY, words(2, 3, 0, 2, 3, 0, 0xdeadbeaf, 0, 0, 1))
    trigger(2, 0, fails('ENOENT'))
  },
  { needs },
)
