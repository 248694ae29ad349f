/** 05 §A.12, examples 1 to 7 and 20 to 24: mock devices, their page tables, dma-bufs, reservations. */
import { anything, example, fails, ok, ranges, type Steps, words } from '../example.ts'
import { ARRAY, B, MAX, UNMAPPED } from '../places.ts'
import { F, R, W } from './flags.ts'
import {
  A,
  buf,
  DIRTY_TRACKING,
  destroy,
  fdOf,
  hwptAlloc,
  mapFixed,
  mockDevice,
  oneDevice,
  oneIoas,
  PASID,
  T,
  unmap,
} from './mock.ts'

const needs = ['test-interface'] as const

export const idsAndSharing = example(
  '05 §A.12.1 IDs and sharing',
  (t) => {
    oneIoas(t)
    mockDevice(t, 1, [2, 3, 4])
    mockDevice(t, 1, [5, 6, 4])
    destroy(t, 3, fails('EBUSY'))
    destroy(t, 4, fails('EBUSY'))
    destroy(t, 1, fails('EBUSY'))
    destroy(t, 2)
    destroy(t, 3, fails('ENOENT'))
    destroy(t, 4, fails('EBUSY'))
    mockDevice(t, 4, [2, 3, 4])
    destroy(t, 2)
    destroy(t, 5)
    destroy(t, 4, fails('ENOENT'))
    destroy(t, 1)
  },
  { needs },
)

export const failureLeavesNoIds = example(
  '05 §A.12.2 Failure leaves no IDs',
  (t) => {
    oneIoas(t)
    T(t, 'MOCK_DOMAIN_FLAGS', { id: 999, dev_flags: 2 }, fails('EINVAL'))
    T(t, 'MOCK_DOMAIN', { id: 999 }, fails('ENOENT'))
    T(t, 'MOCK_DOMAIN', { id: 0 }, fails('ENOENT'))
    t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 2 }))
    mockDevice(t, 1, [3, 4, 5])
    T(t, 'MOCK_DOMAIN', { id: 3 }, fails('EINVAL'))
  },
  { needs },
)

const REQUEST = 0x3ba0

export const sizeRules = example(
  '05 §A.12.3 Size rules',
  (t) => {
    t.open()
    T(t, 'ADD_RESERVED', { size: 67 }, fails('EINVAL'))
    t.step('TEST_ADD_RESERVED', { size: 68, op: 24 }, fails('EOPNOTSUPP'))
    t.step('TEST_SET_TEMP_MEMORY_LIMIT', { size: 80, op: 9, limit: 65536 }, ok(), {
      tail: [0, 0, 0, 0, 0, 0, 0, 0],
    })
    t.step('TEST_SET_TEMP_MEMORY_LIMIT', { size: 80, op: 9, limit: 65536 }, fails('E2BIG'), {
      tail: [0, 0, 0, 0, 0, 0, 0, 1],
    })
    T(t, 'SET_TEMP_MEMORY_LIMIT', { limit: 11 }, fails('EINVAL'))
    T(t, 'SET_TEMP_MEMORY_LIMIT', { limit: 12 })
    T(t, 'SET_TEMP_MEMORY_LIMIT', { limit: 65536 })
    t.ioctl(0x3b9f, 0n, fails('EFAULT'))
    t.ioctl(0x3b9f, ARRAY, fails('ENOTTY'))
    t.ioctl(REQUEST, 0n, fails('EFAULT'))
  },
  { needs },
)

export const aperture = example(
  '05 §A.12.4 Aperture',
  (t) => {
    oneIoas(t)
    buf(t)
    mapFixed(t, 0n, 0x1000n)
    T(t, 'MOCK_DOMAIN', { id: 1 }, fails('EADDRINUSE'))
    unmap(t, 0n, 0x1000n)
    mockDevice(t, 1, [2, 3, 4])
    mapFixed(t, 0n, 0x1000n, fails('EINVAL'))
    mapFixed(t, 0x1000400n, 0x1000n, fails('EINVAL'))
    mapFixed(t, 0x1000800n, 0x1000n)
    mapFixed(t, 0x7ffff000n, 0x1000n)
    mapFixed(t, 0x80000000n, 0x1000n, fails('EINVAL'))
    t.step(
      'IOAS_IOVA_RANGES',
      { ioas_id: 1, num_iovas: 2, allowed_iovas: ARRAY },
      ok({ num_iovas: 1, out_iova_alignment: 2048 }),
    )
    t.sees(ARRAY, ranges([A, 0x7fffffffn]))
  },
  { needs },
)

