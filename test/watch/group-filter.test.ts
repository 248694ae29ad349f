import { expect, test } from 'vitest'
import { byteLength, iova, objectId } from '../../src/abi/brands.ts'
import { iommu_ioas_copy, iommu_ioas_map } from '../../src/abi/iommufd/ioas.ts'
import type { EngineEvent } from '../../src/engine/events.ts'
import { reasonKind, refuse } from '../../src/engine/reason.ts'
import { type CallGroup, CallGroups } from '../../src/watch/call-group.ts'
import { FilterError } from '../../src/watch/filter-error.ts'
import { type GroupFilterOptions, groupFilter } from '../../src/watch/group-filter.ts'
import { bytes, call } from './calls.ts'

const Overlap = reasonKind({
  code: 'group-filter-test-overlap',
  errno: 'EEXIST',
  cite: '01 §12.2',
  say: () => 'it overlaps',
})

const map = (number: number, at: bigint, ioas: number) =>
  call({
    call: number,
    request: 0x3b85,
    input: bytes(iommu_ioas_map, {
      ioas_id: objectId(ioas),
      iova: iova(at),
      length: byteLength(0x2000n),
    }),
  })

const mapped: EngineEvent = {
  type: 'area-unmapped',
  context: 2,
  call: 3,
  ioas: objectId(9),
  iova: iova(2n ** 64n - 0x1000n),
  length: byteLength(0x1000n),
}

const events: readonly EngineEvent[] = [
  map(1, 0x10000n, 1),
  { ...map(2, 0x12000n, 2), pid: 7, tid: 8, result: refuse(Overlap, {}) },
  mapped,
  call({ call: 3, request: 0x3b86, context: 2 }),
  call({
    call: 4,
    request: 0x3b83,
    input: bytes(iommu_ioas_copy, {
      dst_ioas_id: objectId(5),
      src_ioas_id: objectId(6),
      dst_iova: iova(0x50000n),
      src_iova: iova(0x11000n),
      length: byteLength(0x1000n),
    }),
  }),
  { type: 'context-released', context: 2, call: 0 },
]

const shown = (options: GroupFilterOptions): (number | undefined)[] => {
  const found: CallGroup[] = []
  const matches = groupFilter(options)
  const groups = new CallGroups((group) => {
    if (matches(group)) found.push(group)
  })
  for (const event of events) groups.event(event)
  groups.end()
  return found.map((group) => group.call?.call)
}

test('without options everything is shown, also what no call caused', () => {
  expect(shown({})).toEqual([1, 2, 3, 4, undefined])
})

test('by process or thread, number, errno, context', () => {
  expect(shown({ pid: ['7'] })).toEqual([2])
  expect(shown({ pid: ['8'] })).toEqual([2])
  expect(shown({ call: ['2-3'] })).toEqual([2, 3])
  expect(shown({ call: ['#1,4'] })).toEqual([1, 4])
  expect(shown({ errno: ['eexist'] })).toEqual([2])
  expect(shown({ errno: ['17'] })).toEqual([2])
  expect(shown({ context: ['2'] })).toEqual([3, undefined])
})

test('by object: those that the structure names, and those that something happened to', () => {
  expect(shown({ object: ['1'] })).toEqual([1])
  expect(shown({ object: ['9'] })).toEqual([3])
  expect(shown({ object: ['6'] })).toEqual([4])
  expect(shown({ object: ['4'] })).toEqual([])
})

test('by IOVA: every range that has one in common, to the end of the address space', () => {
  expect(shown({ iova: ['0x11fff'] })).toEqual([1, 4])
  expect(shown({ iova: ['0x12000-0x12fff'] })).toEqual([2])
  expect(shown({ iova: ['0x11000+0x1001'] })).toEqual([1, 2, 4])
  expect(shown({ iova: ['0xffffffffffffffff'] })).toEqual([3])
  expect(shown({ iova: ['0x0'] })).toEqual([])
})

test('options of one kind add up, those of different kinds narrow down', () => {
  expect(shown({ call: ['1', '2'], errno: ['EEXIST'] })).toEqual([2])
  expect(shown({ pid: ['7'], call: ['1'] })).toEqual([])
})

test('what nothing can match is told in a sentence', () => {
  for (const wrong of [
    { pid: ['me'] },
    { errno: ['EFOO'] },
    { object: ['ioas'] },
    { iova: ['0x2000-0x1000'] },
    { iova: ['0x1000+0'] },
    { iova: ['0x10000000000000000'] },
  ])
    expect(() => groupFilter(wrong)).toThrow(FilterError)
})
