import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { byteLength, iova, type UserVa, userVa } from '../../src/abi/brands.ts'
import { granularityShift, UserBitmap } from '../../src/engine/dirty-bitmap.ts'
import type { UserMemory } from '../../src/engine/ports.ts'

const PAGE = 4096

/** Pages of memory from address 0 on, of which some cannot be written. */
class Pages implements UserMemory {
  readonly bytes: Uint8Array
  readonly #holes: ReadonlySet<number>
  accesses = 0

  constructor(pages: number, holes: readonly number[] = []) {
    this.bytes = new Uint8Array(pages * PAGE)
    this.#holes = new Set(holes)
  }

  #reach(address: UserVa, length: number): number {
    this.accesses++
    let done = 0
    while (done < length) {
      const at = Number(address) + done
      if (at >= this.bytes.length || this.#holes.has(Math.floor(at / PAGE))) break
      done += Math.min(PAGE - (at % PAGE), length - done)
    }
    return done
  }

  read(address: UserVa, length: number): Uint8Array {
    const at = Number(address)
    return this.bytes.slice(at, at + this.#reach(address, length))
  }

  write(address: UserVa, bytes: Uint8Array): number {
    const done = this.#reach(address, bytes.length)
    this.bytes.set(bytes.subarray(0, done), Number(address))
    return done
  }
}

describe('the bitmap of GET_DIRTY_BITMAP (03 §12.3)', () => {
  it('takes the lowest set bit of page_size as granularity', () => {
    expect(granularityShift(0x1000n)).toBe(12n)
    expect(granularityShift(0x3000n)).toBe(12n)
    expect(granularityShift(1n)).toBe(0n)
    expect(granularityShift(1n << 63n)).toBe(63n)
  })

  it('ORs bits in and leaves the rest alone', () => {
    const memory = new Pages(1)
    memory.bytes.fill(0xf0, 0, 2)
    const bitmap = new UserBitmap(memory, userVa(0n), iova(0x1000000n), iova(0x1007fffn), 0x1000n)
    bitmap.setSpan(iova(0x1001000n), byteLength(0x1000n))
    bitmap.setSpan(iova(0x1003000n), byteLength(0x1000n))
    bitmap.flush()
    expect([...memory.bytes.subarray(0, 2)]).toEqual([0xfa, 0xf0])
  })

  it('clips spans to the range that was asked for', () => {
    const memory = new Pages(1)
    const bitmap = new UserBitmap(memory, userVa(8n), iova(0x4000n), iova(0x7fffn), 0x1000n)
    bitmap.setSpan(iova(0n), byteLength(0x100000n))
    bitmap.flush()
    expect([...memory.bytes.subarray(7, 11)]).toEqual([0, 0x0f, 0, 0])
    expect(bitmap.dirtyBytes).toBe(0x4000n)
  })

  it('drops what a page cannot take together with the rest of that span, and goes on with the next', () => {
    // One bit a byte of IOVA space: 32768 bits fill a page of bitmap. Page 1 cannot be written.
    const memory = new Pages(4, [1])
    const bitmap = new UserBitmap(memory, userVa(0n), iova(0n), iova(0x1ffffn), 1n)
    bitmap.setSpan(iova(0x7ff8n), byteLength(0x8000n + 16n))
    bitmap.setSpan(iova(0x18000n), byteLength(8n))
    bitmap.flush()
    expect(memory.bytes[0xfff]).toBe(0xff)
    expect(memory.bytes[0x2000]).toBe(0)
    expect(memory.bytes[0x3000]).toBe(0xff)
    expect(bitmap.dropped).toBe(1)
  })

  it('reads and writes each page of bitmap once, however many spans fall into it', () => {
    const memory = new Pages(2)
    const bitmap = new UserBitmap(memory, userVa(0n), iova(0n), iova(0xfffffffn), 0x1000n)
    for (let at = 0n; at < 0x10000000n; at += 0x2000n) bitmap.setSpan(iova(at), byteLength(0x1000n))
    bitmap.flush()
    expect(memory.bytes.subarray(0, 8192).every((byte) => byte === 0x55)).toBe(true)
    expect(memory.accesses).toBe(4)
  })

  it('agrees with setting bit after bit, for any ascending spans, offset and unwritable pages', () => {
    // A gap, the size of a leaf, and how many neighbouring leaves come as one span.
    const span = fc.tuple(
      fc.nat(0x3000),
      fc.integer({ min: 1, max: 0x9000 }),
      fc.integer({ min: 1, max: 4 }),
    )
    fc.assert(
      fc.property(
        fc.nat(4200),
        fc.array(span, { maxLength: 12 }),
        fc.uniqueArray(fc.nat(5), { maxLength: 2 }),
        fc.constantFrom(1n, 2n, 6n, 8n),
        (data, steps, holes, pageSize) => {
          const last = 0x1ffffn
          const memory = new Pages(6, holes)
          const bitmap = new UserBitmap(
            memory,
            userVa(BigInt(data)),
            iova(0n),
            iova(last),
            pageSize,
          )
          const expected = new Uint8Array(6 * PAGE)
          const shift = Number(granularityShift(pageSize))
          let at = 0
          for (const [gap, leaf, count] of steps) {
            at += gap
            const length = byteLength(BigInt(leaf * count))
            if (count === 1) bitmap.setSpan(iova(BigInt(at)), length)
            else bitmap.setSpan(iova(BigInt(at)), length, byteLength(BigInt(leaf)))
            for (let n = 0; n < count; n++, at += leaf) {
              const end = Math.min(at + leaf - 1, Number(last))
              for (let bit = at >> shift; bit <= end >> shift && at <= end; bit++) {
                const byte = data + (bit >> 3)
                const page = Math.floor(byte / PAGE)
                if (holes.includes(page) || page >= 6) break
                expected[byte] = (expected[byte] ?? 0) | (1 << (bit & 7))
              }
            }
          }
          bitmap.flush()
          expect(Buffer.from(memory.bytes).equals(expected)).toBe(true)
        },
      ),
      { numRuns: 200 },
    )
  })
})
