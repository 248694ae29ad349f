import { describe, expect, it } from 'vitest'
import { objectId } from '../../src/abi/brands.ts'
import { IOMMU_HWPT_INVALIDATE, type iommu_hwpt_invalidate } from '../../src/abi/iommufd/hwpt.ts'
import type { Decoded } from '../../src/abi/layout.ts'
import { HwptNested } from '../../src/engine/hwpt.ts'
import { u32s } from './support/program.ts'
import { s1 } from './support/setup.ts'
import { TestNested } from './support/test-iommu.ts'

const setUp = () => {
  const { bench, device, ioas } = s1()
  const parent = Number(bench.hwpt({ dev: device.id, pt: ioas, flags: 1 }))
  const nested = Number(
    bench.hwpt({ dev: device.id, pt: parent, dataType: 0xdead, data: u32s(0xbadbeef, 0) }),
  )
  const object = bench.context.objects.peek(nested)
  if (!(object instanceof HwptNested) || !(object.domain instanceof TestNested))
    throw new Error('no nested HWPT')
  const { words } = object.domain
  const invalidate = (
    entries: Uint8Array,
    args: Partial<Decoded<typeof iommu_hwpt_invalidate>> = {},
  ) => {
    const { outcome, after } = bench.program.ioctl(bench.context, IOMMU_HWPT_INVALIDATE, {
      hwpt_id: objectId(nested),
      data_uptr: bench.program.place(entries).address,
      data_type: 0xdead_beef,
      entry_len: 8,
      entry_num: entries.length / 8,
      ...args,
    })
    return [outcome, after.entry_num]
  }
  return { bench, parent, nested, words, invalidate }
}

const one = u32s(0, 0)
const FULL = 0xbadbeef

describe('IOMMU_HWPT_INVALIDATE (03 §11, example 13)', () => {
  it('judges the array before the object, and the object before the driver', () => {
    const { invalidate, parent } = setUp()
    expect(invalidate(one, { hwpt_id: objectId(parent) })).toEqual(['EINVAL', 0])
    expect(invalidate(one, { hwpt_id: objectId(99) })).toEqual(['ENOENT', 0])
    expect(invalidate(one, { data_uptr: 0n as never, hwpt_id: objectId(99) })).toEqual([
      'EINVAL',
      0,
    ])
    expect(invalidate(one, { entry_len: 0 })).toEqual(['EINVAL', 0])
    expect(invalidate(one, { entry_len: 4097 })).toEqual(['EINVAL', 0])
    expect(invalidate(one, { entry_len: 9 })).toEqual(['EINVAL', 0])
    expect(invalidate(one, { entry_len: 1 })).toEqual(['EINVAL', 0])
    expect(invalidate(one, { entry_num: 524289 })).toEqual(['EINVAL', 0])
    expect(invalidate(one, { __reserved: 1 })).toEqual(['EOPNOTSUPP', 0])
  })

  it('with no entries asks for the type only', () => {
    const { invalidate } = setUp()
    const none = { entry_num: 0, data_uptr: 0n as never, entry_len: 0 }
    expect(invalidate(one, none)).toEqual([0, 0])
    expect(invalidate(one, { ...none, data_type: 1 })).toEqual(['EINVAL', 0])
  })

  it('stops at the first bad entry; the earlier ones have taken effect and are counted', () => {
    const { invalidate, words } = setUp()
    expect(invalidate(u32s(0, 0, 0xffff_ffff, 1))).toEqual(['EOPNOTSUPP', 1])
    expect(words).toEqual([0, FULL, FULL, FULL])
    expect(invalidate(u32s(0, 1, 0, 4))).toEqual(['EINVAL', 1])
    expect(invalidate(u32s(0, 2, 0, 3))).toEqual([0, 2])
    expect(words).toEqual([0, 0, 0, 0])
  })

  it('keeps what was done when the struct cannot be written back', () => {
    const { bench, invalidate, words } = setUp()
    bench.program.injector.arm(1, 1, ['copy-to-user'])
    expect(invalidate(one)[0]).toBe('EFAULT')
    expect(words).toEqual([0, FULL, FULL, FULL])
  })

  it('is EOPNOTSUPP on a vIOMMU whose driver has none', () => {
    const { bench, invalidate, parent } = setUp()
    const viommu = bench.viommu(2, parent)
    expect(invalidate(one, { hwpt_id: objectId(viommu) })).toEqual(['EOPNOTSUPP', 0])
  })
})
