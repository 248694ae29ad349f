import { ARRAY, UNMAPPED } from '../../places.ts'
import { structCall } from '../call.ts'
import type { Random } from '../random.ts'
import {
  alloc,
  anIova,
  buffer,
  data,
  PAGE,
  pages,
  plain,
  pokeArray,
  samePage,
  type Theme,
  test,
} from './pieces.ts'

const hwptFlags = (random: Random): number =>
  random.weighted([
    [6, 0],
    [6, 1],
    [4, 2],
    [3, 3],
    [5, 4],
    [6, 8],
    [3, 9],
    [3, 12],
    [1, 5],
    [1, 11],
    [1, 16 << random.below(27)],
  ])

const checkedPage = (random: Random): { uptr: bigint; iova: bigint } => {
  const { user_va: uptr, iova } = samePage(random)
  return { uptr, iova: random.chance(85) ? iova : anIova(random) }
}

export const devices: Theme = {
  /** Stdev 2, device 3, automatic HWPT 4; the second 5, 6; a plain HWPT 7. */
  begin: (world) => {
    alloc(world, 'TEST_MOCK_DOMAIN', { id: 1 })
    alloc(world, 'TEST_MOCK_DOMAIN_FLAGS', { id: 1, dev_flags: 4 })
    alloc(world, 'HWPT_ALLOC', { dev_id: 3, pt_id: 1 })
  },
  makers: [
    [
      3,
      (random, world) => {
        const answers = plain(random, world, 'IOAS_ALLOC', {})
        if (answers.includes('= 0'))
          for (const id of world.newIoases())
            world.add(structCall('OPTION', { option_id: 1, op: 0, object_id: id, val64: 0n }))
      },
    ],
    [
      8,
      (random, world) => {
        const id = world.id(random, 'ioas', 'ioas', 'hwpt-paging', 'hwpt-nested')
        if (random.chance(50)) test(random, world, 'MOCK_DOMAIN', { id })
        else
          test(random, world, 'MOCK_DOMAIN_FLAGS', {
            id,
            dev_flags: random.pick([0, 1, 4, 4, 5, 2]),
          })
      },
    ],
    [
      12,
      (random, world) =>
        test(random, world, 'MOCK_DOMAIN_REPLACE', {
          id: world.id(random, 'selftest'),
          pt_id: world.id(random, 'ioas', 'hwpt-paging', 'hwpt-paging', 'hwpt-nested'),
        }),
    ],
    [
      10,
      (random, world) => {
        const id = world.id(
          random,
          ...random.pick([
            ['hwpt-paging', 'hwpt-nested', 'ioas'] as const,
            ['viommu', 'vdevice', 'veventq', 'hw-queue', 'fault'] as const,
            ['selftest'] as const,
          ]),
        )
        // Linux would keep a stale device (05 §A.2.3).
        if (world.typeOf(id) === 'selftest' && world.pasids.length > 0) return
        world.add(structCall('DESTROY', { id }))
      },
    ],
    [
      10,
      (random, world) => {
        plain(
          random,
          world,
          'HWPT_ALLOC',
          {
            flags: hwptFlags(random),
            dev_id: world.id(random, 'device'),
            pt_id: world.id(random, 'ioas'),
            fault_id: world.id(random, 'fault'),
            ...(random.chance(15) ? data(random, 0xdead, 4, 8) : {}),
          },
          { before: [pokeArray(0xbadbeef, random.below(3), 0, 0)] },
        )
      },
    ],
    [
      10,
      (random, world) => {
        plain(random, world, 'IOAS_MAP', {
          flags: random.pick([7, 7, 7, 6, 3, 5]),
          ioas_id: world.id(random, 'ioas'),
          ...(random.chance(80)
            ? samePage(random)
            : { user_va: random.chance(80) ? buffer(random) : UNMAPPED, iova: anIova(random) }),
          length: pages(random),
        })
      },
    ],
    [
      5,
      (random, world) => {
        plain(random, world, 'IOAS_UNMAP', {
          ioas_id: world.id(random, 'ioas'),
          iova: random.chance(40) ? 0n : anIova(random),
          length: random.chance(40) ? 0xffff_ffff_ffff_ffffn : pages(random),
        })
      },
    ],
    [
      2,
      (random, world) => {
        const array = { address: ARRAY, length: 64 }
        world.add(
          structCall(
            'IOAS_IOVA_RANGES',
            { ioas_id: world.id(random, 'ioas'), num_iovas: 4, allowed_iovas: ARRAY },
            { before: [`fill ${ARRAY} 64 0`], also: [array] },
          ),
        )
      },
    ],
    [
      3,
      (random, world) => {
        plain(
          random,
          world,
          'GET_HW_INFO',
          {
            flags: random.pick([0, 0, 1, 1, 2]),
            dev_id: world.id(random, 'device'),
            data_len: random.pick([0, 4, 8, 20]),
            data_uptr: random.chance(95) ? ARRAY : UNMAPPED,
            in_data_type: random.pick([0, 1, 0xfeedbeef]),
          },
          { before: [`fill ${ARRAY} 32 0xff`], also: [{ address: ARRAY, length: 32 }] },
        )
      },
    ],
    [
      2,
      (random, world) => {
        const { files } = world
        if (files.length === 0) return
        const { slot } = random.pick(files)
        world.forget(slot)
        world.add({ text: `close(${slot})`, lines: [`close ${slot}`] })
      },
    ],
    [
      3,
      (random, world) =>
        test(random, world, 'MD_CHECK_REFS', {
          length: PAGE,
          uptr: buffer(random),
          refs: random.below(3),
        }),
    ],
    [
      3,
      (random, world) =>
        test(random, world, 'MD_CHECK_MAP', {
          id: world.id(random, 'hwpt-paging'),
          ...checkedPage(random),
          length: PAGE,
        }),
    ],
  ],
}
