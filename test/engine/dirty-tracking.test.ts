import { describe, expect, it } from 'vitest'
import { byteLength, iova, objectId } from '../../src/abi/brands.ts'
import {
  IOMMU_HWPT_GET_DIRTY_BITMAP,
  IOMMU_HWPT_SET_DIRTY_TRACKING,
  type iommu_hwpt_get_dirty_bitmap,
} from '../../src/abi/iommufd/hwpt.ts'
import type { Decoded } from '../../src/abi/layout.ts'
import type { EngineEvent } from '../../src/engine/events.ts'
import { NOWHERE } from './support/program.ts'
import { Bench } from './support/setup.ts'

const HWPT = 3

const setUp = (areas: [bigint, bigint][], flags = 2) => {
  const events: EngineEvent[] = []
  const bench = new Bench(undefined, { observer: { event: (event) => events.push(event) } })
  bench.ioas()
  const device = bench.bind(bench.iommu.device('A'))
  bench.hwpt({ dev: 2, pt: 1, flags })
  for (const [at, length] of areas) expect(bench.map(1, at, length)).toBe(0)
  bench.attach(device, HWPT)
  const domain = bench.domain(HWPT)
  const set = (on: number, args = {}) =>
    bench.program.ioctl(bench.context, IOMMU_HWPT_SET_DIRTY_TRACKING, {
      flags: on,
      hwpt_id: objectId(HWPT),
      ...args,
    }).outcome
  const get = (
    at: bigint,
    length: bigint,
    pageSize: bigint,
    args: Partial<Decoded<typeof iommu_hwpt_get_dirty_bitmap>> = {},
    preset: readonly number[] = [0, 0],
  ) => {
    const bitmap = bench.program.place(Uint8Array.from(preset))
    const { outcome } = bench.program.ioctl(bench.context, IOMMU_HWPT_GET_DIRTY_BITMAP, {
      hwpt_id: objectId(HWPT),
      iova: iova(at),
      length: byteLength(length),
      page_size: pageSize,
      data: bitmap.address,
      ...args,
    })
    return outcome === 0 ? Buffer.from(bitmap.bytes).toString('hex') : outcome
  }
  return { bench, device, domain, set, get, events }
}

const NO_CLEAR = { flags: 1 }

