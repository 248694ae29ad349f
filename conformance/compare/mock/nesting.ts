import { ARRAY, B, SPARE, UNMAPPED } from '../../places.ts'
import {
  alloc,
  BUFFER_PAGES,
  data,
  nested,
  nestedData,
  PAGE,
  plain,
  pokeArray,
  type Theme,
  test,
  withFile,
  X,
} from './pieces.ts'

const REGION = SPARE + 0x200000n

export const nesting: Theme = {
  /** Nesting: parent 5, vIOMMU 6, nested 7 on it, vDEVICE 8, event queue 9; the device moves to 7. */
  begin: (world) => {
    alloc(world, 'TEST_MOCK_DOMAIN_FLAGS', { id: 1, dev_flags: 4 })
    alloc(world, 'HWPT_ALLOC', { flags: 9, dev_id: 3, pt_id: 1 })
    alloc(world, 'VIOMMU_ALLOC', {
      type: 0xdeadbeef,
      dev_id: 3,
      hwpt_id: 5,
      data_len: 24,
      data_uptr: ARRAY,
    })
    alloc(world, 'HWPT_ALLOC', { dev_id: 3, pt_id: 6, ...nested }, nestedData)
    alloc(world, 'VDEVICE_ALLOC', { viommu_id: 6, dev_id: 3, virt_id: 0x99n })
    const events = { viommu_id: 6, type: 0xbeefbeef, veventq_depth: 2 }
    withFile(world, 'VEVENTQ_ALLOC', events, { name: 'out_veventq_fd', offset: 24 }, 'event')
    alloc(world, 'TEST_MOCK_DOMAIN_REPLACE', { id: 2, pt_id: 7 })
    alloc(world, 'IOAS_MAP', { flags: 7, ioas_id: 1, user_va: B, length: 0x4000n, iova: X })
  },
  makers: [
    [
      9,
      (random, world) => {
        plain(
          random,
          world,
          'HWPT_ALLOC',
          {
            flags: random.weighted([
              [5, 0],
              [4, 4],
              [4, 8],
              [3, 12],
              [1, 1],
            ]),
            dev_id: world.id(random, 'device'),
            pt_id: world.id(
              random,
              'hwpt-paging',
              'hwpt-paging',
              'viommu',
              'viommu',
              'hwpt-nested',
            ),
            fault_id: world.id(random, 'fault'),
            ...data(random, 0xdead, 4, 8),
          },
          { before: [pokeArray(0xbadbeef, 0, 0, 0)] },
        )
      },
    ],
    [
      5,
      (random, world) => {
        const nested = random.chance(60)
        const entry = nested
          ? () => [random.below(3), random.below(5)]
          : () => [random.below(3), random.below(3), random.below(5)]
        const count = random.below(4)
        const entries = Array.from({ length: count }, entry).flat()
        plain(
          random,
          world,
          'HWPT_INVALIDATE',
          {
            hwpt_id: world.id(
              random,
              ...(nested ? (['hwpt-nested'] as const) : (['viommu'] as const)),
            ),
            data_uptr: random.chance(96) ? ARRAY : random.pick([0n, UNMAPPED]),
            data_type: random.chance(92) ? 0xdeadbeef : 0x0dadbeef,
            entry_len: random.chance(90) ? (nested ? 8 : 12) : random.pick([0, 4, 8, 12, 16, 4097]),
            entry_num: random.chance(95) ? count : random.pick([524289, 5]),
          },
          { before: [`fill ${ARRAY} 64 0`, pokeArray(...entries, 0)] },
        )
        if (nested)
          test(random, world, 'MD_CHECK_IOTLB', {
            id: world.id(random, 'hwpt-nested'),
            entry_id: random.below(5),
            iotlb: random.pick([0, 0xbadbeef]),
          })
        else
          test(random, world, 'DEV_CHECK_CACHE', {
            id: world.id(random, 'device'),
            entry_id: random.below(5),
            cache: random.pick([0, 0xbaddad]),
          })
      },
    ],
    [
      5,
      (random, world) => {
        const withData = random.chance(40)
        plain(
          random,
          world,
          'VIOMMU_ALLOC',
          {
            flags: random.chance(97) ? 0 : 1,
            type: random.chance(95) ? 0xdeadbeef : random.pick([0, 1, 0xdead]),
            dev_id: world.id(random, 'device'),
            hwpt_id: world.id(random, 'hwpt-paging'),
            ...(withData
              ? {
                  data_len: random.pick([8, 24, 24, 7, 25]),
                  data_uptr: random.chance(95) ? ARRAY : UNMAPPED,
                }
              : {}),
          },
          {
            before: [pokeArray(random.below(1000), 0, 0, 0, 0, 0)],
            also: [{ address: ARRAY, length: 24 }],
          },
        )
      },
    ],
    [
      3,
      (random, world) => {
        const offset =
          0x1000 *
          random.weighted([
            [6, 1],
            [4, 3],
            [1, 2],
            [1, 5],
          ])
        const length = random.pick([0x2000, 0x2000, 0x2000, 0x1fff, 0x1000])
        const how = random.weighted([
          [8, 'rw shared'],
          [1, 'r shared'],
          [1, 'rw private'],
          [1, 'rx shared'],
        ])
        const lines = [`munmap ${REGION} 0x2000`, `mapfd ${REGION} ${length} ${how} 0 ${offset}`]
        const answers = world.add({ text: `mmap(region ${offset}, ${length}, ${how})`, lines })
        if (answers[1] === '= 0' && length > 0x1000)
          world.add({ text: 'look', lines: [`peek ${REGION} 8`] })
      },
    ],
    [2, (_random, world) => world.add({ text: 'munmap', lines: [`munmap ${REGION} 0x2000`] })],
    [
      6,
      (random, world) => {
        plain(random, world, 'VDEVICE_ALLOC', {
          viommu_id: world.id(random, 'viommu'),
          dev_id: world.id(random, 'device'),
          virt_id: random.pick([0n, 1n, 2n, 0x1_0000_0001n]),
        })
      },
    ],
    [
      4,
      (random, world) =>
        withFile(
          world,
          'VEVENTQ_ALLOC',
          {
            flags: random.chance(97) ? 0 : 1,
            viommu_id: world.id(random, 'viommu'),
            type: random.chance(90) ? 0xbeefbeef : random.pick([0, 1, 2]),
            veventq_depth: random.pick([1, 2, 2, 3, 0, 524289]),
          },
          { name: 'out_veventq_fd', offset: 24 },
          'event',
        ),
    ],
    [
      7,
      (random, world) =>
        test(random, world, 'TRIGGER_VEVENT', { dev_id: world.id(random, 'device') }),
    ],
    [
      6,
      (random, world) => {
        const slot = world.slot(random, 'event')
        const count = random.weighted([
          [4, 12],
          [4, 64],
          [1, 8],
          [1, random.below(40)],
        ])
        world.add({
          text: `read(event queue ${slot}, ${count}); poll`,
          lines: [
            `fill ${ARRAY} 64 0xcc`,
            `read ${slot} ${random.chance(95) ? ARRAY : UNMAPPED} ${count}`,
            `peek ${ARRAY} 64`,
            `poll ${slot} 5`,
          ],
        })
      },
    ],
    [
      5,
      (random, world) => {
        plain(random, world, 'HW_QUEUE_ALLOC', {
          flags: random.chance(97) ? 0 : 1,
          viommu_id: world.id(random, 'viommu'),
          type: random.chance(95) ? 0xdeadbeef : random.pick([0, 1]),
          index: random.pick([0, 0, 1, 1, 2]),
          // Within one page: which pages follow each other physically is chance.
          nesting_parent_iova:
            X + PAGE * BigInt(random.below(BUFFER_PAGES)) + (random.chance(20) ? 0x10n : 0n),
          length: random.chance(95)
            ? random.pick([0x1000n, 0x800n, 1n]) & 0xff0n || 0x10n
            : random.pick([0n, 1n << 40n]),
        })
      },
    ],
  ],
}