export const misalignedMapping = example(
  '05 §A.12.5 A misaligned mapping blocks the domain',
  (t) => {
    oneIoas(t)
    buf(t)
    mapFixed(t, A, 100n)
    T(t, 'MOCK_DOMAIN', { id: 1 }, fails('EADDRINUSE'))
    T(t, 'CREATE_ACCESS', { id: 1, flags: 1 }, fails('EADDRINUSE'))
    T(t, 'CREATE_ACCESS', { id: 1, flags: 0 }, ok({ out_access_fd: anything }))
    T(t, 'CREATE_ACCESS', { id: 1, flags: 2 }, fails('EOPNOTSUPP'))
  },
  { needs },
)

export const hwInfo = example(
  '05 §A.12.6 Hardware information',
  (t) => {
    oneDevice(t)
    const answer = {
      data_len: 8,
      out_data_type: 0xfeedbeef,
      out_capabilities: 9n,
      out_max_pasid_log2: 0,
    }
    t.fill(ARRAY, 32n, 0xaa)
    t.step('GET_HW_INFO', { dev_id: 3, data_len: 8, data_uptr: ARRAY }, ok(answer))
    t.sees(ARRAY, words(0, 0xdeadbeef, 0xaaaaaaaa))
    t.fill(ARRAY, 32n, 0xaa)
    t.step('GET_HW_INFO', { dev_id: 3, data_len: 4, data_uptr: ARRAY }, ok(answer))
    t.sees(ARRAY, words(0, 0xaaaaaaaa))
    t.step('GET_HW_INFO', { dev_id: 3, data_len: 16, data_uptr: ARRAY }, ok(answer))
    t.sees(ARRAY, words(0, 0xdeadbeef, 0, 0, 0xaaaaaaaa))
    t.step(
      'GET_HW_INFO',
      { dev_id: 3, flags: 1, in_data_type: 0xfeedbef0, data_len: 8, data_uptr: ARRAY },
      fails('EOPNOTSUPP'),
    )
    T(
      t,
      'MOCK_DOMAIN_FLAGS',
      { id: 1, dev_flags: 5 },
      ok({ out_stdev_id: 5, out_idev_id: 6, out_hwpt_id: 4 }),
    )
    t.step(
      'GET_HW_INFO',
      { dev_id: 6, data_len: 8, data_uptr: ARRAY },
      ok({ ...answer, out_capabilities: 8n, out_max_pasid_log2: 20 }),
    )
  },
  { needs },
)

export const checkMap = example(
  '05 §A.12.7 MD_CHECK_MAP',
  (t) => {
    oneDevice(t)
    buf(t)
    mapFixed(t, A, 0x4000n)
    const check = (iova: bigint, length: bigint, uptr: bigint, wanted = ok(), id = 4): void =>
      T(t, 'MD_CHECK_MAP', { id, iova, length, uptr }, wanted)
    check(A, 0x4000n, B)
    check(A + 0x800n, 0x800n, B + 0x800n)
    check(A + 0x800n, 0x800n, B, fails('EINVAL'))
    check(A + 0x400n, 0x800n, B + 0x400n, fails('EINVAL'))
    check(0x2000000n, 0x1000n, B, fails('EINVAL'))
    check(A, 0x1000n, UNMAPPED, fails('EFAULT'))
    check(A, 0n, B)
    check(A, 0x1000n, B, fails('ENOENT'), 1)
  },
  { needs },
)

