/** The worked examples of 07 §14.1 for the formats beside AMDv1: exact words. */
import { describe, expect, it } from 'vitest'
import { iova } from '../../src/abi/brands.ts'
import {
  type ArmGranule,
  armGeometry,
  armStage1,
  armStage2,
} from '../../src/iommu/formats/arm-lpae.ts'
import { riscv64, riscv64Geometry } from '../../src/iommu/formats/riscv64.ts'
import { vtdSecondStage, vtdSecondStageGeometry } from '../../src/iommu/formats/vtd-second-stage.ts'
import { x8664 } from '../../src/iommu/formats/x86-64.ts'
import { LpaeTable } from '../../src/iommu/lpae-table.ts'
import { PageTable } from '../../src/iommu/page-table.ts'
import { memory, Play } from './play.ts'

const M2 = 0x200000n
const G1 = 0x40000000n
const SIZES = 0x40201000n

/** The calls of T20. */
const playT20 = (t: Play, writeOnly = true): void => {
  expect(t.map(0x1000n, 0x12345000n, 0x1000n, 'RW')).toBe(0)
  expect(t.map(0x2000n, 0x12346000n, 0x1000n, 'R')).toBe(0)
  if (writeOnly) expect(t.map(0x3000n, 0x12347000n, 0x1000n, 'W')).toBe(0)
  expect(t.map(M2, 0x40200000n, M2, 'RW')).toBe(0)
  expect(t.map(G1, 0x80000000n, G1, 'R')).toBe(0)
}

describe('x86-64 tables', () => {
  const signed = { iovaBits: 48, topLevel: 3, signExtended: true, pageSizes: SIZES }

  it('T20: VT-d first stage', () => {
    const t = new Play(new PageTable(x8664({ coherentWalk: true }), signed, memory()))
    playT20(t)
    expect(t.word(0n, 3)).toBe(0x101027n)
    expect(t.word(0n, 2)).toBe(0x102027n)
    expect(t.word(G1, 2)).toBe(0x800000a5n)
    expect(t.word(0n, 1)).toBe(0x103027n)
    expect(t.word(M2, 1)).toBe(0x402000e7n)
    expect(t.words(0x1000n, 3, 0x1000n, 0)).toEqual([0x12345067n, 0x12346025n, 0x12347067n])
    expect(t.map(0x800000000000n, 0x1000n, 0x1000n, 'RW')).toBe('ERANGE')
    expect(t.table.walker.walk(0x800000000, false)).toBe(false)
    expect(t.table.walker.walk(3, false)).toBe(true)
    expect(t.table.walker.walk(2, true)).toBe(false)
  })

  it('T20: with walks that are not coherent', () => {
    const t = new Play(new PageTable(x8664({ coherentWalk: false }), signed, memory()))
    playT20(t)
    expect([3, 2, 1].map((level) => t.word(0n, level))).toEqual([0x101227n, 0x102227n, 0x103227n])
    expect(t.word(0x1000n, 0)).toBe(0x12345067n)
  })

  it('the table code itself takes the upper half', () => {
    const t = new Play(new PageTable(x8664({ coherentWalk: true }), signed, memory()))
    expect(t.map(0xffff_8000_0000_0000n, 0x1000n, 0x1000n, 'RW')).toBe(0)
    expect(t.phys(0xffff_8000_0000_0123n)).toBe(0x1123n)
    expect(t.table.walk(iova(0xffff_8000_0000_0000n))[0]?.index).toBe(256)
    expect(t.unmap(0xffff_8000_0000_0000n, 0x1000n)).toBe(0x1000n)
  })

  it('T21: AMD v2, top of the aperture', () => {
    const geometry = { iovaBits: 47, topLevel: 3, pageSizes: SIZES }
    const t = new Play(new PageTable(x8664({ coherentWalk: true }), geometry, memory()))
    expect(t.map(0x7ffffffff000n, 0x12345000n, 0x1000n, 'RW')).toBe(0)
    expect(t.table.walk(iova(0x7ffffffff000n)).map(({ index, word }) => [index, word])).toEqual([
      [255, 0x101027n],
      [511, 0x102027n],
      [511, 0x103027n],
      [511, 0x12345067n],
    ])
    expect(t.map(0x800000000000n, 0x1000n, 0x1000n, 'RW')).toBe('ERANGE')
  })
})

