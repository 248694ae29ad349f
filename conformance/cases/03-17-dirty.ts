/**
 * 03 §17 16 to 18: dirty tracking, with the mock hardware. Its 4 KiB leaves report their first 2 KiB
 * (05 §A.3.4), which shows where the text's platform would report more.
 */
import { example, fails, ok, type Steps } from '../example.ts'
import { ARRAY, UNMAPPED } from '../places.ts'
import {
  allocHwpt,
  buf,
  DIRTY_TRACKING,
  map,
  mockDevice,
  NEST_PARENT,
  nested,
  nestedData,
  s0,
  s1,
  X,
} from './setups.ts'

const needs = { needs: ['test-interface'] } as const

const [CLEAR, NO_CLEAR] = [0, 1]
const H = 5

/** Large pages off; HWPT 5 with dirty tracking switched on. */
const tracking = (t: Steps): void => {
  s0(t)
  t.step('OPTION', { option_id: 1, object_id: 1, val64: 0n }, ok())
  mockDevice(t, 1, [2, 3, 4])
  allocHwpt(t, 1, DIRTY_TRACKING, ok({ out_hwpt_id: H }))
}

const setTracking = (t: Steps, flags: number): void =>
  t.step('HWPT_SET_DIRTY_TRACKING', { flags, hwpt_id: H }, ok())

/** The device writes to a page. */
const write = (t: Steps, iova: bigint): void => {
  t.poke(ARRAY + 0x100n, [1])
  t.test(
    'DIRTY',
    { id: H, iova, length: 0x1000n, page_size: 0x1000n, uptr: ARRAY + 0x100n },
    ok({ out_nr_dirty: 1n }),
  )
}

const get = (
  t: Steps,
  [iova, length, page_size]: readonly [bigint, bigint, bigint],
  bits: readonly number[] | ReturnType<typeof fails>,
  { flags = NO_CLEAR, before = 0, data = ARRAY } = {},
): void => {
  t.poke(ARRAY, [before, before, 0xaa])
  const failing = Array.isArray(bits) ? undefined : (bits as ReturnType<typeof fails>)
  t.step(
    'HWPT_GET_DIRTY_BITMAP',
    { hwpt_id: H, flags, iova, length, page_size, data },
    failing ?? ok(),
  )
  if (failing === undefined) t.sees(ARRAY, [...(bits as readonly number[]), 0xaa])
}

export const bitPositions = example(
  '03 §17 16 Dirty tracking, bit positions',
  (t) => {
    tracking(t)
    map(t, X, buf, 0x8000n)
    setTracking(t, 1)
    write(t, X + 0x1000n)
    write(t, X + 0x3000n)
    get(t, [X, 0x8000n, 0x1000n], [0x0a, 0])
    get(t, [X, 0x8000n, 0x2000n], [0x03, 0])
    get(t, [X, 0x8000n, 0x800n], [0x44, 0])
    get(t, [X + 0x1000n, 0x7000n, 0x1000n], [0x05, 0])
    get(t, [X, 0x8000n, 0x8000n], [0x01, 0])
    get(t, [X, 0x8000n, 0x10000n], fails('EINVAL'))
    get(t, [X, 0x8000n, 0n], fails('EINVAL'))
    get(t, [X + 0x800n, 0x1000n, 0x800n], fails('EINVAL'))
    get(t, [X, 0x7800n, 0x800n], fails('EINVAL'))
    get(t, [X, 0x8000n, 0x1000n], [0xfa, 0xf0], { flags: CLEAR, before: 0xf0 })
    get(t, [X, 0x8000n, 0x1000n], [0, 0])
    write(t, X + 0x5000n)
    setTracking(t, 1)
    get(t, [X, 0x8000n, 0x1000n], [0, 0])
    write(t, X + 0x6000n)
    setTracking(t, 0)
    get(t, [X, 0x8000n, 0x1000n], [0x40, 0])
  },
  needs,
)

export const holes = example(
  '03 §17 17 Dirty tracking, holes and silent losses',
  (t) => {
    tracking(t)
    map(t, X, buf, 0x4000n)
    map(t, X + 0x6000n, buf + 0x6000n, 0x2000n)
    setTracking(t, 1)
    write(t, X + 0x1000n)
    write(t, X + 0x6000n)
    get(t, [X, 0x8000n, 0x1000n], [0x02, 0], { flags: CLEAR })
    get(t, [X + 0x6000n, 0x2000n, 0x1000n], [0x01, 0])
    get(t, [X + 0x4000n, 0x4000n, 0x1000n], [0, 0])
    write(t, X + 0x2000n)
    get(t, [X, 0x4000n, 0x1000n], [0, 0], { data: UNMAPPED })
    get(t, [X, 0x4000n, 0x1000n], [0x04, 0])
    get(t, [X, 0x4000n, 0x1000n], [0, 0], { flags: CLEAR, data: UNMAPPED })
    get(t, [X, 0x4000n, 0x1000n], [0, 0])
    map(t, 0x2000000n, buf + 0x8000n, 0x2000n)
    map(t, 0x2002000n, buf + 0xa000n, 0x1000n)
    write(t, 0x2001000n)
    write(t, 0x2002000n)
    get(t, [0x2000000n, 0x3000n, 0x1000n], [0x06, 0])
  },
  needs,
)

export const dirtyArguments = example(
  '03 §17 18 Dirty tracking, arguments',
  (t) => {
    s1(t)
    allocHwpt(t, 1, DIRTY_TRACKING | NEST_PARENT, ok({ out_hwpt_id: H }))
    allocHwpt(t, 1, 0, ok({ out_hwpt_id: 6 }))
    nestedData(t)
    allocHwpt(t, H, 0, ok({ out_hwpt_id: 7 }), nested)
    const set = (fields: object, wanted: ReturnType<typeof ok>): void =>
      t.step('HWPT_SET_DIRTY_TRACKING', { hwpt_id: H, flags: 1, ...fields }, wanted)
    set({ hwpt_id: 6 }, fails('EOPNOTSUPP'))
    set({ hwpt_id: 6, flags: 0 }, fails('EOPNOTSUPP'))
    set({ hwpt_id: 7 }, fails('ENOENT'))
    set({ flags: 2 }, fails('EOPNOTSUPP'))
    const bitmap = (fields: object, wanted: ReturnType<typeof ok>): void =>
      t.step(
        'HWPT_GET_DIRTY_BITMAP',
        { hwpt_id: H, iova: X, length: 0x1000n, page_size: 0x1000n, data: ARRAY, ...fields },
        wanted,
      )
    bitmap({}, ok())
    set({ __reserved: 1 }, ok())
    bitmap({ flags: 2 }, fails('EOPNOTSUPP'))
    bitmap({ __reserved: 1 }, fails('EOPNOTSUPP'))
    bitmap({ hwpt_id: 6 }, fails('EOPNOTSUPP'))
    bitmap({ hwpt_id: 6, page_size: 0n }, fails('EINVAL'))
    bitmap({ iova: 0x1000n, length: 0n }, fails('EOVERFLOW'))
    bitmap({ iova: 0n, length: 0n }, ok())
    bitmap({ iova: 0xfffffffffffff000n, length: 0x2000n }, fails('EOVERFLOW'))
    bitmap({ iova: 0xfffffffffffff000n, length: 0x1000n }, ok())
  },
  needs,
)
