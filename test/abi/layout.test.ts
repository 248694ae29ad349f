import { expect, expectTypeOf, test } from 'vitest'
import {
  byteLength,
  type Fd,
  type Iova,
  iova,
  type ObjectId,
  objectId,
  userVa,
} from '../../src/abi/brands.ts'
import { iommu_hw_info } from '../../src/abi/iommufd/hw-info.ts'
import { iommu_ioas_map, type iommu_ioas_map_file } from '../../src/abi/iommufd/ioas.ts'
import { type Decoded, decode, encode, formatStruct } from '../../src/abi/layout.ts'
import { vfio_iommu_type1_info_cap_iova_range } from '../../src/abi/vfio/container.ts'

const map = {
  size: 40,
  flags: 6,
  ioas_id: objectId(1),
  user_va: userVa(0x7f00_0000_1000n),
  length: byteLength(0x1000n),
  iova: iova(0xffff_ffff_ffff_f000n),
}

test('a structure is laid out as C does, and its values have the types of their meaning', () => {
  expect(iommu_ioas_map.size).toBe(40)
  expect(iommu_ioas_map.place('iova').offset).toBe(32)
  expectTypeOf<Decoded<typeof iommu_ioas_map>['ioas_id']>().toEqualTypeOf<ObjectId>()
  expectTypeOf<Decoded<typeof iommu_ioas_map>['iova']>().toEqualTypeOf<Iova>()
  expectTypeOf<Decoded<typeof iommu_ioas_map_file>['fd']>().toEqualTypeOf<Fd>()
})

test('bytes are little-endian and 64-bit values exact', () => {
  const bytes = encode(iommu_ioas_map, map)
  expect(bytes).toHaveLength(40)
  expect([...bytes.subarray(0, 16)]).toEqual([40, 0, 0, 0, 6, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0])
  expect(decode(iommu_ioas_map, bytes)).toEqual({ ...map, __reserved: 0 })
})

test('missing bytes count as zero, also right after a longer input', () => {
  decode(iommu_ioas_map, new Uint8Array(40).fill(0xff))
  const short = decode(iommu_ioas_map, new Uint8Array(20).fill(0xff))
  expect(short.user_va).toBe(0xffff_ffffn)
  expect(short.length).toBe(0n)
  expect(short.iova).toBe(0n)
})

test('writing into bytes keeps what the value does not mention and never goes beyond them', () => {
  const bytes = new Uint8Array(44).fill(0xaa)
  encode(iommu_ioas_map, { iova: iova(0x1122n) }, bytes)
  expect(bytes.subarray(0, 32)).toEqual(new Uint8Array(32).fill(0xaa))
  expect([...bytes.subarray(32)]).toEqual([0x22, 0x11, 0, 0, 0, 0, 0, 0, 0xaa, 0xaa, 0xaa, 0xaa])
  const short = new Uint8Array(34).fill(0xaa)
  encode(iommu_ioas_map, { iova: iova(0x1122n) }, short)
  expect([...short.subarray(30)]).toEqual([0xaa, 0xaa, 0x22, 0x11])
})

test('flexible arrays take the bytes that follow', () => {
  const bytes = encode(vfio_iommu_type1_info_cap_iova_range, {
    header: { id: 1, version: 1, next: 0 },
    nr_iovas: 2,
    iova_ranges: [
      { start: iova(0n), end: iova(0xfedf_ffffn) },
      { start: iova(0xfef0_0000n), end: iova(0xffff_ffff_ffff_ffffn) },
    ],
  })
  expect(bytes).toHaveLength(16 + 2 * 16)
  const back = decode(vfio_iommu_type1_info_cap_iova_range, bytes)
  expect(back.iova_ranges).toHaveLength(2)
  expect(back.iova_ranges[1]?.end).toBe(0xffff_ffff_ffff_ffffn)
})

test('people read names, not numbers', () => {
  const value = decode(iommu_ioas_map, encode(iommu_ioas_map, { ...map, flags: 0x86 }))
  expect(formatStruct(iommu_ioas_map, value)).toBe(
    '{flags=IOMMU_IOAS_MAP_WRITEABLE|IOMMU_IOAS_MAP_READABLE|0x80, ioas_id=1, ' +
      'user_va=0x7f0000001000, length=0x1000, iova=0xfffffffffffff000}',
  )
  expect(formatStruct(iommu_ioas_map, value, { show: 'out' })).toBe('{iova=0xfffffffffffff000}')
})

test('flags of 64 bits keep what has no name; of a union both members are shown', () => {
  const value = decode(
    iommu_hw_info,
    encode(iommu_hw_info, { out_data_type: 1, out_capabilities: 0x1_0000_0009n }),
  )
  expect(value.in_data_type).toBe(1)
  expect(formatStruct(iommu_hw_info, value, { show: 'out' })).toBe(
    '{data_len=0, out_data_type=IOMMU_HW_INFO_TYPE_INTEL_VTD, out_max_pasid_log2=0, ' +
      'out_capabilities=IOMMU_HW_CAP_DIRTY_TRACKING|IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED|0x100000000}',
  )
})
