import { expect, test } from 'vitest'
import { reasonKind, refuse } from '../../src/engine/reason.ts'
import { FilterError } from '../../src/watch/filter-error.ts'
import { traceFilter } from '../../src/watch/trace-filter.ts'
import { call } from './calls.ts'

const map = call({ request: 0x3b85 })
const unmap = call({ request: 0x3b86 })
const mapDma = call({ request: 0x3b71 })
const open = call({ operation: 'open' })
const calls = [map, unmap, mapDma, open]

const shown = (...expressions: string[]) => calls.filter(traceFilter(expressions))

test('everything without a filter', () => {
  expect(shown()).toEqual(calls)
  expect(shown('all')).toEqual(calls)
})

test.each([
  'IOMMU_IOAS_MAP',
  'IOAS_MAP',
  'ioas_map',
  'iommu_ioas_map',
  '0x3b85',
  '0X3B85',
  '15237',
  'trace=IOAS_MAP',
])('%s is one call', (name) => {
  expect(shown(name)).toEqual([map])
})

test('the prefix of the container may be left out as well', () => {
  expect(shown('MAP_DMA')).toEqual([mapDma])
  expect(shown('IOMMU_MAP_DMA')).toEqual([mapDma])
})

test('lists, patterns and system calls', () => {
  expect(shown('IOAS_MAP,IOAS_UNMAP')).toEqual([map, unmap])
  expect(shown('IOMMU_IOAS_*')).toEqual([map, unmap])
  expect(shown('ioctl')).toEqual([map, unmap, mapDma])
  expect(shown('openat')).toEqual([open])
})

test('a ! excludes the whole list', () => {
  expect(shown('!IOAS_MAP,IOAS_UNMAP')).toEqual([mapDma, open])
  expect(shown('trace=!ioctl')).toEqual([open])
  expect(shown('!all')).toEqual([])
})

test('several filters add up', () => {
  expect(shown('IOAS_MAP', 'open')).toEqual([map, open])
  expect(shown('ioctl', '!IOAS_MAP')).toEqual([unmap, mapDma])
})

test('by outcome', () => {
  const Refused = reasonKind({ code: 'test-filter', errno: 'EINVAL', cite: '', say: () => '' })
  const failed = call({ request: 0x3b85, result: refuse(Refused, {}) })
  expect([map, failed].filter(traceFilter(['status=failed']))).toEqual([failed])
  expect([map, failed].filter(traceFilter(['status=successful']))).toEqual([map])
  expect([map, failed, open].filter(traceFilter(['ioctl', 'status=successful']))).toEqual([map])
})

test('what no call is called is refused with a hint', () => {
  expect(() => traceFilter(['IOAS_MAPP'])).toThrow(FilterError)
  expect(() => traceFilter(['IOAS'])).toThrow(/Did you mean .*IOMMU_IOAS_MAP/)
  expect(() => traceFilter([''])).toThrow(FilterError)
  expect(() => traceFilter(['status=odd'])).toThrow(/status=failed/)
})
