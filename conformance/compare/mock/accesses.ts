/** Accesses through the test interface: pins, copies, moving to another IOAS. */
import { hexBytes } from '../../example.ts'
import { ARRAY, B, slotFd, UNMAPPED } from '../../places.ts'
import { structCall } from '../call.ts'
import type { Random } from '../random.ts'
import {
  alloc,
  anIova,
  buffer,
  PAGE,
  pages,
  samePage,
  type Theme,
  test,
  withFile,
  X,
} from './pieces.ts'
import type { MockWorld } from './world.ts'

const accessFd = (random: Random, world: MockWorld): number =>
  slotFd(world.slot(random, 'access', 'access', 'access', 'fault'))

const create = (world: MockWorld, id: number, flags: number): void =>
  withFile(
    world,
    'TEST_CREATE_ACCESS',
    { id, flags },
    { name: 'out_access_fd', offset: 16 },
    'access',
  )

export const accesses: Theme = {
  /** One that pins, 2, and one that does not, 3. */
  begin: (world) => {
    create(world, 1, 1)
    create(world, 1, 0)
    alloc(world, 'IOAS_MAP', { flags: 7, ioas_id: 1, user_va: B, length: 0x6000n, iova: X })
  },
  makers: [
    [2, (random, world) => create(world, world.id(random, 'ioas'), random.pick([0, 1, 1, 2]))],
    [
      4,
      (random, world) => {
        const { user_va, iova } = samePage(random)
        test(random, world, 'ACCESS_PAGES', {
          id: accessFd(random, world),
          flags: random.pick([0, 0, 1, 1, 2]),
          iova: random.chance(80) ? iova : anIova(random),
          length: random.chance(92) ? pages(random) : random.pick([0n, 1n, 0x1000001n]),
          uptr: random.weighted([
            [6, user_va],
            [2, 0n],
            [1, buffer(random)],
            [1, UNMAPPED],
          ]),
        })
      },
    ],
    [
      2,
      (random, world) =>
        test(random, world, 'DESTROY_ACCESS_PAGES', {
          id: accessFd(random, world),
          access_pages_id: random.below(4),
        }),
    ],
    [
      5,
      (random, world) => {
        const write = random.chance(50)
        const length = random.weighted([
          [4, BigInt(1 + random.below(16))],
          [2, PAGE],
          [1, 0n],
          [1, 0x1001n],
        ])
        const filler = Uint8Array.from({ length: 16 }, () => random.below(256))
        world.add(
          structCall(
            'TEST_ACCESS_RW',
            {
              id: accessFd(random, world),
              iova: anIova(random) + BigInt(random.below(0x1000)),
              length,
              uptr: random.chance(95) ? ARRAY : UNMAPPED,
              flags: (write ? 1 : 0) | random.pick([0, 0, 4, 2]),
            },
            {
              before: [`poke ${ARRAY} ${hexBytes(filler)}`],
              also: [{ address: ARRAY, length: 16 }],
            },
          ),
        )
      },
    ],
    [
      1,
      (random, world) =>
        test(random, world, 'ACCESS_REPLACE_IOAS', {
          id: accessFd(random, world),
          ioas_id: world.id(random, 'ioas', 'ioas', 'hwpt-paging'),
        }),
    ],
    [
      1,
      (random, world) => {
        const at = B + PAGE * BigInt(random.below(6))
        world.add({ text: 'look at the buffer', lines: [`peek ${at} 64`] })
      },
    ],
  ],
}
