import { describe, expect, it } from 'vitest'
import { type UserVa, userVa } from '../../src/abi/brands.ts'
import { driverData, UserRequestArray } from '../../src/engine/driver-data.ts'
import { Machine } from '../../src/engine/machine.ts'
import { Refusal } from '../../src/engine/reason.ts'
import { errnoOf, NOWHERE, outcomeOf, Program, u32s } from './support/program.ts'

const program = new Program(new Machine())

describe("a driver's struct (03 §7.3)", () => {
  const place = program.place(u32s(1, 2, 3, 4))
  const data = (type: number, length: number, address: UserVa = place.address) =>
    driverData(program.call(), type, address, length)

  it('is absent without a length, wherever it would be', () => {
    expect(data(7, 0, NOWHERE)).toBeUndefined()
  })
  it('has the type that the driver expects, else EINVAL', () => {
    expect(outcomeOf(data(7, 8)?.copyIn(8, 8, 8))).toBe('EINVAL')
  })
  it('is EINVAL when shorter than the first version and also when longer than known', () => {
    expect(outcomeOf(data(7, 3)?.copyIn(7, 4, 8))).toBe('EINVAL')
    expect(outcomeOf(data(7, 9)?.copyIn(7, 4, 8))).toBe('EINVAL')
  })
  it('is extended with zeroes when it is short', () => {
    expect(data(7, 4)?.copyIn(7, 4, 8)).toEqual(u32s(1, 0))
  })
  it('is EFAULT when unreadable', () => {
    expect(outcomeOf(data(7, 8, NOWHERE)?.copyIn(7, 4, 8))).toBe('EFAULT')
  })
  it("is written back as far as the caller's length goes", () => {
    const out = program.place(12)
    expect(data(7, 8, out.address)?.copyOut(7, 4, u32s(5, 6, 7))).toBeUndefined()
    expect(out.bytes).toEqual(u32s(5, 6, 0))
    expect(outcomeOf(data(7, 8, NOWHERE)?.copyOut(7, 4, u32s(5, 6, 7)))).toBe('EFAULT')
  })
})

describe('the request array of HWPT_INVALIDATE (03 §11.4)', () => {
  const entries = u32s(1, 2, 3, 4, 5, 6)
  const place = program.place(entries)
  const array = (type: number, length: number, count: number, address: UserVa = place.address) =>
    new UserRequestArray(program.call(), address, type, length, count)

  it('gives one entry after another', () => {
    const requests = array(9, 8, 3)
    expect(requests.copyEntry(9, 0, 8, 8)).toEqual(u32s(1, 2))
    expect(requests.copyEntry(9, 2, 8, 8)).toEqual(u32s(5, 6))
    expect(requests.copyEntry(9, 1, 4, 12)).toEqual(u32s(3, 4, 0))
  })
  it('judges type and length at the entry', () => {
    expect(outcomeOf(array(8, 8, 1).copyEntry(9, 0, 8, 8))).toBe('EINVAL')
    expect(outcomeOf(array(9, 7, 1).copyEntry(9, 0, 8, 8))).toBe('EINVAL')
    expect(outcomeOf(array(9, 9, 1).copyEntry(9, 0, 8, 8))).toBe('EINVAL')
  })
  it('serves entries up to the one that cannot be read', () => {
    const two = program.place(4096)
    two.bytes.set(u32s(1, 2), 4088)
    const requests = array(9, 8, 2, userVa(two.address + 4088n))
    expect(requests.copyEntry(9, 0, 8, 8)).toEqual(u32s(1, 2))
    expect(outcomeOf(requests.copyEntry(9, 1, 8, 8))).toBe('EFAULT')
  })
  it('gives everything at once, or refuses at once', () => {
    expect(array(9, 8, 3).copyAll(9, 8)).toEqual(entries)
    expect(outcomeOf(array(8, 8, 3).copyAll(9, 8))).toBe('EINVAL')
    expect(outcomeOf(array(9, 8, 0).copyAll(9, 8))).toBe('EINVAL')
    expect(outcomeOf(array(9, 8, 2000).copyAll(9, 8))).toBe('EFAULT')
  })
  it('zero-extends short entries and wants the tail of long ones to be zero', () => {
    expect(array(9, 4, 3).copyAll(9, 8)).toEqual(u32s(1, 0, 2, 0, 3, 0))
    const refused = array(9, 8, 3).copyAll(9, 4)
    expect(refused instanceof Refusal && errnoOf(refused)).toBe('E2BIG')
    const zeroTails = program.place(u32s(1, 0, 3, 0))
    expect(array(9, 8, 2, zeroTails.address).copyAll(9, 4)).toEqual(u32s(1, 3))
  })
})
