/** 01 §22.8 to §22.12, §22.17, §22.19: mapping, unmapping and copying without a domain. */
import { example, fails, ok, type Steps } from '../example.ts'
import { B, MAX, slotFd } from '../places.ts'
import { F, R, W } from './flags.ts'

const oneIoas = (t: Steps): void => {
  t.open()
  t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 1 }))
}

/** Every refused call must leave the structure alone, so the outputs say nothing. */
const fixed = (
  t: Steps,
  iova: bigint,
  user_va: bigint,
  length: bigint,
  wanted = ok(),
  flags = R | W | F,
  ioas_id = 1,
): void => t.step('IOAS_MAP', { flags, ioas_id, user_va, length, iova }, wanted)

const unmap = (t: Steps, iova: bigint, length: bigint, wanted = ok(), ioas_id = 1): void =>
  t.step('IOAS_UNMAP', { ioas_id, iova, length }, wanted)

export const fixedIova = example('01 §22.8 Fixed IOVA and argument checks', (t) => {
  oneIoas(t)
  fixed(t, 0x10000n, B, 0x2000n)
  fixed(t, 0x11000n, B, 0x1000n, fails('EEXIST'))
  fixed(t, 0xf000n, B, 0x1001n, fails('EEXIST'))
  fixed(t, 0xf000n, B, 0x1000n)
  fixed(t, 0n, B, 1n)
  fixed(t, 0xfffffffffffff000n, B, 0x1000n)
  fixed(t, 0xfffffffffffff001n, B, 0x1000n, fails('EOVERFLOW'))
  fixed(t, MAX, B, 1n, fails('EOVERFLOW'))
  fixed(t, MAX, B, 0x1000n, fails('EOVERFLOW'), R | W)
  fixed(t, 0n, B, 0x1000n, fails('EINVAL'), F, 99)
  fixed(t, 0n, B, 0n, fails('EOPNOTSUPP'), 8, 99)
  fixed(t, 0n, B, 0n, fails('ENOENT'), R, 99)
  fixed(t, 0x100000n, B, 0n, fails('EINVAL'))
  fixed(t, 0x100000n, 0xfffffffffffff000n, 0x1000n, fails('EOVERFLOW'))
  fixed(t, 0x100000n, 0xfffffffffffff000n, 0xfffn)
  fixed(t, 0n, 0x1000n, 0x7fffffffffffffffn, fails('EOVERFLOW'), R | W)
  fixed(t, 0x200000n, 0x1000n, 0x7fffffffffffffffn)
  fixed(t, 0n, 0n, 0xfffffffffffff000n, fails('EINVAL'))
  t.step(
    'IOAS_MAP',
    { flags: R | W | F, ioas_id: 1, __reserved: 1, user_va: B, length: 0x1000n, iova: 0x140000n },
    fails('EOPNOTSUPP'),
  )
})

export const pathologicalLengths = example('01 §12.2 Pathological lengths', (t) => {
  oneIoas(t)
  for (const va of [0xfffn, 2n]) fixed(t, 0n, va, 0xffffffffffffefffn, fails('EOVERFLOW'))
  for (const va of [1n, 0n]) {
    fixed(t, 0n, va, 0xffffffffffffefffn)
    unmap(t, 0n, MAX, ok({ length: 0xffffffffffffefffn }))
  }
})

export const unmapping = example('01 §22.9 UNMAP', (t) => {
  oneIoas(t)
  fixed(t, 0x10000n, B, 0x2000n)
  fixed(t, 0x20000n, B, 0x1000n)
  fixed(t, 0x21000n, B, 0x1000n)
  unmap(t, 0x10000n, 0x1000n, fails('ENOENT'))
  unmap(t, 0x11000n, 0x1000n, fails('ENOENT'))
  unmap(t, 0x8000n, 0x8000n, fails('ENOENT'))
  unmap(t, 0xf000n, 0x12000n, ok({ length: 0x3000n }))
  unmap(t, 0x21000n, 0n, fails('EINVAL'))
  unmap(t, 0x21000n, MAX, fails('EOVERFLOW'))
  unmap(t, MAX, 1n, fails('EOVERFLOW'))
  unmap(t, 0xfffffffffffff000n, 0x1001n, fails('EOVERFLOW'))
  unmap(t, 0n, MAX, ok({ length: 0x1000n }))
  unmap(t, 0n, MAX, ok({ length: 0n }))
  unmap(t, 0n, 0n, fails('ENOENT'), 99)
})

