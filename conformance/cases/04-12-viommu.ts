/** 04 §12 E8 to E10, E15 to E17: vIOMMUs, vDEVICEs, hardware queues, mmap. */
import { example, fails, ok, type Steps, words } from '../example.ts'
import { ARRAY, MAX, PAGE, SPARE } from '../places.ts'
import { F, R, W } from './flags.ts'
import {
  alignment,
  allocHwpt,
  buf,
  destroy,
  HW_QUEUE_SELFTEST,
  map,
  mockDevice,
  NEST_PARENT,
  replace,
  s1,
  s2,
  unmap,
  VIOMMU_SELFTEST,
  X,
} from './setups.ts'

const needs = { needs: ['test-interface'] } as const

const viommu = (t: Steps, fields: object, wanted = ok()): void =>
  t.step('VIOMMU_ALLOC', { type: VIOMMU_SELFTEST, dev_id: 3, hwpt_id: 5, ...fields }, wanted)

export const e8 = example(
  '04 §12 E8 IOMMU_VIOMMU_ALLOC errors',
  (t) => {
    s1(t)
    allocHwpt(t, 1, NEST_PARENT, ok({ out_hwpt_id: 5 }))
    allocHwpt(t, 1, 0, ok({ out_hwpt_id: 6 }))
    viommu(t, { type: 0 }, fails('EOPNOTSUPP'))
    viommu(t, { flags: 1 }, fails('EOPNOTSUPP'))
    viommu(t, { type: 0xdead, hwpt_id: 0 }, fails('EOPNOTSUPP'))
    viommu(t, { dev_id: 2 }, fails('ENOENT'))
    viommu(t, { hwpt_id: 1 }, fails('ENOENT'))
    viommu(t, { hwpt_id: 6 }, fails('EINVAL'))
    viommu(t, { data_len: 4, data_uptr: ARRAY }, fails('EINVAL'))
    viommu(t, { data_len: 25, data_uptr: ARRAY }, fails('EINVAL'))
    viommu(t, { data_len: 24 }, fails('EFAULT'))
    viommu(t, { __reserved: 7, data_uptr: 1n }, ok({ out_viommu_id: 7 }))
    destroy(t, 5, fails('EBUSY'))
    destroy(t, 7)
    destroy(t, 5)
  },
  needs,
)

const vdevice = (
  t: Steps,
  viommu_id: number,
  dev_id: number,
  virt_id: bigint,
  wanted = ok(),
): void => t.step('VDEVICE_ALLOC', { viommu_id, dev_id, virt_id }, wanted)

export const e9 = example(
  '04 §12 E9 vDEVICE rules',
  (t) => {
    s2(t)
    replace(t, 2, 7, fails('ENOENT'))
    vdevice(t, 5, 3, 0x99n, fails('ENOENT'))
    vdevice(t, 6, 2, 0x99n, fails('ENOENT'))
    vdevice(t, 6, 3, 0x99n, ok({ out_vdevice_id: 8 }))
    vdevice(t, 6, 3, 0x98n, fails('EEXIST'))
    mockDevice(t, 1, [9, 10, 4])
    vdevice(t, 6, 10, 0x99n, fails('EEXIST'))
    vdevice(t, 6, 10, 0x9an, ok({ out_vdevice_id: 11 }))
    replace(t, 2, 7)
    destroy(t, 6, fails('EBUSY'))
    destroy(t, 8)
  },
  needs,
)

export const e10 = example(
  '04 §12 E10 Tombstone',
  (t) => {
    s2(t)
    vdevice(t, 6, 3, 0x99n, ok({ out_vdevice_id: 8 }))
    destroy(t, 2)
    for (const id of [8, 3, 4]) destroy(t, id, fails('ENOENT'))
    for (const id of [2, 3, 4, 9]) t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: id }))
    destroy(t, 6, fails('EBUSY'))
    destroy(t, 7)
    destroy(t, 6)
    destroy(t, 5)
  },
  needs,
)

const queue = (t: Steps, fields: object, wanted = ok()): void =>
  t.step(
    'HW_QUEUE_ALLOC',
    {
      viommu_id: 6,
      type: HW_QUEUE_SELFTEST,
      nesting_parent_iova: X,
      length: 0x1000n,
      ...fields,
    },
    wanted,
  )

