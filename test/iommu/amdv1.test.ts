/** The worked examples of 07 §14.1 for AMDv1 and the mock's variant: exact words. */
import { describe, expect, it } from 'vitest'
import { byteLength, iova, physAddr } from '../../src/abi/brands.ts'
import {
  amdv1,
  amdv1Geometry,
  amdv1Mock,
  amdv1MockGeometry,
} from '../../src/iommu/formats/amdv1.ts'
import { PageTable } from '../../src/iommu/page-table.ts'
import { markDirty } from '../../src/iommu/table-dirty.ts'
import { TableMemory } from '../../src/iommu/table-memory.ts'
import { TableWalker } from '../../src/iommu/table-walker.ts'
import { memory, Play, protection } from './play.ts'

const fresh = (width = 64): Play => new Play(new PageTable(amdv1, amdv1Geometry(width), memory()))

const K = 1024n
const M = 1024n * K
const G = 1024n * M
const same = (word: bigint, count: number): bigint[] => Array.from({ length: count }, () => word)

describe('AMDv1 tables (07 §14.1)', () => {
  it('T1: one page', () => {
    const t = fresh()
    expect(t.map(0x1000n, 0x12345000n, 0x1000n, 'RW')).toBe(0)
    expect(t.table.walk(iova(0x1000n))).toMatchObject([
      { level: 2, tableAddress: 0x100000n, index: 0, word: 0x6000000000101401n, kind: 'table' },
      { level: 1, tableAddress: 0x101000n, index: 0, word: 0x6000000000102201n, kind: 'table' },
      { level: 0, tableAddress: 0x102000n, index: 1, word: 0x7000000012345001n, kind: 'leaf' },
    ])
    expect(t.phys(0x1abcn)).toBe(0x12345abcn)
    expect(t.phys(0x2000n)).toBeUndefined()
    expect(t.phys(0xffff_ffff_ffff_f000n)).toBeUndefined()
  })

  it('T1: the bytes in memory are little-endian', () => {
    const t = fresh()
    t.map(0x1000n, 0x12345000n, 0x1000n, 'RW')
    const segment = t.table.memory.segment(2)
    const bytes = new Uint8Array(segment.buffer, 2 * 4096 + 8, 8)
    expect([...bytes]).toEqual([0x01, 0x50, 0x34, 0x12, 0, 0, 0, 0x70])
  })

  it('T2: 64K contiguous', () => {
    const t = fresh()
    t.map(0x10000n, 0x7f0000n, 0x10000n, 'RW')
    expect(t.words(0x10000n, 16, 4n * K, 0)).toEqual(same(0x70000000007f7e01n, 16))
    expect(t.phys(0x1d678n)).toBe(0x7fd678n)
  })

  it('T3: 1M read-only', () => {
    const t = fresh()
    t.map(0x100000n, 0x40100000n, 0x100000n, 'R')
    expect(t.words(0x100000n, 256, 4n * K, 0)).toEqual(same(0x300000004017fe01n, 256))
  })

  it('T4: the physical address bounds the size', () => {
    const t = fresh()
    t.map(0x200000n, 0x40100000n, 0x200000n, 'RW')
    expect(t.words(0x200000n, 256, 4n * K, 0)).toEqual(same(0x700000004017fe01n, 256))
    expect(t.words(0x300000n, 256, 4n * K, 0)).toEqual(same(0x700000004027fe01n, 256))
  })

  it('T5: larger sizes', () => {
    const t = fresh()
    t.map(0x400000n, 0x40400000n, 0x400000n, 'RW')
    t.map(0x40000000n, 0x80000000n, 0x40000000n, 'RW')
    t.map(0x80000000n, 0x100000000n, 0x80000000n, 'RW')
    expect(t.words(0x400000n, 2, 2n * M, 1)).toEqual(same(0x70000000405ffe01n, 2))
    expect(t.word(0x40000000n, 2)).toBe(0x7000000080000001n)
    expect(t.words(0x80000000n, 2, G, 2)).toEqual(same(0x700000013ffffe01n, 2))
    expect(t.phys(0xc1234567n)).toBe(0x141234567n)
  })

  it('T6: mixed sizes', () => {
    const t = fresh()
    t.map(0x1ff000n, 0x401ff000n, 0x203000n, 'RW')
    expect(t.word(0x1ff000n, 0)).toBe(0x70000000401ff001n)
    expect(t.word(0x200000n, 1)).toBe(0x7000000040200001n)
    expect(t.words(0x400000n, 2, 4n * K, 0)).toEqual(same(0x7000000040400e01n, 2))
    expect(t.word(0x402000n, 0)).toBe(0n)
    expect(t.word(0x1fe000n, 0)).toBe(0n)
  })

  it('T7: the size ladder', () => {
    const t = fresh()
    t.map(0x1000n, 0x1000n, 0x400000n, 'RW')
    const ladder: [number, number, bigint][] = [
      [1, 1, 0x7000000000001001n],
      [2, 2, 0x7000000000002e01n],
      [4, 4, 0x7000000000005e01n],
      [8, 8, 0x700000000000be01n],
      [16, 16, 0x7000000000017e01n],
      [32, 32, 0x700000000002fe01n],
      [64, 64, 0x700000000005fe01n],
      [128, 128, 0x70000000000bfe01n],
      [256, 256, 0x700000000017fe01n],
    ]
    for (const [first, count, word] of ladder)
      expect(t.words(BigInt(first) * 4n * K, count, 4n * K, 0)).toEqual(same(word, count))
    expect(t.word(2n * M, 1)).toBe(0x7000000000200001n)
    expect(t.table.walk(iova(4n * M))[1]?.kind).toBe('table')
    expect(t.word(4n * M, 0)).toBe(0x7000000000400001n)
  })

  it('T8: the root rises', () => {
    const t = fresh()
    t.map(0x1000n, 0x1000n, 0x1000n, 'RW')
    expect(t.map(0x8000000000n, 0x2000n, 0x1000n, 'RW')).toBe(0)
    expect(t.table.rootAddress).toBe(0x103000n)
    expect(t.table.topLevel).toBe(3)
    expect(t.word(0n, 3)).toBe(0x6000000000100601n)
    expect(t.word(0x8000000000n, 3)).toBe(0x6000000000104601n)
    expect(t.map(0xffffffffffffe000n, 0x3000n, 0x1000n, 'RW')).toBe(0)
    expect(t.table.topLevel).toBe(5)
    const top = t.table.walk(iova(0xffffffffffffe000n))
    expect(top[0]).toMatchObject({ level: 5, index: 127 })
    expect(top[0]?.word).toBe(0x6000000000000a01n | (top[1]?.tableAddress ?? 0n))
    const old = t.table.walk(iova(0x1000n))
    expect(old.map((step) => step.tableAddress).slice(2)).toEqual([
      0x103000n,
      0x100000n,
      0x101000n,
      0x102000n,
    ])
    expect(t.phys(0x1000n)).toBe(0x1000n)
    expect(t.phys(0xffffffffffffe123n)).toBe(0x3123n)
  })

  it('T9: and stops at the width', () => {
    expect(fresh(48).map(1n << 48n, 0x1000n, 0x1000n, 'RW')).toBe('ERANGE')
    expect(fresh(48).map((1n << 48n) - 0x1000n, 0x1000n, 0x1000n, 'RW')).toBe(0)
  })

  it('T10: there is no 512G page', () => {
    const t = fresh()
    t.map(0n, 0n, 512n * G, 'RW')
    expect(t.table.topLevel).toBe(2)
    expect(t.words(0n, 256, G, 2)).toEqual(same(0x7000001ffffffe01n, 256))
    expect(t.words(256n * G, 256, G, 2)).toEqual(same(0x7000005ffffffe01n, 256))
    const big = fresh()
    expect(big.map(0n, 0n, 1024n * G, 'RW')).toBe(0)
    expect(big.table.topLevel).toBe(3)
    expect(big.words(0n, 2, 512n * G, 3)).toEqual(same(0x7000007ffffffe01n, 2))
    expect(big.table.memory.usedBytes).toBe(4096)
  })

  it('T11: dirty bits of a contiguous entry', () => {
    const t = fresh()
    t.map(0x10000n, 0x7f0000n, 0x4000n, 'RW')
    expect(t.words(0x10000n, 4, 4n * K, 0)).toEqual(same(0x70000000007f1e01n, 4))
    t.table.tracking = true
    expect(t.table.walker.walk(0x12, true)).toBe(true)
    t.table.walker.markDirty()
    expect(t.word(0x12000n, 0)).toBe(0x70000000007f1e41n)
    expect(t.dirty(0x10000n, 16n * K)).toEqual([[0x10000n, 0x3000n]])
    expect(t.dirty(0x12000n, 8n * K)).toEqual([[0x12000n, 0x1000n]])
    expect(t.dirty(0x10000n, 8n * K)).toEqual([[0x10000n, 0x2000n]])
    expect(t.dirty(0x13000n, 4n * K)).toEqual([])
    expect(t.dirty(0x10000n, 16n * K, true)).toEqual([[0x10000n, 0x3000n]])
    expect(t.words(0x10000n, 4, 4n * K, 0)).toEqual(same(0x70000000007f1e01n, 4))
  })

  it('T12: a dirty 2M leaf is reported from where the query starts', () => {
    const t = fresh()
    t.map(0x200000n, 0x200000n, 0x200000n, 'RW')
    expect(markDirty(t.table, iova(0x345678n))).toBe(true)
    expect(t.dirty(0x234000n, 4n * K)).toEqual([[0x234000n, 0x200000n]])
    expect(t.dirty(0x200000n, 4n * K)).toEqual([[0x200000n, 0x200000n]])
  })

  it('T13: unmapping a part takes all from the start, and nothing from the middle', () => {
    const t = fresh()
    t.map(0x10000n, 0x7f0000n, 0x10000n, 'RW')
    expect(t.unmap(0x11000n, 0x1000n)).toBe(0n)
    expect(t.unmap(0x10000n, 0x1000n)).toBe(0x10000n)
    expect(t.words(0x10000n, 16, 4n * K, 0)).toEqual(same(0n, 16))
    expect(t.unmap(0x10000n, 0x1000n)).toBe(0n)
  })

  it('T14: a range that ends inside an entry removes all of it', () => {
    const t = fresh()
    t.map(0x10000n, 0x7f0000n, 0x10000n, 'RW')
    t.map(0x20000n, 0x7e0000n, 0x10000n, 'RW')
    expect(t.unmap(0x10000n, 0x11000n)).toBe(0x20000n)
  })

  it('T15: unmapping stops at a hole', () => {
    const t = fresh()
    t.map(0x1000n, 0x1000n, 0x1000n, 'RW')
    t.map(0x3000n, 0x3000n, 0x1000n, 'RW')
    expect(t.unmap(0x1000n, 0x3000n)).toBe(0x1000n)
    expect(t.phys(0x3000n)).toBe(0x3000n)
    expect(t.unmap(0x2000n, 0x2000n)).toBe(0n)
  })

  it('T16: a table goes when one call covers it', () => {
    const t = fresh()
    t.map(0n, 0x401000n, 0x200000n, 'RW')
    expect(t.table.memory.usedBytes).toBe(3 * 4096)
    expect(t.unmap(0n, 0x200000n)).toBe(0x200000n)
    expect(t.table.memory.usedBytes).toBe(2 * 4096)
    expect(t.word(0n, 1)).toBe(0n)
    t.map(0n, 0x401000n, 0x100000n, 'RW')
    expect(t.unmap(0n, 0x200000n)).toBe(0x100000n)
    expect(t.table.memory.usedBytes).toBe(3 * 4096)
  })

  it('T17: a leaf replaces an empty table, never a used one', () => {
    const t = fresh()
    t.map(0x1000n, 0x1000n, 0x1000n, 'RW')
    expect(t.map(0n, 0x600000n, 0x200000n, 'RW')).toBe('EADDRINUSE')
    t.unmap(0x1000n, 0x1000n)
    expect(t.map(0n, 0x600000n, 0x200000n, 'RW')).toBe(0)
    expect(t.word(0n, 1)).toBe(0x7000000000600001n)
    expect(t.table.memory.usedBytes).toBe(2 * 4096)
  })

  it('T18: a failing map leaves nothing', () => {
    const t = fresh()
    t.map(0x5000n, 0x5000n, 0x1000n, 'RW')
    expect(t.map(0x2000n, 0x102000n, 0x6000n, 'RW')).toBe('EADDRINUSE')
    for (const at of [0x2000n, 0x3000n, 0x4000n, 0x6000n]) expect(t.phys(at)).toBeUndefined()
    expect(t.phys(0x5000n)).toBe(0x5000n)
  })

  it('T19: errors', () => {
    const t = fresh()
    t.map(0x1000n, 0x1000n, 0x1000n, 'RW')
    expect(t.map(0x1000n, 0x1000n, 0x1000n, 'RW')).toBe('EADDRINUSE')
    expect(t.map(0x2000n, 1n << 52n, 0x1000n, 'RW')).toBe('ERANGE')
    expect(t.map(0x1800n, 0x1000n, 0x1000n, 'RW')).toBe('ENXIO')
    expect(t.map(0x2000n, 0x1000n, 0n, 'RW')).toBe('EINVAL')
    expect(t.map(0x2000n, 0x1000n, 0x1000n, '')).toBe('EINVAL')
    expect(t.map(0xffff_ffff_ffff_f000n, 0x1000n, 0x2000n, 'RW')).toBe('EOVERFLOW')
  })

  it('write-only and read-only are told apart by the walker', () => {
    const t = fresh()
    t.map(0x1000n, 0x1000n, 0x1000n, 'W')
    t.map(0x2000n, 0x2000n, 0x1000n, 'R')
    expect(t.word(0x1000n, 0)).toBe(0x5000000000001001n)
    expect(t.table.walker.walk(1, true)).toBe(true)
    expect(t.table.walker.walk(1, false)).toBe(false)
    expect(t.table.walker.walk(2, true)).toBe(false)
    expect(t.table.walker.fault).toBe('no-permission')
    expect(t.table.walker.walk(2, false)).toBe(true)
    expect(t.table.walker.walk(2 ** 27, false)).toBe(false)
    expect(t.table.walker.fault).toBe('out-of-reach')
  })

  it('runs out of table memory as a machine does, and undoes what it wrote', () => {
    const small = new TableMemory({ base: physAddr(0x100000n), limit: 4 * 4096 })
    const t = new Play(new PageTable(amdv1, amdv1Geometry(64), small))
    expect(t.map(0x1ff000n, 0x5000n, 0x2000n, 'RW')).toBe(0)
    expect(t.map(0x3ff000n, 0x5000n, 0x2000n, 'RW')).toBe('ENOMEM')
    expect(t.phys(0x3ff000n)).toBeUndefined()
    t.table.free()
    expect(small.usedBytes).toBe(0)
  })

  it('is walked, and marked dirty, from the shared words alone, as a device worker does', () => {
    const t = fresh()
    t.map(0x1000n, 0x12345000n, 0x1000n, 'RW')
    const { registers, basePage, iovaBits, signExtended, maxRootItems } = t.table.walkable()
    // What postMessage does to it; the memory stays shared.
    const sent = structuredClone({ registers, segments: t.table.memory.share().segments })
    const layout = { basePage, iovaBits, signExtended, maxRootItems }
    const walker = new TableWalker({ format: amdv1, ...layout, ...sent })
    expect(walker.walk(1, true) && walker.frame).toBe(0x12345)
    t.table.tracking = true
    walker.markDirty()
    expect(t.word(0x1000n, 0)).toBe(0x7000000012345041n)
    // The root rises, and the walker sees it at once.
    t.map(0x8000000000n, 0x2000n, 0x1000n, 'RW')
    expect(walker.walk(0x8000000, false) && walker.frame).toBe(2)
    t.unmap(0x1000n, 0x1000n)
    expect(walker.walk(1, false)).toBe(false)
    expect(walker.fault).toBe('not-present')
  })

  it('bounds leaves in small-page mode', () => {
    const t = fresh()
    t.table.map(
      iova(0n),
      physAddr(0x200000n),
      byteLength(0x200000n),
      protection('RW'),
      byteLength(4096n),
    )
    expect(t.words(0n, 512, 4n * K, 0)).toEqual(
      Array.from({ length: 512 }, (_, n) => 0x7000000000200001n + BigInt(n) * 4096n),
    )
  })
})

