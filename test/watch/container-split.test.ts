import { expect, test } from 'vitest'
import { objectId } from '../../src/abi/brands.ts'
import type { EngineEvent } from '../../src/engine/events.ts'
import { findingText } from '../../src/watch/finding.ts'
import { call } from './calls.ts'
import { findingsOf } from './findings.ts'

const set = (callNumber: number, ioas: number, previous: number): EngineEvent[] => [
  {
    type: 'compat-ioas',
    context: 1,
    call: callNumber,
    ioas: objectId(ioas),
    previous: objectId(previous),
    by: 'set',
  },
  call({ call: callNumber, request: 0x3b88, pid: 42, tid: 43 }),
]

const split: EngineEvent = {
  type: 'container-split',
  context: 1,
  call: 9,
  devices: [
    { device: 'scratch0', ioas: objectId(1) },
    { device: 'scratch1', ioas: objectId(4) },
  ],
  setCall: 7,
}

test('02 §2.5: the finding names the devices, their IOASes and the SET that split them', () => {
  const [finding, ...others] = findingsOf([...set(7, 4, 1), split])
  expect(others).toEqual([])
  expect(finding?.code).toBe('container-split')
  expect(finding?.severity).toBe('warning')
  expect(finding?.sentence).toBe(
    'One container now spans 2 IOASes: device scratch0 is on IOAS 1 and device scratch1 is on IOAS 4, because call #7, IOMMU_VFIO_IOAS SET to IOAS 4, changed the compat IOAS in between.',
  )
  expect(finding?.evidence).toContainEqual({
    call: 7,
    name: 'IOMMU_VFIO_IOAS',
    pid: 42,
    tid: 43,
    what: 'the compat IOAS became IOAS 4, it was IOAS 1',
  })
  expect(finding && findingText(finding)).toContain('(process 42, thread 43)')
})

test('a SET alone is no finding', () => {
  expect(findingsOf(set(7, 4, 1))).toEqual([])
})

test('a SET that is no longer remembered is still named by its number', () => {
  const many = Array.from({ length: 1000 }, (_, i) => set(100 + i, 4, 1)).flat()
  const [finding] = findingsOf([...set(7, 4, 1), ...many, split])
  expect(finding?.sentence).toContain('call #7, IOMMU_VFIO_IOAS SET, changed')
})
