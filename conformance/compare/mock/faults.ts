import { ARRAY, UNMAPPED } from '../../places.ts'
import { alloc, nested, nestedData, pokeArray, type Theme, test, withFile } from './pieces.ts'

export const faults: Theme = {
  /** Faults: queue 5, fault-capable HWPT 6, nested 8 on parent 7; the device moves to one of them. */
  begin: (world) => {
    alloc(world, 'TEST_MOCK_DOMAIN_FLAGS', { id: 1, dev_flags: 4 })
    withFile(world, 'FAULT_QUEUE_ALLOC', {}, { name: 'out_fault_fd', offset: 12 }, 'fault')
    alloc(world, 'HWPT_ALLOC', { flags: 12, dev_id: 3, pt_id: 1, fault_id: 5 })
    alloc(world, 'HWPT_ALLOC', { flags: 1, dev_id: 3, pt_id: 1 })
    alloc(
      world,
      'HWPT_ALLOC',
      { flags: 12, dev_id: 3, pt_id: 7, fault_id: 5, ...nested },
      nestedData,
    )
    alloc(world, 'TEST_MOCK_DOMAIN_REPLACE', { id: 2, pt_id: 6 })
  },
  makers: [
    [
      4,
      (random, world) =>
        withFile(
          world,
          'FAULT_QUEUE_ALLOC',
          { flags: random.chance(95) ? 0 : 1 },
          { name: 'out_fault_fd', offset: 12 },
          'fault',
        ),
    ],
    [
      7,
      (random, world) =>
        test(random, world, 'TRIGGER_IOPF', {
          dev_id: world.id(random, 'device'),
          pasid: random.pick([0, 0, 1, 2]),
          grpid: random.below(4),
          perm: random.below(16),
          addr: random.long(),
        }),
    ],
    [
      7,
      (random, world) => {
        const slot = world.slot(random, 'fault')
        const count = random.weighted([
          [4, 40],
          [4, 120],
          [1, 0],
          [1, random.below(100)],
        ])
        const to = random.chance(95) ? ARRAY : UNMAPPED
        world.add({
          text: `read(fault queue ${slot}, ${count}); poll`,
          lines: [
            `fill ${ARRAY} 128 0xcc`,
            `read ${slot} ${to} ${count}`,
            `peek ${ARRAY} 128`,
            `poll ${slot} 5`,
          ],
        })
      },
    ],
    [
      5,
      (random, world) => {
        const slot = world.slot(random, 'fault')
        const count = 1 + random.below(3)
        const responses = Array.from({ length: count }, () => [
          1 + random.below(4),
          random.pick([0, 0, 1, 1, 2]),
        ]).flat()
        const length = random.chance(95) ? 8 * count : random.below(24)
        world.add({
          text: `write(fault queue ${slot}, [${responses}], ${length}); poll`,
          lines: [pokeArray(...responses), `write ${slot} ${ARRAY} ${length}`, `poll ${slot} 5`],
        })
      },
    ],
  ],
}
