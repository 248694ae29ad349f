/** 04 §12 E18 to E23: accesses. */
import { example, fails, ok, type Steps } from '../example.ts'
import { ARRAY, MAX, slotFd } from '../places.ts'
import { F, R, W } from './flags.ts'
import {
  alignment,
  buf,
  checkMap,
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

/** Slots. */
const [A, OTHER] = [1, 2]
const [READ, WRITE] = [0, 1]
const SLOW_PATH = 4

const pin = (
  t: Steps,
  iova: bigint,
  length: bigint,
  flags: number,
  wanted: ReturnType<typeof ok>,
): void => t.test('ACCESS_PAGES', { id: slotFd(A), iova, length, flags }, wanted)

const item = (out_access_pages_id: number) => ok({ out_access_pages_id })

export const e18 = example(
  '04 §12 E18 Alignment of an access',
  (t) => {
    s0(t)
    map(t, X, buf + 0x800n, 0x1000n)
    t.test('CREATE_ACCESS', { id: 1, flags: 1 }, fails('EADDRINUSE'))
    createAccess(t, 1, 0, A)
    unmap(t, X, 0x1000n)
    createAccess(t, 1, 1, OTHER)
    alignment(t, 4096n)
    map(t, X, buf + 0x800n, 0x1000n, fails('EINVAL'))
    map(t, X + 0x800n, buf, 0x1000n, fails('EINVAL'))
    map(t, X, buf, 0x800n, fails('EINVAL'))
    destroy(t, 2, fails('EBUSY'))
    destroy(t, 1, fails('EBUSY'))
    t.close(OTHER)
    alignment(t, 1n)
    t.close(A)
    destroy(t, 1)
  },
  needs,
)

export const e19 = example(
  '04 §12 E19 Unmap with a cooperative driver',
  (t) => {
    s0(t)
    map(t, X, buf, 0x10000n)
    createAccess(t, 1, 1, A)
    pin(t, X, 0x10000n, READ, item(0))
    unmap(t, X, 0x10000n)
    t.test('DESTROY_ACCESS_PAGES', { id: slotFd(A), access_pages_id: 0 }, fails('ENOENT'))
  },
  needs,
)

/** A readable and writable, B readable, C writable; nothing above. */
const threeAreas = (t: Steps): void => {
  s0(t)
  map(t, X, buf, 0x2000n)
  map(t, X + 0x2000n, buf + 0x2000n, 0x1000n, ok(), { flags: R | F })
  map(t, X + 0x3000n, buf + 0x3000n, 0x1000n, ok(), { flags: W | F })
  createAccess(t, 1, 1, A)
}

export const e20 = example(
  '04 §12 E20 Pin errors',
  (t) => {
    threeAreas(t)
    pin(t, X, 0n, READ, fails('EINVAL'))
    pin(t, 0xfffffffffffff000n, 0x2000n, READ, fails('EOVERFLOW'))
    pin(t, 0x1000001n, 1n, READ, fails('EINVAL'))
    pin(t, 0x1004001n, 1n, READ, fails('ENOENT'))
    pin(t, X, 1n, READ, item(0))
    refs(t, buf, 0x1000n, 1)
    pin(t, 0x1001000n, 0x2000n, READ, item(1))
    refs(t, buf + 0x1000n, 0x2000n, 1)
    pin(t, 0x1001000n, 0x2000n, WRITE, fails('EPERM'))
    pin(t, 0x1002000n, 0x1001n, READ, fails('EPERM'))
    pin(t, 0x1003000n, 0x1000n, READ, fails('EPERM'))
    pin(t, 0x1003000n, 0x1000n, WRITE, item(2))
    pin(t, 0x1003000n, 0x2000n, WRITE, fails('ENOENT'))
    refs(t, buf, 0x4000n, 1)
  },
  needs,
)

const rw = (t: Steps, iova: bigint, length: bigint, flags: number, wanted = ok()): void =>
  t.test('ACCESS_RW', { id: slotFd(A), iova, length, uptr: ARRAY, flags }, wanted)

const bytes = (count: number, value: number): number[] => new Array<number>(count).fill(value)

export const e21 = example(
  '04 §12 E21 Partial rw',
  (t) => {
    threeAreas(t)
    t.fill(ARRAY, 0x20n, 0x77)
    rw(t, 0x1001ff0n, 0x20n, WRITE, fails('EPERM'))
    t.sees(buf + 0x1fe0n, [...bytes(16, 0x5a), ...bytes(16, 0x77), ...bytes(16, 0x5a)])
    rw(t, 0x1003ff0n, 0x20n, READ, fails('EPERM'))
    rw(t, 0x1003ff0n, 0x20n, WRITE, fails('ENOENT'))
    t.sees(buf + 0x3fe0n, [...bytes(16, 0x5a), ...bytes(16, 0x77)])
    rw(t, X, 0n, READ, fails('EINVAL'))
    rw(t, MAX, 2n, READ, fails('EOVERFLOW'))
    rw(t, MAX, 1n, READ, fails('ENOENT'))
    t.fill(ARRAY, 0x10n, 0xaa)
    rw(t, 0x1000003n, 5n, READ)
    t.sees(ARRAY, [...bytes(5, 0x5a), ...bytes(11, 0xaa)])
  },
  needs,
)

export const e22 = example(
  '04 §12 E22 Backing memory replaced',
  (t) => {
    s0(t)
    t.memory(buf, 0x2000n, 'rw', 'shared')
    t.fill(buf, 0x2000n, 0x11)
    map(t, X, buf, 0x2000n)
    createAccess(t, 1, 1, A)
    pin(t, X, 0x1000n, READ, item(0))
    t.memory(buf, 0x2000n, 'rw', 'shared')
    t.fill(buf, 0x2000n, 0x22)
    const around = (flags: number, first: number, second: number): void => {
      rw(t, X + 0xff0n, 0x20n, flags)
      t.sees(ARRAY, [...bytes(16, first), ...bytes(16, second)])
    }
    around(READ, 0x22, 0x22)
    around(SLOW_PATH, 0x11, 0x22)
    rw(t, X, 16n, SLOW_PATH)
    t.sees(ARRAY, bytes(16, 0x22))
    mockDevice(t, 1, [3, 4, 5])
    checkMap(t, 5, [X, 0x1000n, buf], fails('EINVAL'))
    checkMap(t, 5, [X + 0x1000n, 0x1000n, buf + 0x1000n])
  },
  needs,
)

export const e23 = example(
  '04 §12 E23 One pin per backing object',
  (t) => {
    s1(t)
    map(t, X, buf, 0x1000n)
    refs(t, buf, 0x1000n, 1)
    t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 5 }))
    t.step(
      'IOAS_COPY',
      {
        flags: R | W | F,
        dst_ioas_id: 5,
        src_ioas_id: 1,
        length: 0x1000n,
        dst_iova: X,
        src_iova: X,
      },
      ok(),
    )
    refs(t, buf, 0x1000n, 1)
    createAccess(t, 5, 1, A)
    pin(t, X, 0x1000n, READ, item(0))
    refs(t, buf, 0x1000n, 1)
    unmap(t, X, 0x1000n)
    refs(t, buf, 0x1000n, 1)
    unmap(t, X, 0x1000n, ok(), 5)
    refs(t, buf, 0x1000n, 0)
    map(t, X, buf, 0x1000n)
    map(t, 0x2000000n, buf, 0x1000n)
    refs(t, buf, 0x1000n, 2)
  },
  needs,
)

