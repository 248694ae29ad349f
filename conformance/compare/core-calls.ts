/** Random calls of the core and the IOAS (chapter 1), on a context without hardware. */

import type { FieldValues } from '../example.ts'
import { hexBytes, ranges } from '../example.ts'
import { ARRAY, B, MAX, slotFd, UNMAPPED } from '../places.ts'
import {
  corrupted,
  framedBadly,
  type RandomCall,
  READ_ONLY,
  structCall,
  valueCall,
} from './call.ts'
import type { Random } from './random.ts'

/** Slots of the descriptors that every sequence has. */
export const MEMFD = 5
export const NOT_MEMORY = 6

export const anId = (random: Random): number =>
  random.weighted([
    [40, 1 + random.below(2)],
    [6, 3 + random.below(6)],
    [1, 0],
    [1, 0xffffffff],
    [1, 0x7fffffff],
    [1, random.word()],
  ])

/** Few pages, so that calls meet each other's ranges. */
const gridPages = 0x30

export const anIova = (random: Random): bigint =>
  random.weighted([
    [40, BigInt(random.below(gridPages)) << 12n],
    [8, (BigInt(random.below(gridPages)) << 12n) + BigInt(random.below(4) * 0x400)],
    [3, BigInt(random.below(0x8000))],
    [2, 0x200000n * BigInt(random.below(4))],
    [1, MAX - BigInt(random.below(3) * 0xfff)],
    [1, 0xfffffffffffff000n],
    [1, random.long()],
    [1, 1n << 63n],
  ])

export const aLength = (random: Random): bigint =>
  random.weighted([
    [40, BigInt(1 + random.below(6)) << 12n],
    [6, BigInt(1 + random.below(8)) * 0x400n],
    [4, BigInt(1 + random.below(0x3000))],
    [2, 0x200000n * BigInt(1 + random.below(3))],
    [1, 0n],
    [1, MAX - BigInt(random.below(3) * 0xfff)],
    [1, 1n << 63n],
    [1, (1n << 63n) - BigInt(random.below(3))],
    [1, random.long()],
  ])

export const anAddress = (random: Random): bigint =>
  random.weighted([
    [30, B + (BigInt(random.below(32)) << 12n)],
    [6, B + BigInt(random.below(8)) * 0x400n],
    [4, B + BigInt(random.below(0x8000))],
    [2, B + 0x200000n * BigInt(random.below(3))],
    [1, READ_ONLY],
    [1, UNMAPPED],
    [1, 0n],
    [1, 0xfffffffffffff000n],
    [1, random.long()],
  ])

const mapFlags = (random: Random): number =>
  random.weighted([
    [20, 7],
    [12, 6],
    [5, 5],
    [3, 4],
    [2, 3],
    [1, 2],
    [1, 0],
    [1, 1],
    [1, 8 << random.below(28)],
  ])

const aPointer = (random: Random, length: number): bigint =>
  random.weighted([
    [20, ARRAY],
    [1, UNMAPPED],
    [1, 0n],
    // The first elements are readable, the rest is not.
    [1, ARRAY + 0x2000n - BigInt(Math.max(0, length - 16))],
    [1, 0xffff888000000000n],
  ])

const allowIovas = (random: Random): { fields: FieldValues; before: string[] } => {
  const count = random.below(4)
  const list = Array.from({ length: count }, (): [bigint, bigint] => {
    const start = anIova(random)
    return [start, BigInt.asUintN(64, start + aLength(random) - 1n)]
  })
  const pointer = aPointer(random, 16 * count)
  const bytes = hexBytes(ranges(...list))
  return {
    fields: {
      ioas_id: anId(random),
      num_iovas: random.chance(3) ? 0xffffffff : count,
      allowed_iovas: pointer,
    },
    before: [`fill ${ARRAY} 0x2000 0`, ...(count > 0 ? [`poke ${ARRAY} ${bytes}`] : [])],
  }
}

interface Wanted {
  readonly name: string
  readonly fields: FieldValues
  readonly before?: readonly string[]
  readonly also?: readonly { readonly address: bigint; readonly length: number }[]
}

/** Ranges that were (probably) mapped, so that later calls can mean them. */
export class Remembered {
  readonly #ranges: { readonly ioas: number; readonly iova: bigint; readonly length: bigint }[] = []

  add(ioas: number, iova: bigint, length: bigint): void {
    this.#ranges.push({ ioas, iova, length })
  }