describe('the mock format (07 §7)', () => {
  it('T32', () => {
    const t = new Play(new PageTable(amdv1Mock, amdv1MockGeometry(0x1ffffff800n), memory()))
    t.map(0x1000000n, 0x12345000n, 0x1000n, 'RW')
    t.map(0x1002000n, 0x12346800n, 0x800n, 'RW')
    expect(t.table.walk(iova(0x1000000n)).map((step) => [step.index, step.word])).toEqual([
      [0, 0x6000000000202401n],
      [16, 0x6000000000204201n],
      [0, 0x600000002468ae01n],
    ])
    expect(t.word(0x1000800n, 0)).toBe(0x600000002468ae01n)
    expect(t.word(0x1002000n, 0)).toBe(0x600000002468d001n)
    expect(t.phys(0x1000fffn)).toBe(0x12345fffn)
    for (const half of [0x1000000n, 0x1000800n]) {
      markDirty(t.table, iova(half))
      expect(t.dirty(0x1000000n, 0x1000n, true)).toEqual([[0x1000000n, 0x800n]])
      expect(t.dirty(0x1000000n, 0x1000n)).toEqual([])
    }
  })

  it('the huge variant has 4K and 1M pages', () => {
    const t = new Play(new PageTable(amdv1Mock, amdv1MockGeometry(0x101000n), memory()))
    expect(t.map(0xff000n, 0x1ff000n, 0x102000n, 'RW')).toBe(0)
    expect(t.table.walk(iova(0x100000n)).at(-1)).toMatchObject({ level: 1, span: 0x100000n })
    expect(t.table.walk(iova(0xff000n)).at(-1)).toMatchObject({ level: 0, span: 0x1000n })
    expect(t.map(0x40000000n, 0x1000n, 0x800n, 'RW')).toBe('ENXIO')
  })
})
