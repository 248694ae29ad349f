import { expect, test } from 'vitest'
import { byteLength, hex, iova, MAX_U64 } from '../src/abi/brands.ts'

test('64-bit values are exact up to 2^64-1 and refused beyond', () => {
  expect(iova(MAX_U64)).toBe(0xffff_ffff_ffff_ffffn)
  expect(() => iova(MAX_U64 + 1n)).toThrow(RangeError)
  expect(() => byteLength(-1n)).toThrow(RangeError)
  expect(hex(iova(0xfee0_0000n))).toBe('0xfee00000')
})