describe('VT-d second stage', () => {
  const make = (options: { snoop?: boolean; coherentWalk?: boolean; nestParent?: boolean }): Play =>
    new Play(
      new PageTable(
        vtdSecondStage({ snoop: false, coherentWalk: true, nestParent: false, ...options }),
        { iovaBits: 48, topLevel: 3, pageSizes: SIZES },
        memory(),
      ),
    )

  it('T22: 48-bit, snooping', () => {
    const t = make({ snoop: true })
    playT20(t, false)
    expect(t.word(0n, 3)).toBe(0x101003n)
    expect(t.word(0n, 2)).toBe(0x102003n)
    expect(t.word(G1, 2)).toBe(0x80000881n)
    expect(t.word(0n, 1)).toBe(0x103003n)
    expect(t.word(M2, 1)).toBe(0x40200883n)
    expect(t.words(0x1000n, 2, 0x1000n, 0)).toEqual([0x12345803n, 0x12346801n])
    const write = (page: number): void => {
      expect(t.table.walker.walk(page, true)).toBe(true)
      t.table.walker.markDirty()
    }
    write(1)
    expect(t.word(0x1000n, 0)).toBe(0x12345803n)
    t.table.tracking = true
    write(1)
    write(0x201)
    expect(t.word(0x1000n, 0)).toBe(0x12345b03n)
    expect(t.word(M2, 1)).toBe(0x40200b83n)
    expect(t.dirty(0x1000n, 0x2000n, true)).toEqual([[0x1000n, 0x1000n]])
    expect(t.word(0x1000n, 0)).toBe(0x12345903n)
    expect(t.dirty(0x1000n, 0x2000n)).toEqual([])
  })

  it('T23: 39 bits in a table of four levels', () => {
    const geometry = vtdSecondStageGeometry(39, 0b00100, SIZES)
    expect(geometry).toMatchObject({ iovaBits: 39, topLevel: 3 })
    if (geometry === undefined) return
    const format = vtdSecondStage({ snoop: false, coherentWalk: true, nestParent: false })
    const t = new Play(new PageTable(format, geometry, memory()))
    expect(t.map(0x7ffffff000n, 0x12345000n, 0x1000n, 'RW')).toBe(0)
    expect(t.table.walk(iova(0x7ffffff000n)).map(({ index }) => index)).toEqual([0, 511, 511, 511])
    expect(t.word(0x7ffffff000n, 0)).toBe(0x12345003n)
    expect(t.map(1n << 39n, 0x1000n, 0x1000n, 'RW')).toBe('ERANGE')
  })

  it('T24: a nest parent holds nothing read-only', () => {
    const t = make({ nestParent: true })
    expect(t.map(0x1000n, 0x12345000n, 0x1000n, 'R')).toBe('EINVAL')
    expect(t.map(0x1000n, 0x12345000n, 0x1000n, 'W')).toBe(0)
    expect(t.map(0x2000n, 0x12345000n, 0x1000n, 'RW')).toBe(0)
    expect(t.words(0x1000n, 2, 0x1000n, 0)).toEqual([0x12345002n, 0x12345003n])
    expect(t.table.walker.walk(1, false)).toBe(false)
  })

  it('table items say when walks are not coherent', () => {
    const t = make({ coherentWalk: false })
    t.map(0x1000n, 0x12345000n, 0x1000n, 'RW')
    expect(t.word(0n, 3)).toBe(0x101403n)
    expect(t.word(0x1000n, 0)).toBe(0x12345003n)
  })

  it('picks width and depth (07 §4.1)', () => {
    const depth = (mgaw: number, sagaw: number): unknown =>
      vtdSecondStageGeometry(mgaw, sagaw, SIZES)
    expect(depth(57, 0b01100)).toMatchObject({ iovaBits: 57, topLevel: 4 })
    expect(depth(57, 0b00100)).toMatchObject({ iovaBits: 48, topLevel: 3 })
    expect(depth(48, 0b01100)).toMatchObject({ iovaBits: 48, topLevel: 4 })
    expect(depth(39, 0b00010)).toMatchObject({ iovaBits: 39, topLevel: 2 })
    expect(depth(30, 0b00010)).toBeUndefined()
  })
})

