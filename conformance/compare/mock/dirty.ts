/** Dirty tracking. */
import { hexBytes, words } from '../../example.ts'
import { ARRAY, B, UNMAPPED } from '../../places.ts'
import { READ_ONLY, structCall } from '../call.ts'
import { alloc, BUFFER_PAGES, PAGE, pages, plain, type Theme, X } from './pieces.ts'

export const dirty: Theme = {
  /** Dirty tracking: HWPT 5 over mapped memory, and one with large pages of its own. */
  begin: (world) => {
    alloc(world, 'TEST_MOCK_DOMAIN', { id: 1 })
    alloc(world, 'HWPT_ALLOC', { flags: 2, dev_id: 3, pt_id: 1 })
    alloc(world, 'IOAS_MAP', { flags: 7, ioas_id: 1, user_va: B, length: 0x5000n, iova: X })
    alloc(world, 'IOAS_MAP', {
      flags: 7,
      ioas_id: 1,
      user_va: B,
      length: 0x3000n,
      iova: X + 0x5000n,
    })
    alloc(world, 'HWPT_SET_DIRTY_TRACKING', { flags: 1, hwpt_id: 5 })
  },
  makers: [
    [
      4,
      (random, world) => {
        plain(random, world, 'HWPT_SET_DIRTY_TRACKING', {
          flags: random.pick([1, 1, 1, 0, 2]),
          hwpt_id: world.id(random, 'hwpt-paging'),
        })
      },
    ],
    [
      8,
      (random, world) => {
        const hwpt = world.id(random, 'hwpt-paging')
        const iova = X + PAGE * BigInt(random.below(BUFFER_PAGES))
        const length = pages(random, 8)
        const bits = Array.from({ length: 2 }, () => random.word())
        if (random.chance(75))
          plain(
            random,
            world,
            'TEST_DIRTY',
            { id: hwpt, iova, length, page_size: 0x800n, uptr: ARRAY + 0x100n },
            { before: [`poke ${ARRAY + 0x100n} ${hexBytes(Uint8Array.from(words(...bits)))}`] },
          )
        const at = random.weighted([
          [10, ARRAY],
          [4, ARRAY + BigInt(random.below(9))],
          [1, UNMAPPED],
          [1, READ_ONLY],
        ])
        world.add(
          structCall(
            'HWPT_GET_DIRTY_BITMAP',
            {
              hwpt_id: hwpt,
              flags: random.pick([0, 0, 1, 2]),
              iova: random.chance(97) ? X + PAGE * BigInt(random.below(4)) : 0n,
              length: random.chance(97) ? PAGE * BigInt(1 + random.below(16)) : 0n,
              page_size: random.pick([0x800n, 0x1000n, 0x1000n, 0x2000n, 0x400n, 0x3000n, 0n]),
              data: at,
            },
            { before: [`fill ${ARRAY} 64 0`], also: [{ address: ARRAY, length: 64 }] },
          ),
        )
      },
    ],
  ],
}
