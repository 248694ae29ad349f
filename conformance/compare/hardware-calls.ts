/**
 * The random calls of the core and the container, on IOASes with page tables: mappings are pinned and
 * entered, with large pages, and what is mapped and pinned is looked at now and then. The page table of
 * IOAS 1 has the mock's kind that translates from IOVA 0 on, that of IOAS 2 its ordinary kind.
 */
import { B } from '../places.ts'
import { type RandomCall, structCall } from './call.ts'
import { containerCall } from './container-calls.ts'
import { coreCall, type Remembered } from './core-calls.ts'
import type { Random } from './random.ts'

const HUGE_PAGE_TABLE = 1
const DATA_SELFTEST = 0xdead
const DATA = 0x2000_0001_1000n
/** IDs that the calls of `beginWithHardware` make. */
const [DEVICE, PAGE_TABLE] = [4, 6]

export const beginWithHardware = (random: Random): RandomCall[] => [
  structCall('IOAS_ALLOC', {}),
  structCall('IOAS_ALLOC', {}),
  structCall('TEST_MOCK_DOMAIN', { id: 2 }),
  structCall(
    'HWPT_ALLOC',
    {
      dev_id: DEVICE,
      pt_id: 1,
      data_type: DATA_SELFTEST,
      data_len: 8,
      data_uptr: DATA,
    },
    { before: [`poke ${DATA} 000000000${HUGE_PAGE_TABLE}000000`] },
  ),
  ...(random.chance(30) ? [structCall('HWPT_ALLOC', { dev_id: DEVICE, pt_id: 2 })] : []),
  ...(random.chance(60) ? [structCall('VFIO_IOAS', { op: 1, ioas_id: 1 })] : []),
]

const look = (random: Random, remembered: Remembered): RandomCall => {
  const page = B + (BigInt(random.below(32)) << 12n)
  if (random.chance(60))
    return structCall('TEST_MD_CHECK_REFS', {
      uptr: page,
      length: BigInt(random.below(3)) << 12n,
      refs: random.below(4),
    })
  const { iova, length } = remembered.range(random)
  return structCall('TEST_MD_CHECK_MAP', {
    id: random.pick([PAGE_TABLE, PAGE_TABLE, PAGE_TABLE - 1]),
    iova: BigInt.asUintN(64, iova) & ~0x7ffn,
    length: BigInt.asUintN(64, length) & 0xf800n,
    uptr: page + BigInt(random.below(2)) * 0x800n,
  })
}

export const hardwareCall = (random: Random, remembered: Remembered): RandomCall => {
  if (random.chance(20)) return look(random, remembered)
  return random.chance(30) ? containerCall(random, remembered) : coreCall(random, remembered)
}