  /** One of the ranges, whole or a part of it, or a few neighbours; sometimes anything. */
  range(random: Random): { ioas: number; iova: bigint; length: bigint } {
    const anything = { ioas: anId(random), iova: anIova(random), length: aLength(random) }
    if (this.#ranges.length === 0 || random.chance(25)) return anything
    const { ioas, iova, length } = random.pick(this.#ranges.slice(-12))
    return random.weighted([
      [6, { ioas, iova, length }],
      [1, { ioas, iova, length: anything.length }],
      [1, { ioas, iova: iova + (anything.iova & 0x3fffn), length: anything.length }],
      [1, { ioas, iova: iova + 0x1000n, length: length > 0x2000n ? length - 0x1000n : 0x1000n }],
      [1, { ioas: anything.ioas, iova, length }],
      [1, { ioas, iova: iova > 0x4000n ? iova - 0x3000n : 0n, length: length + 0x5000n }],
    ])
  }
}

type Maker = (random: Random, remembered: Remembered) => Wanted

const makers: readonly (readonly [number, Maker])[] = [
  [12, () => ({ name: 'IOAS_ALLOC', fields: {} })],
  [3, (random) => ({ name: 'DESTROY', fields: { id: anId(random) } })],
  [
    6,
    (random) => ({
      name: 'IOAS_IOVA_RANGES',
      fields: {
        ioas_id: anId(random),
        num_iovas: random.weighted([
          [6, 4],
          [1, 0],
          [1, 1],
          [1, 0xffffffff],
        ]),
        allowed_iovas: aPointer(random, 64),
      },
      before: [`fill ${ARRAY} 0x100 0xaa`],
      also: [{ address: ARRAY, length: 96 }],
    }),
  ],
  [6, (random) => ({ name: 'IOAS_ALLOW_IOVAS', ...allowIovas(random) })],
  [
    40,
    (random, remembered) => {
      const [ioas_id, iova, length] = [anId(random), anIova(random), aLength(random)]
      const flags = mapFlags(random)
      if ((flags & 1) !== 0) remembered.add(ioas_id, iova, length)
      return {
        name: 'IOAS_MAP',
        fields: { flags, ioas_id, user_va: anAddress(random), length, iova },
      }
    },
  ],
  [
    8,
    (random) => ({
      name: 'IOAS_MAP_FILE',
      fields: {
        flags: mapFlags(random),
        ioas_id: anId(random),
        fd: random.weighted([
          [8, slotFd(MEMFD)],
          [2, slotFd(NOT_MEMORY)],
          [1, -1],
          [1, 99],
        ]),
        start: anIova(random),
        length: aLength(random),
        iova: anIova(random),
      },
    }),
  ],
  [
    16,
    (random, remembered) => {
      const { ioas, iova, length } = remembered.range(random)
      // Bit 16 exists on test kernels: the source is then an area by number (01 §14).
      const byNumber = random.chance(10)
      const [dst_ioas_id, dst_iova] = [anId(random), anIova(random)]
      const flags = mapFlags(random) | (byNumber ? 0x10000 : 0)
      if ((flags & 1) !== 0) remembered.add(dst_ioas_id, dst_iova, length)
      return {
        name: 'IOAS_COPY',
        fields: {
          flags,
          dst_ioas_id,
          src_ioas_id: ioas,
          length: BigInt.asUintN(64, length),
          dst_iova,
          src_iova: byNumber ? BigInt(random.below(4)) : BigInt.asUintN(64, iova),
        },
      }
    },
  ],
  [
    20,
    (random, remembered) => {
      const { ioas, iova, length } = remembered.range(random)
      return {
        name: 'IOAS_UNMAP',
        fields: random.chance(6)
          ? { ioas_id: anId(random), iova: 0n, length: MAX }
          : {
              ioas_id: ioas,
              iova: BigInt.asUintN(64, iova),
              length: BigInt.asUintN(64, length),
            },
      }
    },
  ],
  [
    5,
    (random) => ({
      name: 'OPTION',
      fields: {
        option_id: random.pick([1, 1, 1, 0, 2]),
        op: random.pick([0, 0, 1, 1, 2]),
        object_id: random.chance(80) ? 1 + random.below(3) : 0,
        val64: BigInt(random.below(3)),
      },
    }),
  ],
  [
    6,
    (random) => ({
      name: 'VFIO_IOAS',
      fields: { op: random.pick([0, 0, 1, 1, 1, 2, 3]), ioas_id: anId(random) },
    }),
  ],
  [1, () => ({ name: 'IOAS_CHANGE_PROCESS', fields: {} })],
]

/** Any request number of our type, with bytes that may mean anything. */
const anyRequest = (random: Random): RandomCall => {
  const request = random.weighted([
    [6, 0x3b00 | random.below(256)],
    [2, 0x3b80 + random.below(0x21)],
    [1, random.word()],
  ])
  const bytes = Array.from({ length: 48 }, () => (random.chance(60) ? 0 : random.below(256)))
  const size = [random.pick([0, 4, 8, 12, 16, 24, 32, 40, 48, 72]), 0, 0, 0]
  const hex = hexBytes(Uint8Array.from([...size, ...bytes]))
  return {
    text: `ioctl 0x${request.toString(16)} with bytes ${hex}`,
    lines: [`poke ${ARRAY} ${hex}`, `ioctl 0 ${request} ${ARRAY}`, `peek ${ARRAY} 52`],
  }
}

/** Numbers that Linux's file layer answers, or that do something to the descriptor itself. */
const answeredElsewhere = (request: number): boolean => {
  const type = (request >>> 8) & 0xff
  return type === 0x54 || type === 0x66 || (request & 0xffff) === 2 || type === 0x58 || type === 0
}

export const wellFormedOrNot = (random: Random, wanted: Wanted, slot = 0): RandomCall => {
  const { name, before = [], also = [] } = wanted
  if (random.chance(8)) return framedBadly(random, name, wanted.fields, { before, also, slot })
  const fields = random.chance(8) ? corrupted(random, name, wanted.fields) : wanted.fields
  return structCall(name, fields, { before, also, slot })
}

export const coreCall = (random: Random, remembered: Remembered): RandomCall => {
  if (random.chance(3)) {
    const call = anyRequest(random)
    const request = Number(call.lines[1]?.split(' ')[2])
    return answeredElsewhere(request) ? valueCall('ioctl', 0x3bff, ARRAY) : call
  }
  return wellFormedOrNot(random, random.weighted(makers)(random, remembered))
}
