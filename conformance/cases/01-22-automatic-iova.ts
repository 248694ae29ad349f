/** 01 §22.5 to §22.7: the IOVA that the kernel chooses. */
import { example, fails, ok, ranges, type Steps } from '../example.ts'
import { ARRAY, B, MAX } from '../places.ts'
import { R, W } from './flags.ts'

const automatic = (t: Steps, user_va: bigint, length: bigint, iova: bigint): void =>
  t.step('IOAS_MAP', { flags: R | W, ioas_id: 1, user_va, length }, ok({ iova }))

const oneIoas = (t: Steps): void => {
  t.open()
  t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 1 }))
}

export const automaticIova = example('01 §22.5 Automatic IOVA, no domain', (t) => {
  oneIoas(t)
  automatic(t, B, 0x1000n, 0x1000n)
  automatic(t, B, 0x1000n, 0x2000n)
  automatic(t, B, 0x3000n, 0x4000n)
  automatic(t, B + 0x1000n, 0x3000n, 0x7000n)
  automatic(t, B, 0x200000n, 0x200000n)
  automatic(t, B, 0x400000n, 0x400000n)
  automatic(t, B, 0x1000n, 0x3000n)
})

export const automaticSubPage = example('01 §22.6 Automatic IOVA, sub-page, no domain', (t) => {
  oneIoas(t)
  automatic(t, B + 0x123n, 0x10n, 0x1123n)
  automatic(t, B + 0x123n, 0x10n, 0x1133n)
  automatic(t, B + 0x800n, 0x800n, 0x1800n)
  automatic(t, B + 0x800n, 0x1000n, 0x2800n)
  automatic(t, 0n, 0x1000n, 0x4000n)
  automatic(t, 0n, 1n, 0x1000n)
  automatic(t, B, 1n, 0x1001n)
})

const allow = (t: Steps, list: Uint8Array, wanted = ok()): void => {
  if (list.length > 0) t.poke(ARRAY, list)
  t.step(
    'IOAS_ALLOW_IOVAS',
    { ioas_id: 1, num_iovas: list.length / 16, allowed_iovas: list.length > 0 ? ARRAY : 0n },
    wanted,
  )
}

export const allowedRanges = example('01 §22.7 Allowed ranges', (t) => {
  oneIoas(t)
  allow(t, ranges([0n, 0x1fffn], [0x100000n, 0x1fffffn]))
  automatic(t, B, 0x1000n, 0x1000n)
  automatic(t, B, 0x1000n, 0x100000n)
  automatic(t, B, 0x10000n, 0x110000n)
  t.step('IOAS_MAP', { flags: R | W, ioas_id: 1, user_va: B, length: 0x100000n }, fails('ENOSPC'))
  automatic(t, B, 0x80000n, 0x180000n)
  t.step(
    'IOAS_MAP',
    { flags: R | W | 1, ioas_id: 1, user_va: B, length: 0x1000n, iova: 0x300000n },
    ok(),
  )
  t.step(
    'IOAS_IOVA_RANGES',
    { ioas_id: 1, num_iovas: 1, allowed_iovas: ARRAY },
    ok({ num_iovas: 1, out_iova_alignment: 1n }),
  )
  t.sees(ARRAY, ranges([0n, MAX]))
  allow(t, ranges([0x5000n, 0x5000n]), fails('EINVAL'))
  allow(t, ranges([0n, 0xfffn], [0x800n, 0x17ffn]), fails('EINVAL'))
  automatic(t, B, 0x8000n, 0x108000n)
  allow(t, ranges())
  automatic(t, B, 0x1000n, 0x2000n)
})

export const adjacentRanges = example('01 §22.7 Adjacent allowed ranges count as one', (t) => {
  oneIoas(t)
  allow(t, ranges([0x10000n, 0x10fffn], [0x11000n, 0x11fffn]))
  automatic(t, B + 0x1000n, 0x2000n, 0x10000n)
})

export const nearlyAdjacentRanges = example('01 §22.7 Nearly adjacent ranges do not', (t) => {
  oneIoas(t)
  allow(t, ranges([0x10000n, 0x10fffn], [0x11001n, 0x11fffn]))
  t.step(
    'IOAS_MAP',
    { flags: R | W, ioas_id: 1, user_va: B + 0x1000n, length: 0x2000n },
    fails('ENOSPC'),
  )
})

export const orMergesBits = example(
  '01 §12.3 The OR with the source offset can merge bits',
  (t) => {
    oneIoas(t)
    t.step(
      'IOAS_MAP',
      { flags: R | 1, ioas_id: 1, user_va: B, length: 0x1008n, iova: 0x1000n },
      ok(),
    )
    automatic(t, B + 0x123n, 0x10n, 0x212bn)
    t.step('IOAS_UNMAP', { ioas_id: 1, iova: 0n, length: MAX }, ok({ length: 0x1018n }))
    allow(t, ranges([0x1008n, 0x100000n]))
    automatic(t, B + 0x123n, 0x10n, 0x112bn)
    t.step('IOAS_UNMAP', { ioas_id: 1, iova: 0n, length: MAX }, ok({ length: 0x10n }))
    allow(t, ranges())
    t.step('IOAS_MAP', { flags: R | 1, ioas_id: 1, user_va: B, length: 8n, iova: 0x1000n }, ok())
    automatic(t, B + 0x123n, 0x10n, 0x1123n)
  },
)
