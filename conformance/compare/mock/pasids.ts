import { alloc, aPasid, type Theme, test } from './pieces.ts'

export const pasids: Theme = {
  /** PASIDs: HWPTs 5 and 6, the device on 5, PASID 1 too. */
  begin: (world) => {
    alloc(world, 'TEST_MOCK_DOMAIN_FLAGS', { id: 1, dev_flags: 4 })
    alloc(world, 'HWPT_ALLOC', { flags: 8, dev_id: 3, pt_id: 1 })
    alloc(world, 'HWPT_ALLOC', { flags: 9, dev_id: 3, pt_id: 1 })
    alloc(world, 'TEST_MOCK_DOMAIN_REPLACE', { id: 2, pt_id: 5 })
    alloc(world, 'TEST_PASID_ATTACH', { id: 2, pasid: 1, pt_id: 6 })
  },
  makers: [
    [
      6,
      (random, world) =>
        test(random, world, 'PASID_ATTACH', {
          id: world.id(random, 'selftest'),
          pasid: aPasid(random),
          pt_id: world.id(random, 'hwpt-paging', 'hwpt-paging', 'hwpt-nested', 'ioas'),
        }),
    ],
    [
      5,
      (random, world) =>
        test(random, world, 'PASID_REPLACE', {
          id: world.id(random, 'selftest'),
          pasid: aPasid(random),
          pt_id: world.id(random, 'hwpt-paging', 'hwpt-paging', 'hwpt-nested', 'ioas'),
        }),
    ],
    [
      5,
      (random, world) =>
        test(random, world, 'PASID_DETACH', {
          id: world.id(random, 'selftest'),
          pasid: aPasid(random),
        }),
    ],
    [
      2,
      (random, world) =>
        test(random, world, 'PASID_CHECK_HWPT', {
          id: world.id(random, 'selftest'),
          pasid: aPasid(random),
          hwpt_id: random.chance(30) ? 0 : world.id(random, 'hwpt-paging', 'hwpt-nested'),
        }),
    ],
  ],
}
