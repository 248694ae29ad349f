/**
 * Rubbish: every request number of our type and some others, with bytes that are anything. Some of it
 * is close enough to sense to get far. Not for a real kernel, which does not survive everything.
 */
import { iommufdCommands } from '../../src/abi/tables.ts'
import { IOMMU_TEST_CMD } from '../../src/abi/test-cmd.ts'
import { hexBytes } from '../example.ts'
import { ARRAY, B, MAX, STRUCT, slotFd, UNMAPPED } from '../places.ts'
import { EDGE_END, memorySetUp, type RandomCall, READ_ONLY } from './call.ts'
import type { Random } from './random.ts'

const MEMFD = 5

export const fuzzSetUp: readonly string[] = [
  ...memorySetUp,
  `mmap ${B} 0x20000 rw shared`,
  `fill ${B} 0x20000 0x5a`,
  `memfd ${MEMFD} 0x8000`,
  'open 0 /dev/iommu 2',
]

const known = [...iommufdCommands, IOMMU_TEST_CMD]

const aRequest = (random: Random): number =>
  random.weighted([
    [20, random.pick(known).request],
    [6, IOMMU_TEST_CMD.request],
    [6, 0x3b00 | random.below(256)],
    [1, (random.word() & 0xffff0000) | 0x3b80 | random.below(0x21)],
  ])

const aWord = (random: Random): bigint =>
  random.weighted([
    [12, BigInt(random.below(8))],
    [4, BigInt(slotFd(random.pick([0, MEMFD, 9])))],
    [2, BigInt(1 << random.below(31))],
    [1, 0xffffffffn],
    [2, BigInt(random.pick([0xdead, 0xdeadbeef, 0xbeefbeef, 0xfeedbeef]))],
    [2, BigInt(random.word())],
  ])

const aLong = (random: Random): bigint =>
  random.weighted([
    [6, BigInt(random.below(8))],
    [6, 0x1000000n + BigInt(random.below(32)) * 0x800n],
    [6, B + BigInt(random.below(32)) * 0x800n],
    [4, ARRAY],
    [4, BigInt(1 + random.below(8)) << 12n],
    [1, READ_ONLY],
    [1, UNMAPPED],
    [1, EDGE_END - BigInt(random.below(64))],
    [1, MAX - BigInt(random.below(0x1001))],
    [1, 0xffff888000000000n],
    [1, random.long()],
  ])

/** 72 bytes of words and long words, in any order; the size word is mostly right. */
const someBytes = (random: Random, request: number): Uint8Array => {
  const bytes = new Uint8Array(72)
  const view = new DataView(bytes.buffer)
  const right = known.find((ioctl) => ioctl.request === request)?.struct?.size ?? 32
  view.setUint32(0, random.chance(80) ? right : random.pick([0, 8, 16, 24, 40, 68, 72, 100]), true)
  for (let at = 4; at < 72; ) {
    if (at % 8 === 0 && random.chance(60)) {
      view.setBigUint64(at, BigInt.asUintN(64, aLong(random)), true)
      at += 8
    } else {
      view.setUint32(at, Number(BigInt.asUintN(32, aWord(random))), true)
      at += 4
    }
  }
  return bytes
}

export const fuzzCall = (random: Random): RandomCall => {
  const request = aRequest(random)
  const hex = hexBytes(someBytes(random, request))
  const argument = random.weighted<bigint>([
    [20, STRUCT],
    [1, EDGE_END - BigInt(random.below(72))],
    [1, aLong(random)],
  ])
  const lines =
    argument === STRUCT
      ? [`poke ${STRUCT} ${hex}`, `ioctl 0 ${request} ${STRUCT}`]
      : [`ioctl 0 ${request} ${argument}`]
  return { text: `ioctl 0x${request.toString(16)} ${hex}`, lines }
}

/** Calls that make objects, so that rubbish finds something to hit. */
export const fuzzBegin: readonly string[] = [
  `poke ${STRUCT} 0c0000000000000000000000`,
  `ioctl 0 0x3b81 ${STRUCT}`,
  `poke ${STRUCT} ${hexBytes(mockDomainOn(1))}`,
  `ioctl 0 0x3ba0 ${STRUCT}`,
]

function mockDomainOn(ioas: number): Uint8Array {
  const bytes = new Uint8Array(72)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, 72, true)
  view.setUint32(4, 12, true)
  view.setUint32(8, ioas, true)
  view.setUint32(28, 4, true)
  return bytes
}