describe('ARM LPAE', () => {
  const stage1 = (dirty = false): Play =>
    new Play(
      new LpaeTable(
        armStage1({ granuleShift: 12, outputBits: 48, dirty }),
        armGeometry(1, 12, 48, 48),
        memory(),
      ),
    )

  it('T25: stage 1', () => {
    const t = stage1()
    playT20(t)
    expect(t.word(0n, 3)).toBe(0x101003n)
    expect(t.word(0n, 2)).toBe(0x102003n)
    expect(t.word(0n, 1)).toBe(0x103003n)
    expect(t.words(0x1000n, 3, 0x1000n, 0)).toEqual([0x12345f47n, 0x12346fc7n, 0x12347f47n])
    expect(t.word(M2, 1)).toBe(0x40200f45n)
    expect(t.word(G1, 2)).toBe(0x80000fc5n)
  })

  it('T26: dirty-capable stage 1 starts dirty', () => {
    const t = stage1(true)
    t.map(0x1000n, 0x12345000n, 0x1000n, 'RW')
    t.map(0x2000n, 0x12346000n, 0x1000n, 'R')
    expect(t.word(0x1000n, 0)).toBe(0x0008000012345f47n)
    expect(t.word(0x2000n, 0)).toBe(0x12346fc7n)
    expect(t.dirty(0x1000n, 0x2000n, true)).toEqual([[0x1000n, 0x1000n]])
    expect(t.word(0x1000n, 0)).toBe(0x0008000012345fc7n)
    expect(t.dirty(0x1000n, 0x2000n)).toEqual([])
    expect(t.table.walker.walk(1, true)).toBe(true)
    t.table.walker.markDirty()
    expect(t.word(0x1000n, 0)).toBe(0x0008000012345f47n)
    expect(t.table.walker.walk(2, true)).toBe(false)
  })

  it('T27: stage 2, with and without forced write-back', () => {
    for (const [forceWriteBack, words] of [
      [false, [0x123457ffn, 0x1234677fn, 0x402007fdn]],
      [true, [0x123457dbn, 0x1234675bn, 0x402007d9n]],
    ] as const) {
      const t = new Play(
        new LpaeTable(
          armStage2({ granuleShift: 12, outputBits: 48, forceWriteBack }),
          armGeometry(2, 12, 48, 48),
          memory(),
        ),
      )
      playT20(t)
      expect([t.word(0x1000n, 0), t.word(0x2000n, 0), t.word(M2, 1)]).toEqual(words)
    }
  })

  it('T28: stage 2 concatenates root tables', () => {
    const geometry = armGeometry(2, 12, 40, 40)
    const format = armStage2({ granuleShift: 12, outputBits: 40, forceWriteBack: false })
    const t = new Play(new LpaeTable(format, geometry, memory()))
    t.map(0x8000000000n, 0x1000n, 0x1000n, 'RW')
    expect(t.table.walk(iova(0x8000000000n))[0]).toMatchObject({ level: 2, index: 512 })
    expect(t.phys(0x8000000000n)).toBe(0x1000n)
    expect(t.table.rootItems(t.table.topLevel)).toBe(1024)
  })

  it('T29: 52-bit output keeps the upper address bits below', () => {
    const format = armStage1({ granuleShift: 16, outputBits: 52, dirty: false })
    const t = new Play(new LpaeTable(format, armGeometry(1, 16, 52, 52), memory()))
    t.map(0x10000n, 0x000a000012340000n, 0x10000n, 'RW')
    expect(t.word(0x10000n, 0)).toBe(0x000000001234af47n)
    expect(t.phys(0x1abcdn)).toBe(0x000a00001234abcdn)
  })

  it('levels and root entries (07 §5.2)', () => {
    const rows: [ArmGranule, number, number, number, number, number][] = [
      [12, 32, 1, 4, 1, 4],
      [12, 36, 1, 64, 1, 64],
      [12, 40, 0, 2, 1, 1024],
      [12, 42, 0, 8, 1, 4096],
      [12, 44, 0, 32, 0, 32],
      [12, 48, 0, 512, 0, 512],
      [14, 40, 1, 16, 2, 32768],
      [14, 42, 1, 64, 1, 64],
      [14, 44, 1, 256, 1, 256],
      [14, 48, 0, 2, 1, 4096],
      [16, 40, 2, 2048, 2, 2048],
      [16, 42, 2, 8192, 2, 8192],
      [16, 44, 1, 4, 1, 4],
      [16, 48, 1, 64, 1, 64],
      [16, 52, 1, 1024, 1, 1024],
    ]
    for (const [granuleShift, width, start1, root1, start2, root2] of rows) {
      const root = (stage: 1 | 2): number[] => {
        const format = armStage1({ granuleShift, outputBits: width, dirty: false })
        const table = new LpaeTable(
          format,
          armGeometry(stage, granuleShift, width, width),
          memory(),
        )
        return [3 - table.topLevel, table.rootItems(table.topLevel)]
      }
      expect([granuleShift, width, root(1), root(2)]).toEqual([
        granuleShift,
        width,
        [start1, root1],
        [start2, root2],
      ])
    }
  })

  it('takes no part of a block away, and whole tables with their holes (07 §1.7)', () => {
    const t = stage1()
    t.map(M2, 0x40200000n, M2, 'RW')
    expect(t.unmap(M2, 0x1000n)).toBe(0n)
    expect(t.phys(M2)).toBe(0x40200000n)
    expect(t.unmap(M2, M2)).toBe(M2)
    t.map(0x1000n, 0x1000n, 0x1000n, 'RW')
    expect(t.unmap(0n, M2)).toBe(M2)
    expect(t.phys(0x1000n)).toBeUndefined()
    expect(t.unmap(0n, M2)).toBe(0n)
  })

  it('has its own errors (07 §1.6)', () => {
    const t = stage1()
    t.map(0x1000n, 0x1000n, 0x1000n, 'RW')
    expect(t.map(0x1000n, 0x1000n, 0x1000n, 'RW')).toBe('EEXIST')
    expect(t.map(0x1800n, 0x1000n, 0x1000n, '')).toBe('EINVAL')
    expect(t.map(1n << 48n, 0x1000n, 0x1000n, 'RW')).toBe('ERANGE')
    expect(t.map(0x2000n, 1n << 48n, 0x1000n, 'RW')).toBe('ERANGE')
    expect(t.map(0x2000n, 0x1000n, 0x1000n, '')).toBe('EINVAL')
    expect(t.map(0n, 0x40000000n, M2, 'RW')).toBe(0)
    expect(t.word(0n, 1)).toBe(0x40000f45n)
  })
})