export const unmapHalfWay = example('01 §22.10 UNMAP that fails half-way', (t) => {
  oneIoas(t)
  fixed(t, 0x1000n, B, 0x1000n)
  fixed(t, 0x3000n, B, 0x2000n)
  unmap(t, 0x1000n, 0x3000n, fails('ENOENT'))
  unmap(t, 0x1000n, 0x1000n, fails('ENOENT'))
  fixed(t, 0x1000n, B, 0x1000n)
  unmap(t, 0x3000n, 0x2000n)
})

export const copying = example('01 §22.11 COPY', (t) => {
  oneIoas(t)
  t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 2 }))
  fixed(t, 0x10000n, B, 0x2000n, ok(), R | W | F)
  fixed(t, 0x12000n, B + 0x10000n, 0x1000n, ok(), R | F)
  const copy = (
    flags: number,
    length: bigint,
    src_iova: bigint,
    dst_iova: bigint,
    wanted = ok(),
    { dst_ioas_id = 2, src_ioas_id = 1 } = {},
  ): void =>
    t.step('IOAS_COPY', { flags, dst_ioas_id, src_ioas_id, length, dst_iova, src_iova }, wanted)
  copy(R | F, 0x3000n, 0x10000n, 0n)
  unmap(t, 0x2000n, 0x1000n, ok(), 2)
  copy(R | W | F, 0x1000n, 0x12000n, 0x8000n, fails('EPERM'))
  copy(W, 0x800n, 0x10400n, 0n, ok({ dst_iova: 0x2400n }))
  copy(R, 0x3001n, 0x10000n, 0n, fails('ENOENT'))
  copy(R | F, 0x1000n, 0x10000n, 0x1000n, fails('EEXIST'))
  copy(R, 0n, 0x10000n, 0n, fails('EINVAL'))
  copy(R, 0n, 0x10000n, 0n, fails('ENOENT'), { src_ioas_id: 99 })
  copy(R | F, 0x1000n, 0x10000n, 0x11000n, fails('EEXIST'), { dst_ioas_id: 1 })
  copy(R | F, 0x1000n, 0x10000n, 0x20000n, ok(), { dst_ioas_id: 1 })
  t.step('DESTROY', { id: 1 }, ok())
  unmap(t, 0n, 0x2000n, ok(), 2)
})

const [SET, GET] = [0, 1]

export const hugePages = example('01 §22.12 HUGE_PAGES and alignment, no domain', (t) => {
  oneIoas(t)
  const option = (op: number, val64: bigint, wanted = ok(), object_id = 1): void =>
    t.step('OPTION', { option_id: 1, op, object_id, val64 }, wanted)
  const alignment = (out_iova_alignment: bigint): void =>
    t.step(
      'IOAS_IOVA_RANGES',
      { ioas_id: 1 },
      fails('EMSGSIZE', { num_iovas: 1, out_iova_alignment }),
    )
  option(GET, 0n, ok({ val64: 1n }))
  fixed(t, 0x10000n, B + 0x800n, 0x1000n, ok(), R | F)
  option(SET, 0n, fails('EADDRINUSE'))
  option(GET, 0n, ok({ val64: 1n }))
  unmap(t, 0x10000n, 0x1000n)
  option(SET, 0n)
  alignment(0x1000n)
  fixed(t, 0x10000n, B + 0x800n, 0x1000n, fails('EINVAL'), R | F)
  fixed(t, 0n, B + 0x800n, 0x1000n, fails('EINVAL'), R)
  fixed(t, 0n, B, 0x800n, fails('EINVAL'), R)
  fixed(t, 0x10800n, B, 0x1000n, fails('EINVAL'), R | F)
  fixed(t, 0x10000n, B, 0x1000n, ok(), R | F)
  option(SET, 0n)
  option(SET, 1n)
  alignment(1n)
  option(SET, 2n, fails('EINVAL'))
  option(7, 0n, fails('EOPNOTSUPP'))
  option(GET, 0n, fails('ENOENT'), 99)
})

