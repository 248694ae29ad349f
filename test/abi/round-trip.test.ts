/** For every structure of the interface: what is written is what is read, and the other way round. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Field } from '../../src/abi/fields.ts'
import { decode, encode, formatStruct, type Struct } from '../../src/abi/layout.ts'
import { structs } from '../../src/abi/tables.ts'

const numbers = {
  u8: fc.integer({ min: 0, max: 0xff }),
  u16: fc.integer({ min: 0, max: 0xffff }),
  u32: fc.integer({ min: 0, max: 0xffff_ffff }),
  s32: fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff }),
  u64: fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }),
}

/** Bytes of a whole structure, with some elements of its flexible array. */
const bytesOf = (struct: Struct): fc.Arbitrary<Uint8Array> => {
  const tail = struct.fields.find((field) => field.array?.length === 'flexible')
  const element = tail?.array?.element.size ?? 0
  return fc.integer({ min: 0, max: element === 0 ? 0 : 3 }).chain((count) =>
    fc.uint8Array({
      minLength: count === 0 ? struct.size : (tail?.offset ?? 0) + count * element,
      maxLength: count === 0 ? struct.size : (tail?.offset ?? 0) + count * element,
    }),
  )
}

const arbitrary = (field: Field<unknown>): fc.Arbitrary<unknown> => {
  if (field.wire === 'array' || field.wire === 'struct') throw new Error('only plain fields')
  return numbers[field.wire]
}

const padding = (struct: Struct): boolean[] => {
  const isPadding = new Array<boolean>(struct.size).fill(true)
  for (const field of struct.fields) isPadding.fill(false, field.offset, field.offset + field.size)
  return isPadding
}

describe.each([...structs.values()])('$name', (struct) => {
  test('reading and writing again gives the same bytes, but for padding', () => {
    const isPadding = padding(struct)
    fc.assert(
      fc.property(bytesOf(struct), (bytes) => {
        const again = encode(struct, decode(struct, bytes))
        const expected = bytes.map((byte, i) => (isPadding[i] ? 0 : byte))
        expect(again).toEqual(expected)
      }),
      { numRuns: 50 },
    )
  })

  test('each plain field comes back exactly, and writing one changes no other', () => {
    const plain = struct.fields.filter(
      (field) =>
        field.wire !== 'array' &&
        field.wire !== 'struct' &&
        !struct.fields.some((other) => other.overlays === field.name) &&
        field.overlays === undefined,
    )
    for (const field of plain)
      fc.assert(
        fc.property(arbitrary(field), bytesOf(struct), (value, before) => {
          const bytes = before.slice()
          encode(struct, { [field.name]: value }, bytes)
          expect(decode(struct, bytes)).toEqual({
            ...decode(struct, before),
            [field.name]: value,
          })
          before.forEach((byte, i) => {
            if (i < field.offset || i >= field.offset + field.size) expect(bytes[i]).toBe(byte)
          })
        }),
        { numRuns: 10 },
      )
  })

  test('a short input is one with a zero tail, a long one is cut', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: struct.size }), (bytes) => {
        const full = new Uint8Array(struct.size)
        full.set(bytes)
        expect(decode(struct, bytes)).toEqual(decode(struct, full))
        const short = new Uint8Array(bytes.length)
        encode(struct, decode(struct, bytes), short)
        expect(short).toEqual(encode(struct, decode(struct, bytes)).subarray(0, short.length))
      }),
      { numRuns: 30 },
    )
  })

  test('any bytes can be printed, and every field is described', () => {
    fc.assert(
      fc.property(bytesOf(struct), (bytes) => {
        expect(formatStruct(struct, decode(struct, bytes), { complete: true })).toMatch(/^\{.+\}$/)
      }),
      { numRuns: 10 },
    )
    for (const field of struct.fields) expect(field.meaning).toMatch(/^[A-Z0-9-].*\.$/)
  })
})