describe('dirty tracking (03 §12)', () => {
  it('example 16: bit positions', () => {
    const { domain, set, get } = setUp([[0x1000000n, 0x8000n]])
    expect(set(1)).toBe(0)
    domain.dmaWrite(0x1001004n)
    domain.dmaWrite(0x1003ffen)
    const peek = (at: bigint, length: bigint, pageSize: bigint) =>
      get(at, length, pageSize, NO_CLEAR)
    expect(peek(0x1000000n, 0x8000n, 0x1000n)).toBe('0a00')
    expect(peek(0x1000000n, 0x8000n, 0x2000n)).toBe('0300')
    expect(peek(0x1000000n, 0x8000n, 0x800n)).toBe('cc00')
    expect(peek(0x1001000n, 0x7000n, 0x1000n)).toBe('0500')
    expect(peek(0x1000000n, 0x8000n, 0x8000n)).toBe('0100')
    expect(peek(0x1000000n, 0x8000n, 0x10000n)).toBe('EINVAL')
    expect(peek(0x1000000n, 0x8000n, 0n)).toBe('EINVAL')
    expect(peek(0x1000800n, 0x1000n, 0x800n)).toBe('EINVAL')
    expect(peek(0x1000000n, 0x7800n, 0x800n)).toBe('EINVAL')
    expect(get(0x1000000n, 0x8000n, 0x1000n, {}, [0xf0, 0])).toBe('fa00')
    expect(get(0x1000000n, 0x8000n, 0x1000n)).toBe('0000')
    domain.dmaWrite(0x1005000n)
    expect(set(1)).toBe(0)
    expect(get(0x1000000n, 0x8000n, 0x1000n)).toBe('0000')
    domain.dmaWrite(0x1006000n)
    expect(set(0)).toBe(0)
    expect(get(0x1000000n, 0x8000n, 0x1000n)).toBe('4000')
  })

  it('example 17: the walk ends at the first gap; an unwritable bitmap loses what was dirty', () => {
    const { domain, set, get, events } = setUp([
      [0x1000000n, 0x4000n],
      [0x1006000n, 0x2000n],
      [0x2000000n, 0x2000n],
      [0x2002000n, 0x1000n],
    ])
    set(1)
    domain.dmaWrite(0x1001000n)
    domain.dmaWrite(0x1006000n)
    expect(get(0x1000000n, 0x8000n, 0x1000n)).toBe('0200')
    expect(events.filter(({ type }) => type === 'dirty-read').at(-1)).toMatchObject({
      stoppedAt: 0x1004000n,
      dirty: 0x1000n,
      lostSpans: 0,
    })
    expect(get(0x1006000n, 0x2000n, 0x1000n)).toBe('0100')
    domain.dmaWrite(0x1006000n)
    expect(get(0x1004000n, 0x4000n, 0x1000n)).toBe('0000')
    domain.dmaWrite(0x1002000n)
    expect(get(0x1000000n, 0x4000n, 0x1000n, { data: NOWHERE, flags: 1 })).toBe('0000')
    expect(get(0x1000000n, 0x4000n, 0x1000n, NO_CLEAR)).toBe('0400')
    expect(get(0x1000000n, 0x4000n, 0x1000n, { data: NOWHERE })).toBe('0000')
    expect(events.filter(({ type }) => type === 'dirty-read').at(-1)).toMatchObject({
      lostSpans: 1,
    })
    expect(get(0x1000000n, 0x4000n, 0x1000n)).toBe('0000')
    domain.dmaWrite(0x2001000n)
    domain.dmaWrite(0x2002000n)
    expect(get(0x2000000n, 0x3000n, 0x1000n)).toBe('0600')
  })

  it('example 18: arguments', () => {
    const { bench, set, get } = setUp([], 3)
    bench.hwpt({ dev: 2, pt: 1 })
    const other = { hwpt_id: objectId(4) }
    expect([set(1, other), set(0, other)]).toEqual(['EOPNOTSUPP', 'EOPNOTSUPP'])
    expect([set(2), set(1, { __reserved: 1 }), set(1, { hwpt_id: objectId(1) })]).toEqual([
      'EOPNOTSUPP',
      0,
      'ENOENT',
    ])
    expect(get(0n, 0x1000n, 0x1000n, { flags: 2 })).toBe('EOPNOTSUPP')
    expect(get(0n, 0x1000n, 0x1000n, { __reserved: 1 })).toBe('EOPNOTSUPP')
    expect(get(0n, 0x1000n, 0x1000n, other)).toBe('EOPNOTSUPP')
    expect(get(0n, 0x1000n, 0n, other)).toBe('EINVAL')
    expect(get(0x1000n, 0n, 0x1000n)).toBe('EOVERFLOW')
    expect(get(0n, 0n, 0x1000n)).toBe('0000')
    expect(get(0xffff_ffff_ffff_f000n, 0x2000n, 0x1000n)).toBe('EOVERFLOW')
    expect(get(0xffff_ffff_ffff_f000n, 0x1000n, 0x1000n)).toBe('0000')
  })

  it('reads 1 TiB of adjacent areas with one call of the driver', () => {
    const { bench, domain, set, get } = setUp([])
    // 64 copies of the same 2 MiB stand for the mappings of a large guest.
    const memory = bench.program.place(0x20_0000)
    for (let n = 0n; n < 64n; n++) bench.map(1, n << 34n, 0x20_0000n, { va: memory.address })
    set(1)
    bench.driver.dirtyReads.length = 0
    expect(get(0n, 1n << 40n, 1n << 30n)).toBe('0000')
    expect(bench.driver.dirtyReads).toEqual([[0n, 0x20_0000n]])
    expect(domain.leaves.size).toBeGreaterThan(0)
  })

  it('reports a leaf that crosses the end of the range only as far as the range goes', () => {
    const { domain, set, get } = setUp([[0x1000000n, 0x8000n]])
    set(1)
    domain.dmaWrite(0x1002000n)
    expect(get(0x1000000n, 0x2000n, 0x1000n, NO_CLEAR)).toBe('0000')
    expect(get(0x1002000n, 0x1000n, 0x1000n, NO_CLEAR)).toBe('0100')
  })

  it('is tracked for the parent when a nested HWPT is attached, and refused for devices that cannot', () => {
    const { bench } = setUp([], 3)
    const cannot = bench.bind(bench.iommu.device('B', { without: ['dirty-tracking'] }))
    expect(bench.hwpt({ dev: cannot.id, pt: 1, flags: 2 })).toBe('EOPNOTSUPP')
    expect(bench.attach(cannot, HWPT)).toBe('EINVAL')
  })
})