export const forkAndAccess = example(
  '01 §22.16 fork, with an access',
  (t) => {
    s0(t)
    createAccess(t, 1, 1, A)
    t.fork(1)
    t.in(1, () => {
      t.memory(buf, 0x10000n, 'rw')
      t.fill(buf, 0x10000n, 0x33)
      map(t, X, buf, 0x10000n)
    })
    rw(t, X, 4n, READ)
    t.sees(ARRAY, bytes(4, 0x33))
    t.exit(1)
    rw(t, X, 4n, READ, fails('EFAULT'))
    t.test('MOCK_DOMAIN', { id: 1 }, fails('EFAULT'))
    unmap(t, X, 0x10000n)
  },
  needs,
)

export const forkWithDomain = example(
  '01 §22.16 fork, domain present at MAP time',
  (t) => {
    s1(t)
    createAccess(t, 1, 1, A)
    t.fork(1)
    t.in(1, () => {
      t.memory(buf, 0x10000n, 'rw')
      t.fill(buf, 0x10000n, 0x44)
      map(t, X, buf, 0x10000n)
    })
    t.exit(1)
    t.step('HWPT_ALLOC', { dev_id: 3, pt_id: 1 }, ok({ out_hwpt_id: 6 }))
    for (const iova of [X, X + 0xff0n, X + 0x8001n]) {
      rw(t, iova, 32n, READ)
      t.sees(ARRAY, bytes(32, 0x44))
    }
  },
  needs,
)
