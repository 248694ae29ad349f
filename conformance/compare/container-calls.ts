/** Random VFIO container calls (chapter 2) on a context without devices. */

import { hexBytes, words } from '../example.ts'
import { ARRAY, STRUCT } from '../places.ts'
import { type RandomCall, valueCall } from './call.ts'
import { aLength, anAddress, anIova, type Remembered, wellFormedOrNot } from './core-calls.ts'
import type { Random } from './random.ts'

const infoOf = (random: Random): RandomCall => {
  const argsz = random.pick([
    0, 15, 16, 17, 18, 20, 24, 30, 35, 36, 39, 40, 56, 71, 72, 73, 100, 120,
  ])
  return {
    text: `VFIO_IOMMU_GET_INFO(argsz=${argsz})`,
    lines: [
      `fill ${STRUCT} 160 0xaa`,
      `poke ${STRUCT} ${hexBytes(words(argsz))}`,
      `ioctl 0 0x3b70 ${STRUCT}`,
      `peek ${STRUCT} 160`,
    ],
  }
}

const mapDma = (random: Random, remembered: Remembered): RandomCall => {
  const [iova, size] = [anIova(random), aLength(random)]
  remembered.add(1, iova, size)
  return wellFormedOrNot(random, {
    name: 'VFIO_IOMMU_MAP_DMA',
    fields: {
      flags: random.pick([3, 3, 3, 3, 1, 2, 0, 4, 7]),
      vaddr: anAddress(random),
      iova,
      size,
    },
  })
}

const unmapDma = (random: Random, remembered: Remembered): RandomCall => {
  const { iova, length } = remembered.range(random)
  return wellFormedOrNot(random, {
    name: 'VFIO_IOMMU_UNMAP_DMA',
    fields: random.chance(10)
      ? { flags: 2, iova: 0n, size: random.chance(80) ? 0n : 0x1000n }
      : {
          flags: random.weighted([
            [20, 0],
            [1, 1],
            [1, 2],
            [1, 4],
          ]),
          iova: BigInt.asUintN(64, iova),
          size: BigInt.asUintN(64, length),
        },
  })
}

export const containerCall = (random: Random, remembered: Remembered): RandomCall =>
  random.weighted<(random: Random, remembered: Remembered) => RandomCall>([
    [30, mapDma],
    [30, unmapDma],
    [8, infoOf],
    [
      6,
      () => {
        const type = random.pick([1n, 1n, 3n, 3n, 0n, 2n, 6n, 8n, 0x100000001n, random.long()])
        return valueCall('VFIO_SET_IOMMU', 0x3b66, type)
      },
    ],
    [
      4,
      () =>
        valueCall(
          'VFIO_CHECK_EXTENSION',
          0x3b65,
          random.chance(85) ? BigInt(random.below(12)) : random.long(),
        ),
    ],
    [1, () => valueCall('VFIO_GET_API_VERSION', 0x3b64, random.long())],
    [1, () => valueCall('VFIO_IOMMU_DIRTY_PAGES', 0x3b75, ARRAY)],
  ])(random, remembered)
