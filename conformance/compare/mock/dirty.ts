/** Dirty tracking. */
import { hexBytes, words } from '../../example.ts'
import { ARRAY, B, UNMAPPED } from '../../places.ts'
import { EDGE_END, READ_ONLY, structCall } from '../call.ts'
import {
  AFTER_READ_ONLY,
  alloc,
  BUFFER_PAGES,
  nested,
  PAGE,
  pages,
  plain,
  pokeArray,
  type Theme,
  X,
} from './pieces.ts'

export const dirty: Theme = {
  /** HWPT 5 over mapped memory, and 6 with pages of 4 KiB and 1 MiB, where bitmap bits of leaves touch. */
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
    alloc(world, 'HWPT_ALLOC', { flags: 2, dev_id: 3, pt_id: 1, ...nested }, [pokeArray(0, 1)])
    for (const hwpt_id of [5, 6]) alloc(world, 'HWPT_SET_DIRTY_TRACKING', { flags: 1, hwpt_id })
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
          // Across an edge: into, and out of, a page that cannot be written.
          [3, AFTER_READ_ONLY - BigInt(1 + random.below(4))],
          [3, EDGE_END - BigInt(1 + random.below(4))],
        ])
        const seen = [
          { address: ARRAY, length: 64 },
          { address: AFTER_READ_ONLY - 8n, length: 16 },
          { address: EDGE_END - 8n, length: 8 },
        ]
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
            {
              before: [
                `fill ${ARRAY} 64 0`,
                `fill ${AFTER_READ_ONLY} 8 0`,
                `fill ${EDGE_END - 8n} 8 0`,
              ],
              also: seen,
            },
          ),
        )
      },
    ],
  ],
}
