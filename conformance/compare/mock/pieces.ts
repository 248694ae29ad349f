/** What the random calls with mock devices have in common. */
import { type FieldValues, hexBytes, words } from '../../example.ts'
import { ARRAY, B, UNMAPPED } from '../../places.ts'
import { corrupted, framedBadly, READ_ONLY, structCall } from '../call.ts'
import type { Random } from '../random.ts'
import type { MockWorld } from './world.ts'

/** Memory that sequences map: 16 shared pages. */
export const BUFFER_PAGES = 16
/** A page that can be written, right behind READ_ONLY. */
export const AFTER_READ_ONLY = READ_ONLY + 0x1000n
/** Where the mock's aperture begins. */
export const X = 0x1000000n
export const PAGE = 0x1000n

/** Adds one call, or a few that belong together, to the sequence. */
export type Maker = (random: Random, world: MockWorld) => void

/** What a sequence can be mostly about. */
export interface Theme {
  /** Makes something to work on, in a fresh context that has IOAS 1. */
  readonly begin: (world: MockWorld) => void
  readonly makers: readonly (readonly [weight: number, make: Maker])[]
}

export const anIova = (random: Random): bigint =>
  X + PAGE * BigInt(random.below(BUFFER_PAGES)) + (random.chance(6) ? 0x800n : 0n)
export const pages = (random: Random, most = 4): bigint => PAGE * BigInt(1 + random.below(most))
export const buffer = (random: Random): bigint => B + PAGE * BigInt(random.below(BUFFER_PAGES - 4))
export const aPasid = (random: Random): number =>
  random.weighted([
    [12, random.pick([1, 2, 3])],
    [2, 1024],
    [1, 0],
    [1, 0x100000],
  ])

/** A call that may also be passed badly or with one field wrong. */
export const plain = (
  random: Random,
  world: MockWorld,
  name: string,
  fields: FieldValues,
  options: { before?: readonly string[]; also?: { address: bigint; length: number }[] } = {},
): readonly string[] => {
  if (random.chance(4)) return world.add(framedBadly(random, name, fields, options))
  const given = random.chance(5) ? corrupted(random, name, fields) : fields
  return world.add(structCall(name, given, options))
}

export const test = (random: Random, world: MockWorld, op: string, fields: FieldValues): void => {
  plain(random, world, `TEST_${op}`, fields)
}

export const pokeArray = (...values: readonly number[]): string =>
  `poke ${ARRAY} ${hexBytes(Uint8Array.from(words(...values)))}`

/** Driver's data: where it is, its type and length, mostly right. */
export const data = (random: Random, type: number, least: number, most: number): FieldValues => ({
  data_type: random.chance(92) ? type : random.pick([0, 1, 2, 0xdeaf]),
  data_len: random.chance(90) ? random.pick([least, most]) : random.below(most + 4),
  data_uptr: random.chance(96) ? ARRAY : random.pick([UNMAPPED, 0n]),
})

/** A descriptor that a call stores at `offset` of the structure goes to a slot of its own. */
export const withFile = (
  world: MockWorld,
  name: string,
  fields: FieldValues,
  field: { readonly name: string; readonly offset: number },
  kind: 'fault' | 'event' | 'access',
): void => {
  const slot = world.newSlot()
  const call = structCall(name, { ...fields, [field.name]: 0xffffffff })
  const structure = call.lines[1]?.split(' ')[3] ?? ''
  if (world.add(call)[1] !== '= 0') return
  const lines = [`takefd ${slot} ${BigInt(structure) + BigInt(field.offset)}`]
  world.add({ text: `its descriptor becomes ${slot}`, lines })
  world.files.push({ slot, kind })
}

/** A call as it is, for beginnings. */
export const alloc = (
  world: MockWorld,
  name: string,
  fields: FieldValues,
  before: readonly string[] = [],
): void => {
  world.add(structCall(name, fields, { before }))
}

export const nested = { data_type: 0xdead, data_len: 8, data_uptr: ARRAY }
export const nestedData = [pokeArray(0xbadbeef, 0, 0, 0)]

/** Mostly each page at its own IOVA, so that checks of the mapping can succeed. */
export const samePage = (random: Random): { user_va: bigint; iova: bigint } => {
  const offset = PAGE * BigInt(random.below(BUFFER_PAGES - 4))
  return { user_va: B + offset, iova: X + offset }
}