export const checkRefs = example(
  '05 §A.12.8 MD_CHECK_REFS',
  (t) => {
    oneDevice(t)
    buf(t)
    const refs = (uptr: bigint, length: bigint, count: number, wanted = ok()): void =>
      T(t, 'MD_CHECK_REFS', { uptr, length, refs: count }, wanted)
    mapFixed(t, A, 0x4000n)
    refs(B, 0x4000n, 1)
    refs(B, 0x4000n, 0, fails('EIO'))
    refs(B, 0x5000n, 1, fails('EIO'))
    mapFixed(t, 0x2000000n, 0x1000n)
    refs(B, 0x1000n, 2)
    t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 5 }))
    mockDevice(t, 5, [6, 7, 8])
    t.step(
      'IOAS_COPY',
      {
        flags: R | W | F,
        dst_ioas_id: 5,
        src_ioas_id: 1,
        length: 0x1000n,
        dst_iova: A,
        src_iova: A,
      },
      ok(),
    )
    refs(B, 0x1000n, 2)
    refs(B + 1n, 0x1000n, 0, fails('EINVAL'))
    unmap(t, A, 0x4000n)
    unmap(t, 0x2000000n, 0x1000n)
    refs(B, 0x1000n, 1)
    unmap(t, A, 0x1000n, ok(), 5)
    refs(B, 0x4000n, 0)
  },
  { needs },
)

export const pasids = example(
  '05 §A.12.20 and .21 PASIDs, and the rigged one',
  (t) => {
    oneIoas(t)
    T(
      t,
      'MOCK_DOMAIN_FLAGS',
      { id: 1, dev_flags: 4 },
      ok({ out_stdev_id: 2, out_idev_id: 3, out_hwpt_id: 4 }),
    )
    hwptAlloc(t, { flags: PASID, dev_id: 3, pt_id: 1 }, ok({ out_hwpt_id: 5 }))
    hwptAlloc(t, { flags: 0, dev_id: 3, pt_id: 1 }, ok({ out_hwpt_id: 6 }))
    const attach = (pasid: number, pt_id: number, wanted = ok()): void =>
      T(t, 'PASID_ATTACH', { id: 2, pasid, pt_id }, wanted)
    const replace = (pasid: number, pt_id: number, wanted = ok()): void =>
      T(t, 'PASID_REPLACE', { id: 2, pasid, pt_id }, wanted)
    const check = (pasid: number, hwpt_id: number, wanted = ok()): void =>
      T(t, 'PASID_CHECK_HWPT', { id: 2, pasid, hwpt_id }, wanted)
    attach(100, 5, fails('EINVAL'))
    T(t, 'MOCK_DOMAIN_REPLACE', { id: 2, pt_id: 5 })
    attach(100, 5)
    check(100, 5)
    check(100, 6, fails('EINVAL'))
    check(100, 0, fails('EINVAL'))
    check(100, 999, fails('ENOENT'))
    attach(100, 6, fails('EBUSY'))
    replace(100, 6, fails('EINVAL'))
    T(t, 'MOCK_DOMAIN_REPLACE', { id: 2, pt_id: 6 }, fails('EINVAL'))
    T(t, 'MOCK_DOMAIN_REPLACE', { id: 2, pt_id: 1 }, fails('EINVAL'))
    attach(0x100000, 5, fails('EINVAL'))
    attach(0xfffff, 5)
    attach(7, 1, fails('EINVAL'))
    replace(8, 5, fails('EINVAL'))
    T(t, 'PASID_DETACH', { id: 2, pasid: 100 })
    T(t, 'PASID_DETACH', { id: 2, pasid: 100 })
    check(100, 0)
    attach(0, 5, fails('EBUSY'))
    T(t, 'PASID_DETACH', { id: 2, pasid: 0xfffff })

    hwptAlloc(t, { flags: PASID, dev_id: 3, pt_id: 1 }, ok({ out_hwpt_id: 4 }))
    attach(1024, 5)
    replace(1024, 4, fails('ENOMEM'))
    check(1024, 5)
    replace(1024, 4)
    replace(1024, 5, fails('ENOMEM'))
    T(t, 'PASID_DETACH', { id: 2, pasid: 1024 })
    attach(1024, 5)
    T(t, 'PASID_DETACH', { id: 2, pasid: 1024 })
  },
  { needs },
)

const O_CLOEXEC = 0x80000

const getDmaBuf = (t: Steps, length: number, slot: number): void => {
  t.descriptorStep('TEST_DMABUF_GET', { op: 22, length, open_flags: O_CLOEXEC }, slot)
}

