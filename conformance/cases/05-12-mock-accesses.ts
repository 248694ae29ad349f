/** 05 §A.12, examples 9 to 12: accesses with a descriptor. */
import { example, fails, ok, type Steps } from '../example.ts'
import { ARRAY, B, MAX } from '../places.ts'
import { R, W } from './flags.ts'
import { A, buf, createAccess, destroy, fdOf, mapFixed, oneIoas, T, unmap } from './mock.ts'

const needs = ['test-interface'] as const
const ACCESS = 1

const refs = (t: Steps, uptr: bigint, length: bigint, count: number, wanted = ok()): void =>
  T(t, 'MD_CHECK_REFS', { uptr, length, refs: count }, wanted)

const pin = (
  t: Steps,
  iova: bigint,
  length: bigint,
  uptr: bigint,
  wanted: ReturnType<typeof ok>,
  id = fdOf(ACCESS),
): void => T(t, 'ACCESS_PAGES', { id, iova, length, uptr }, wanted)

const item = (out_access_pages_id: number): ReturnType<typeof ok> => ok({ out_access_pages_id })

const unpin = (t: Steps, access_pages_id: number, wanted = ok()): void =>
  T(t, 'DESTROY_ACCESS_PAGES', { id: fdOf(ACCESS), access_pages_id }, wanted)

export const accessPins = example(
  '05 §A.12.9 and .10 Access pins, and unmap removes them',
  (t) => {
    oneIoas(t)
    buf(t)
    mapFixed(t, A, 0x10000n)
    refs(t, B, 0x10000n, 0)
    createAccess(t, 1, 1, ACCESS)
    pin(t, A, 0x2000n, B, item(0))
    refs(t, B, 0x2000n, 1)
    refs(t, B + 0x2000n, 0x1000n, 0)
    pin(t, A, 0x2000n, B, item(1))
    refs(t, B, 0x2000n, 1)
    pin(t, A, 0x2000n, B + 0x1000n, fails('EBADE'))
    pin(t, A + 0x800n, 0x2000n, B, fails('EINVAL'))
    pin(t, A + 0x10000n, 0x2000n, B, fails('ENOENT'))
    pin(t, A, 0n, B, fails('EINVAL'))
    pin(t, A, 0x1000001n, B, fails('ENOMEM'))
    pin(t, A, 0x2000n, B, fails('EBADFD'), 0)
    unpin(t, 0)
    unpin(t, 0, fails('ENOENT'))
    unpin(t, 7, fails('ENOENT'))
    unpin(t, 1)
    refs(t, B, 0x10000n, 0)

    pin(t, A, 0x10000n, B, item(2))
    unmap(t, A, 0x10000n)
    unpin(t, 2, fails('ENOENT'))
    refs(t, B, 0x10000n, 0)
  },
  { needs },
)

const WRITE = 1
const SLOW = 4

export const accessRw = example(
  '05 §A.12.11 CPU copies',
  (t) => {
    oneIoas(t)
    buf(t)
    mapFixed(t, A, 0x1000n)
    createAccess(t, 1, 0, ACCESS)
    const rw = (
      iova: bigint,
      length: bigint,
      flags: number,
      wanted = ok(),
      uptr: bigint = ARRAY,
    ): void => T(t, 'ACCESS_RW', { id: fdOf(ACCESS), iova, length, uptr, flags }, wanted)
    t.poke(B + 0x123n, [1, 2, 3, 4, 5, 6, 7, 8])
    for (const flags of [0, SLOW]) {
      t.fill(ARRAY, 32n, 0xee)
      rw(A + 0x123n, 16n, flags)
      t.sees(ARRAY, [1, 2, 3, 4, 5, 6, 7, 8, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0xee])
    }
    t.fill(ARRAY, 8n, 0x77)
    rw(A + 0xffcn, 8n, WRITE, fails('ENOENT'))
    t.sees(B + 0xff8n, [0x5a, 0x5a, 0x5a, 0x5a, 0x77, 0x77, 0x77, 0x77, 0x5a])
    rw(A, 0n, 0, fails('EINVAL'))
    rw(MAX, 2n, 0, fails('EOVERFLOW'))
    rw(A, 16n, 2, fails('EOPNOTSUPP'))
    T(t, 'ACCESS_PAGES', { id: fdOf(ACCESS), iova: A, length: 0x1000n }, fails('EOPNOTSUPP'))
    mapFixed(t, A + 0x10000n, 0x1000n, ok(), { flags: R })
    mapFixed(t, A + 0x20000n, 0x1000n, ok(), { flags: W })
    rw(A + 0x10000n, 16n, WRITE, fails('EPERM'))
    rw(A + 0x10000n, 16n, 0)
    rw(A + 0x20000n, 16n, 0, fails('EPERM'))
    rw(A + 0x20000n, 16n, WRITE)
  },
  { needs },
)

export const replaceAccess = example(
  '05 §A.12.12 Replace the IOAS of an access',
  (t) => {
    oneIoas(t)
    t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 2 }))
    buf(t)
    mapFixed(t, A, 0x10000n)
    mapFixed(t, A, 0x10000n, ok(), { ioas_id: 2 })
    createAccess(t, 1, 1, ACCESS)
    pin(t, A, 0x1000n, B, item(0))
    destroy(t, 1, fails('EBUSY'))
    const replace = (ioas_id: number, wanted = ok()): void =>
      T(t, 'ACCESS_REPLACE_IOAS', { id: fdOf(ACCESS), ioas_id }, wanted)
    replace(2)
    unpin(t, 0, fails('ENOENT'))
    destroy(t, 1)
    replace(2)
    replace(99, fails('ENOENT'))
    destroy(t, 3, fails('EBUSY'))
    t.close(ACCESS)
    destroy(t, 2)
  },
  { needs },
)