export const mapFile = example('01 §22.17 MAP_FILE, no domain (rows 1 to 7)', (t) => {
  oneIoas(t)
  t.plain('memfd 1 0x4000', 0)
  t.open('/dev/null', { slot: 2 })
  const map = (fd: number, start: bigint, length: bigint, wanted = ok()): void =>
    t.step('IOAS_MAP_FILE', { flags: R | W, ioas_id: 1, fd, start, length }, wanted)
  map(slotFd(1), 0n, 0x4000n, ok({ iova: 0x4000n }))
  map(slotFd(1), 0x1000n, 0x2000n, ok({ iova: 0x1000n }))
  map(slotFd(1), 0x4000n, 0x1000n, ok({ iova: 0x3000n }))
  map(slotFd(2), 0n, 0x1000n, ok({ iova: 0x8000n }))
  map(-1, 0n, 0x1000n, fails('EBADF'))
  map(-1, 0n, 0n, fails('EINVAL'))
  map(-1, MAX, 2n, fails('EOVERFLOW'))
  // Nothing was needed of the file yet, so nothing was allocated in it.
  t.plain('blocks 1', 0)
})

export const unwritableResponse = example('01 §22.19 Response that cannot be written', (t) => {
  oneIoas(t)
  const map = { flags: R | W | F, ioas_id: 1, user_va: B, length: 0x1000n, iova: 0x5000n }
  t.step('IOAS_MAP', map, fails('EFAULT'), { readOnly: true })
  t.step('IOAS_MAP', map, fails('EEXIST'))
  const unmapIt = { ioas_id: 1, iova: 0x5000n, length: 0x1000n }
  t.step('IOAS_UNMAP', unmapIt, fails('EFAULT'), { readOnly: true })
  t.step('IOAS_UNMAP', unmapIt, fails('ENOENT'))
})

export const changeProcess = example('01 §22.20 CHANGE_PROCESS, no domain (rows 1 to 4)', (t) => {
  t.open()
  t.step('IOAS_CHANGE_PROCESS', {}, ok())
  t.step('IOAS_CHANGE_PROCESS', { __reserved: 1 }, fails('EOPNOTSUPP'))
  t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 1 }))
  fixed(t, 0x1000n, B, 0x1000n)
  t.step('IOAS_CHANGE_PROCESS', {}, fails('EINVAL'))
  unmap(t, 0n, MAX, ok({ length: 0x1000n }))
  t.plain('memfd 1 0x1000', 0)
  t.step(
    'IOAS_MAP_FILE',
    { flags: R | W, ioas_id: 1, fd: slotFd(1), start: 0n, length: 0x1000n },
    ok({ iova: 0x1000n }),
  )
  t.step('IOAS_CHANGE_PROCESS', {}, ok())
  t.fork(1)
  t.in(1, () => {
    t.step('IOAS_CHANGE_PROCESS', {}, ok())
  })
  t.exit(1)
})

export const forkSharesContext = example('01 §22.16 fork, no domain: UNMAP by the parent', (t) => {
  t.buffer()
  oneIoas(t)
  t.fork(1)
  t.in(1, () => {
    fixed(t, 0x1000000n, B, 0x10000n)
  })
  t.exit(1)
  fixed(t, 0x1000000n, B, 0x1000n, fails('EEXIST'))
  unmap(t, 0x1000000n, 0x10000n)
})
