/** 01 §22.13, §22.14, §22.21, and what chapter 5 says about closing: an IOAS with hardware or an access. */
import { example, fails, ok, ranges, type Steps, words } from '../example.ts'
import { ARRAY, MAX, slotFd, UNMAPPED } from '../places.ts'
import { F, R } from './flags.ts'
import {
  alignment,
  buf,
  createAccess,
  destroy,
  map,
  mockDevice,
  refs,
  s0,
  s1,
  unmap,
  X,
} from './setups.ts'

const needs = { needs: ['test-interface'] } as const

const oneRange = (t: Steps, start: bigint, last: bigint, out_iova_alignment: bigint): void => {
  t.step(
    'IOAS_IOVA_RANGES',
    { ioas_id: 1, num_iovas: 2, allowed_iovas: ARRAY },
    ok({ num_iovas: 1, out_iova_alignment }),
  )
  t.sees(ARRAY, ranges([start, last]))
}

export const apertureExample = example(
  '01 §22.13 A domain with an aperture and 2 KiB pages',
  (t) => {
    s1(t)
    oneRange(t, X, 0x7fffffffn, 2048n)
    const auto = (user_va: bigint, length: bigint, wanted = ok()): void =>
      t.step('IOAS_MAP', { flags: 6, ioas_id: 1, user_va, length }, wanted)
    auto(buf, 0x1000n, ok({ iova: X }))
    auto(buf, 0x800n, ok({ iova: 0x1001000n }))
    auto(buf + 0x800n, 0x1000n, ok({ iova: 0x1001800n }))
    auto(buf + 0x400n, 0x1000n, fails('EINVAL'))
    auto(buf, 0x10000n, ok({ iova: 0x1010000n }))
    auto(buf, 0x1000n, ok({ iova: 0x1003000n }))
    auto(buf, 0x900n, fails('EINVAL'))
    map(t, 0n, buf, 0x1000n, fails('EINVAL'))
    map(t, 0x7ffff000n, buf, 0x2000n, fails('EINVAL'))
    map(t, 0x1100400n, buf, 0x800n, fails('EINVAL'))
    map(t, X, buf, 0x1000n, fails('EEXIST'))
    t.poke(ARRAY, ranges([0n, 0x1ffffffn]))
    t.step(
      'IOAS_ALLOW_IOVAS',
      { ioas_id: 1, num_iovas: 1, allowed_iovas: ARRAY },
      fails('EADDRINUSE'),
    )
    t.step('OPTION', { option_id: 1, object_id: 1, val64: 0n }, fails('EINVAL'))
    for (const id of [1, 4, 3]) destroy(t, id, fails('EBUSY'))
    destroy(t, 2)
    oneRange(t, 0n, MAX, 1n)
    map(t, X, buf, 0x1000n, fails('EEXIST'))
    destroy(t, 4, fails('ENOENT'))
    destroy(t, 1)
  },
  needs,
)

export const attachRefused = example(
  '01 §22.14 Attach refused',
  (t) => {
    s0(t)
    const refused = (errno: 'EADDRINUSE' | 'EFAULT'): void => {
      t.test('MOCK_DOMAIN', { id: 1 }, fails(errno))
      alignment(t, 1n)
    }
    map(t, 0x10000n, buf, 0x1000n)
    refused('EADDRINUSE')
    unmap(t, 0x10000n, 0x1000n)
    map(t, X, buf, 0x100n)
    refused('EADDRINUSE')
    unmap(t, X, 0x100n)
    map(t, X, buf + 0x400n, 0x1000n)
    refused('EADDRINUSE')
    unmap(t, X, 0x1000n)
    t.poke(ARRAY, ranges([0n, 0xffffn]))
    t.step('IOAS_ALLOW_IOVAS', { ioas_id: 1, num_iovas: 1, allowed_iovas: ARRAY }, ok())
    refused('EADDRINUSE')
    t.step('IOAS_ALLOW_IOVAS', { ioas_id: 1 }, ok())
    map(t, X, UNMAPPED, 0x1000n)
    refused('EFAULT')
    unmap(t, X, 0x1000n)
    map(t, X, buf, 0x1000n)
    refs(t, buf, 0x1000n, 0)
    mockDevice(t, 1, [2, 3, 4])
    refs(t, buf, 0x1000n, 1)
  },
  needs,
)

/** Slot of the access. */
const A = 1
const access = slotFd(A)

const pin = (t: Steps, fields: object, wanted = ok()): void =>
  t.test('ACCESS_PAGES', { id: access, iova: X, length: 0x2000n, uptr: buf, ...fields }, wanted)

export const unmappableExample = example(
  '01 §22.21 Access pins and UNMAP',
  (t) => {
    s0(t)
    createAccess(t, 1, 1, A)
    map(t, X, buf, 0x10000n)
    pin(t, { length: 0x10000n, uptr: 0n, flags: 1 }, ok({ out_access_pages_id: 0 }))
    refs(t, buf, 0x10000n, 1)
    pin(t, { length: 0x11000n, uptr: 0n }, fails('ENOENT'))
    refs(t, buf, 0x10000n, 1)
    unmap(t, X, 0x8000n, fails('ENOENT'))
    refs(t, buf, 0x10000n, 1)
    unmap(t, X, 0x10000n)
    map(t, X, buf, 0x1000n, ok(), { flags: R | F })
    pin(t, { length: 0x1000n, uptr: 0n, flags: 1 }, fails('EPERM'))
    map(t, 0x1001000n, buf + 0x800n, 0x1000n, fails('EINVAL'), { flags: R | F })
    destroy(t, 1, fails('EBUSY'))
    destroy(t, 2, fails('EBUSY'))
  },
  needs,
)

export const closingUnpins = example(
  '05 §A.9.2 Closing a context drops its pins at once',
  (t) => {
    s1(t)
    map(t, X, buf, 0x10000n)
    t.open('/dev/iommu', { slot: 1 })
    t.test('MD_CHECK_REFS', { uptr: buf, length: 0x10000n, refs: 1 }, ok(), { slot: 1 })
    t.close(0)
    t.test('MD_CHECK_REFS', { uptr: buf, length: 0x10000n, refs: 0 }, ok(), { slot: 1 })
  },
  needs,
)

export const contextOutlivesDescriptor = example(
  '05 §A.13 An access keeps its context alive',
  (t) => {
    s0(t)
    map(t, X, buf, 0x1000n)
    createAccess(t, 1, 1, A)
    pin(t, { length: 0x1000n }, ok({ out_access_pages_id: 0 }))
    t.open('/dev/iommu', { slot: 3 })
    t.close(0)
    const counted = (count: number): void =>
      t.test('MD_CHECK_REFS', { uptr: buf, length: 0x1000n, refs: count }, ok(), { slot: 3 })
    counted(1)
    t.poke(ARRAY, words(0x11223344))
    t.test('ACCESS_RW', { id: access, iova: X, length: 4n, uptr: ARRAY, flags: 1 }, ok(), {
      slot: 3,
    })
    t.sees(buf, words(0x11223344))
    t.close(A)
    counted(0)
  },
  needs,
)
