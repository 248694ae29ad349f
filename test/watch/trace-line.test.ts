import { expect, test } from 'vitest'
import { byteLength, fd, iova, objectId, userVa } from '../../src/abi/brands.ts'
import { iommu_ioas_alloc, iommu_ioas_map, iommu_ioas_unmap } from '../../src/abi/iommufd/ioas.ts'
import { reasonKind, refuse } from '../../src/engine/reason.ts'
import { traceLine } from '../../src/watch/trace-line.ts'
import { bytes, call } from './calls.ts'

const Collision = reasonKind<{ start: string }>({
  code: 'test-collision',
  errno: 'EEXIST',
  cite: '01 §12.2',
  say: ({ start }) => `the range overlaps the area at ${start}`,
})

test('an ioctl that succeeds: arguments by name, what came back, time taken', () => {
  const line = traceLine(
    call({
      request: 0x3b81,
      input: bytes(iommu_ioas_alloc, { size: 12, flags: 0 }),
      output: bytes(iommu_ioas_alloc, { size: 12, flags: 0, out_ioas_id: objectId(1) }),
    }),
    { at: 0, took: 12_345, fd: fd(3) },
  )
  expect(line).toBe(
    '100 ioctl(3</dev/iommu>, IOMMU_IOAS_ALLOC, {flags=0}) = 0 => {out_ioas_id=1} <0.000012>',
  )
})

test('an ioctl that fails: the errno with its reason', () => {
  const line = traceLine(
    call({
      tid: 101,
      request: 0x3b85,
      input: bytes(iommu_ioas_map, {
        size: 40,
        flags: 0x7,
        ioas_id: objectId(1),
        user_va: userVa(0x7f00_0000_0000n),
        length: byteLength(0x1000n),
        iova: iova(0xffff_ffff_0000_0000n),
      }),
      result: refuse(Collision, { start: '0x1000' }),
    }),
    undefined,
  )
  expect(line).toBe(
    '100/101 ioctl(</dev/iommu>, IOMMU_IOAS_MAP, {flags=IOMMU_IOAS_MAP_FIXED_IOVA|IOMMU_IOAS_MAP_WRITEABLE|IOMMU_IOAS_MAP_READABLE, ioas_id=1, user_va=0x7f0000000000, length=0x1000, iova=0xffffffff00000000}) = -1 EEXIST (the range overlaps the area at 0x1000)',
  )
})

test('a field that is passed and returned is shown again only when it changed', () => {
  const unmap = (length: bigint) =>
    bytes(iommu_ioas_unmap, {
      size: 24,
      ioas_id: objectId(1),
      iova: iova(0n),
      length: byteLength(length),
    })
  const line = (after: bigint) =>
    traceLine(call({ request: 0x3b86, input: unmap(0x1000n), output: unmap(after) }), undefined)
  expect(line(0x1000n)).toMatch(/length=0x1000}\) = 0$/)
  expect(line(0x3000n)).toMatch(/length=0x1000}\) = 0 => {length=0x3000}$/)
})

test('a request without a declaration, and an argument that could not be read, are numbers', () => {
  expect(traceLine(call({ request: 0x3bff, argument: 0x7ffe_0000_0010n }), undefined)).toBe(
    '100 ioctl(</dev/iommu>, 0x3bff, 0x7ffe00000010) = 0',
  )
  expect(traceLine(call({ request: 0x3b81, argument: 0n }), undefined)).toBe(
    '100 ioctl(</dev/iommu>, IOMMU_IOAS_ALLOC, NULL) = 0',
  )
})

test('open, read and write', () => {
  expect(traceLine(call({ operation: 'open', file: '/dev/vfio/vfio', result: 3 }), undefined)).toBe(
    '100 open("/dev/vfio/vfio") = 3',
  )
  expect(
    traceLine(
      call({ operation: 'read', file: 'anon_inode:[iommufd-pgfault]', argument: 64n, result: 32 }),
      { at: 0, fd: fd(5) },
    ),
  ).toBe('100 read(5<anon_inode:[iommufd-pgfault]>, 64) = 32')
  expect(
    traceLine(
      call({
        operation: 'write',
        file: 'vfio0',
        argument: 4n,
        offset: 0x100_0000_0018n,
        result: 4,
      }),
      { at: 0, fd: fd(5) },
    ),
  ).toBe('100 pwrite(5<vfio0>, 4, 0x10000000018) = 4')
})