export const dmaBufs = example(
  '05 §A.12.22 dma-bufs',
  (t) => {
    oneDevice(t)
    t.step('TEST_DMABUF_GET', { op: 22, length: 0 }, fails('EINVAL'))
    T(t, 'DMABUF_GET', { length: 0x200001 }, fails('EINVAL'))
    getDmaBuf(t, 0x4000, 1)
    const file = (
      wanted: ReturnType<typeof ok>,
      fields: Record<string, bigint | number> = {},
    ): void =>
      t.step(
        'IOAS_MAP_FILE',
        { flags: R | W, ioas_id: 1, fd: fdOf(1), start: 0n, length: 0x4000n, ...fields },
        wanted,
      )
    file(fails('EINVAL'), { length: 0n })
    file(fails('EINVAL'), { start: 0x4000n })
    file(fails('EINVAL'), { length: 0x4001n })
    file(ok({ iova: A }))
    T(t, 'DMABUF_REVOKE', { dmabuf_fd: fdOf(1), revoked: 1 })
    hwptAlloc(t, { dev_id: 3, pt_id: 1 }, ok({ out_hwpt_id: 5 }))
    file(fails('ENODEV'))
    T(t, 'DMABUF_REVOKE', { dmabuf_fd: fdOf(1), revoked: 0 })
    file(ok({ iova: A + 0x4000n }))
    unmap(t, A, 0x4000n)
    file(ok(), { flags: R | W | F, iova: A })
    T(t, 'DMABUF_REVOKE', { dmabuf_fd: fdOf(1), revoked: 0 })
    unmap(t, A, 0x4000n)
    unmap(t, A + 0x4000n, 0x4000n)
    getDmaBuf(t, 1, 2)
    t.step(
      'IOAS_MAP_FILE',
      { flags: R | W, ioas_id: 1, fd: fdOf(2), start: 0n, length: 0x1000n },
      ok({ iova: anything }),
    )
    t.plain('memfd 3 4096', 0)
    T(t, 'DMABUF_REVOKE', { dmabuf_fd: fdOf(3), revoked: 1 }, fails('EINVAL'))
    T(t, 'DMABUF_REVOKE', { dmabuf_fd: -1, revoked: 1 }, fails('EBADF'))
  },
  { needs },
)

export const reserved = example(
  '05 §A.12.23 Reserved ranges',
  (t) => {
    oneIoas(t)
    buf(t)
    const reserve = (start: bigint, length: bigint, wanted = ok(), id = 1): void =>
      T(t, 'ADD_RESERVED', { id, start, length }, wanted)
    reserve(0x1000n, 0x1000n)
    t.step(
      'IOAS_IOVA_RANGES',
      { ioas_id: 1, num_iovas: 2, allowed_iovas: ARRAY },
      ok({ num_iovas: 2, out_iova_alignment: 1 }),
    )
    t.sees(ARRAY, ranges([0n, 0xfffn], [0x2000n, MAX]))
    reserve(0x1000n, 0n, fails('EINVAL'))
    reserve(MAX, 2n, fails('EOVERFLOW'))
    mapFixed(t, 0x1000n, 0x1000n, fails('EINVAL'))
    t.poke(ARRAY, ranges([0n, 0x5000n]))
    t.step(
      'IOAS_ALLOW_IOVAS',
      { ioas_id: 1, num_iovas: 1, allowed_iovas: ARRAY },
      fails('EADDRINUSE'),
    )
    mapFixed(t, 0x8000n, 0x1000n)
    reserve(0x8000n, 1n, fails('EADDRINUSE'))
    reserve(0x8000n, 1n, fails('ENOENT'), 0)
  },
  { needs },
)

export const noDirty = example(
  '05 §A.12.24 Devices without dirty tracking',
  (t) => {
    oneDevice(t)
    hwptAlloc(t, { flags: DIRTY_TRACKING, dev_id: 3, pt_id: 1 }, ok({ out_hwpt_id: 5 }))
    T(t, 'MOCK_DOMAIN_FLAGS', { id: 5, dev_flags: 1 }, fails('EINVAL'))
    T(
      t,
      'MOCK_DOMAIN_FLAGS',
      { id: 1, dev_flags: 1 },
      ok({ out_stdev_id: 6, out_idev_id: 7, out_hwpt_id: 4 }),
    )
    hwptAlloc(t, { flags: DIRTY_TRACKING, dev_id: 7, pt_id: 1 }, fails('EOPNOTSUPP'))
    T(t, 'MOCK_DOMAIN_REPLACE', { id: 6, pt_id: 5 }, fails('EINVAL'))
  },
  { needs },
)
