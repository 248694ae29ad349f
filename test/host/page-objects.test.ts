/** What is kept of pages whose owner gives them up (01 §18). */
import { describe, expect, test } from 'vitest'
import { MemoryObject } from '../../src/host/page-objects.ts'

const PAGE = 4096

/** An object over `pages` pages of plain memory; `end` is the first page that cannot be reached. */
const over = (pages: number, end = pages) => {
  const memory = new Uint8Array(pages * PAGE)
  const object = new MemoryObject('memory of a test', 1)
  object.reachedBy({
    read: (page, offset, into) => {
      const at = page * PAGE + offset
      if (at + into.length > end * PAGE) return false
      into.set(memory.subarray(at, at + into.length))
      return true
    },
    write: () => false,
  })
  return { memory, object }
}

const contentOf = (object: MemoryObject, page: number): Uint8Array => {
  const bytes = new Uint8Array(PAGE)
  expect(object.read(page, 0, bytes)).toBe(true)
  return bytes
}

describe('saved pages', () => {
  test('keep what they held, empty ones too, however many there are', () => {
    const { memory, object } = over(600)
    object.hold(0, 600)
    memory.fill(7, 3 * PAGE, 4 * PAGE)
    memory[599 * PAGE + 9] = 5
    object.save(0, 600)
    memory.fill(99)
    expect(contentOf(object, 3)).toEqual(new Uint8Array(PAGE).fill(7))
    expect(contentOf(object, 599)[9]).toBe(5)
    for (const page of [0, 2, 4, 255, 256, 598])
      expect(contentOf(object, page)).toEqual(new Uint8Array(PAGE))
  })

  test('can be written, each for itself', () => {
    const { object } = over(3)
    object.hold(0, 3)
    object.save(0, 3)
    expect(object.write(1, 10, Uint8Array.of(1, 2))).toBe(true)
    expect(object.write(1, 4095, Uint8Array.of(3, 4))).toBe(true)
    expect(contentOf(object, 1)[10]).toBe(1)
    expect(contentOf(object, 1)[4095]).toBe(3)
    expect(contentOf(object, 2)[0]).toBe(4)
    expect(contentOf(object, 0)).toEqual(new Uint8Array(PAGE))
    expect(contentOf(object, 2).subarray(1)).toEqual(new Uint8Array(PAGE - 1))
  })

  test('are those that can be reached; what was saved before stays', () => {
    const { memory, object } = over(8, 4)
    memory.fill(1, 0, 4 * PAGE)
    object.hold(0, 8)
    object.save(1, 2)
    memory.fill(2, 0, 4 * PAGE)
    object.save(0, 8)
    memory.fill(3)
    expect([0, 1, 2, 3].map((page) => contentOf(object, page)[0])).toEqual([2, 1, 2, 2])
    expect(object.read(5, 0, new Uint8Array(1))).toBe(false)
  })
})