export const e15 = example(
  '04 §12 E15 Hardware queues',
  (t) => {
    s2(t)
    alignment(t, 2048n)
    queue(t, { type: 0 }, fails('EOPNOTSUPP'))
    queue(t, { length: 0n }, fails('EINVAL'))
    queue(t, { nesting_parent_iova: MAX }, fails('EOVERFLOW'))
    queue(t, { index: 7 }, fails('ENOENT'))
    map(t, X, buf, 0x1000n)
    map(t, X + 0x1000n, buf + 0x1000n, 0x1000n)
    queue(t, { index: 1 }, fails('EIO'))
    queue(t, { index: 2 }, fails('EINVAL'))
    queue(t, {}, ok({ out_hw_queue_id: 8 }))
    destroy(t, 9, fails('EBUSY'))
    alignment(t, 4096n)
    queue(t, {}, fails('EEXIST'))
    unmap(t, X, 0x1000n, fails('EBUSY'))
    queue(
      t,
      { index: 1, nesting_parent_iova: X + 0x800n, length: 0x800n },
      ok({ out_hw_queue_id: 10 }),
    )
    destroy(t, 8, fails('EBUSY'))
    destroy(t, 6, fails('EBUSY'))
    destroy(t, 10)
    destroy(t, 8)
    unmap(t, X, 0x1000n)
    alignment(t, 2048n)
  },
  needs,
)

export const e16 = example(
  '04 §12 E16 Hardware queue and mappings',
  (t) => {
    s2(t)
    map(t, X, buf, 0x1000n, ok(), { flags: W | F })
    queue(t, {}, fails('EPERM'))
    unmap(t, X, 0x1000n)
    map(t, X, buf, 0x1000n, ok(), { flags: R | F })
    queue(t, {}, ok({ out_hw_queue_id: 8 }))
    destroy(t, 8)
    unmap(t, X, 0x1000n)
    map(t, X + 0x10800n, buf + 0x800n, 0x1000n)
    queue(t, {}, fails('EADDRINUSE'))
    unmap(t, X + 0x10800n, 0x1000n)
    map(t, X, buf, 0x1000n)
    map(t, X + 0x1000n, buf + 0x1000n, 0x1000n)
    queue(t, { nesting_parent_iova: X + 0x1000n }, ok({ out_hw_queue_id: 8 }))
    unmap(t, X, 0x2000n, fails('EBUSY'))
    unmap(t, X, 0x1000n, fails('ENOENT'))
  },
  needs,
)

export const e17 = example(
  '04 §12 E17 mmap',
  (t) => {
    s2(t)
    t.poke(ARRAY, words(0xbeef, 0, 0, 0, 0, 0))
    viommu(t, { data_len: 24, data_uptr: ARRAY }, ok({ out_viommu_id: 8 }))
    const O = 0x1000
    t.sees(ARRAY, words(0xbeef, 0xbeef, O, 0, 0x2000, 0))
    const mmap = (length: number, how: string, offset: number, wanted: number): void =>
      t.plain(`mapfd ${SPARE} ${length} ${how} 0 ${offset}`, wanted)
    const [ENXIO, EINVAL, EPERM] = [-6, -22, -1]
    mmap(0x2000, 'rw shared', O + 0x1000, ENXIO)
    mmap(0x2000, 'rw shared', O + 0x2000, ENXIO)
    mmap(0x1000, 'rw shared', O, ENXIO)
    mmap(0x4000, 'rw shared', O, ENXIO)
    mmap(0x2000, 'rw private', O, EINVAL)
    mmap(0x2000, 'rx shared', O, EPERM)
    mmap(0x1fff, 'rw shared', O, 0)
    t.sees(SPARE, words(0xbeef))
    destroy(t, 8, fails('EBUSY'))
    t.unmapMemory(SPARE, PAGE)
    destroy(t, 8, fails('EBUSY'))
    t.unmapMemory(SPARE + PAGE, PAGE)
    destroy(t, 8)
    mmap(0x2000, 'rw shared', O, ENXIO)
  },
  needs,
)

export const sharedPages = example(
  '04 §12 E17, more: what one process writes to a region another sees',
  (t) => {
    s2(t)
    t.poke(ARRAY, words(0x77, 0, 0, 0, 0, 0))
    viommu(t, { data_len: 24, data_uptr: ARRAY }, ok({ out_viommu_id: 8 }))
    t.plain(`mapfd ${SPARE} 0x2000 rw shared 0 0x1000`, 0)
    t.fork(1)
    t.in(1, () => {
      t.poke(SPARE + 0x1004n, words(0x1234))
    })
    t.sees(SPARE + 0x1004n, words(0x1234))
    t.unmapMemory(SPARE, 2n * PAGE)
    // The child's mapping still holds the vIOMMU.
    destroy(t, 8, fails('EBUSY'))
    t.exit(1)
    destroy(t, 8)
  },
  needs,
)