describe('RISC-V', () => {
  const sv48 = (): Play => new Play(new PageTable(riscv64, riscv64Geometry(48), memory()))

  it('T30', () => {
    const t = sv48()
    t.map(0x1000n, 0x12345000n, 0x1000n, 'RW')
    t.map(0x2000n, 0x12346000n, 0x1000n, 'R')
    expect(t.words(0x1000n, 2, 0x1000n, 0)).toEqual([0x048d14dfn, 0x048d185bn])
    expect([3, 2, 1].map((level) => t.word(0n, level))).toEqual([0x40401n, 0x40801n, 0x40c01n])
    t.map(0x10000n, 0x7f0000n, 0x10000n, 'RW')
    expect(new Set(t.words(0x10000n, 16, 0x1000n, 0))).toEqual(new Set([0x80000000001fe0dfn]))
    expect(t.phys(0x1abcdn)).toBe(0x7fabcdn)
    t.map(M2, 0x40200000n, M2, 'RW')
    t.map(G1, 0x80000000n, G1, 'RW')
    t.map(1n << 39n, 0n, 1n << 39n, 'RW')
    expect(t.word(M2, 1)).toBe(0x100800dfn)
    expect(t.word(G1, 2)).toBe(0x200000dfn)
    expect(t.word(1n << 39n, 3)).toBe(0xdfn)
    expect(t.unmap(0x11000n, 0x1000n)).toBe(0n)
    expect(t.unmap(0x10000n, 0x1000n)).toBe(0x10000n)
    expect(t.table.walker.walk(2, true)).toBe(false)
    expect(t.table.walker.walk(2, false)).toBe(true)
  })

  it('T31: 64K pages on both sides of a table border', () => {
    const t = sv48()
    t.map(0x1f0000n, 0x401f0000n, 0x20000n, 'RW')
    expect(new Set(t.words(0x1f0000n, 16, 0x1000n, 0))).toEqual(new Set([0x800000001007e0dfn]))
    expect(new Set(t.words(0x200000n, 16, 0x1000n, 0))).toEqual(new Set([0x80000000100820dfn]))
    expect(t.word(0x1ef000n, 0)).toBe(0n)
  })
})
