/**
 * Injected failures: every fallible step of these sequences fails once, and nothing may be left behind
 * (05 §A.11, §B.10: the sequences are those of Linux's iommufd_fail_nth).
 */
import { describe, expect, it } from 'vitest'
import {
  A,
  createAccess,
  destroy,
  FAULT_ID_VALID,
  fdOf,
  hwptAlloc,
  mapFixed,
  NEST_PARENT,
  PASID,
  SELFTEST,
  T,
  unmap,
} from '../../conformance/cases/mock.ts'
import { testMachine } from '../../conformance/doors/engine.ts'
import { SimulatedProcess } from '../../conformance/doors/simulated-process.ts'
import { ok, ranges, Steps, words } from '../../conformance/example.ts'
import { ARRAY, B, STRUCT } from '../../conformance/places.ts'

interface Sequence {
  readonly name: string
  readonly setUp: (t: Steps) => void
  readonly body: (t: Steps) => void
}

const RW = 6
const SIZE = 0x40000n
const ioas = (t: Steps): void => {
  t.open()
  t.step('IOAS_ALLOC', {}, ok())
}
const map = (t: Steps, length = SIZE): void =>
  t.step('IOAS_MAP', { flags: RW, ioas_id: 1, user_va: B, length }, ok())

const sequences: readonly Sequence[] = [
  {
    name: 'basic',
    setUp: () => {},
    body: (t) => {
      ioas(t)
      t.step('IOAS_IOVA_RANGES', { ioas_id: 1, num_iovas: 10, allowed_iovas: ARRAY }, ok())
      t.poke(ARRAY, ranges([0x4000n, 0x200000n + 0x960000n - 1n]))
      t.step('IOAS_ALLOW_IOVAS', { ioas_id: 1, num_iovas: 1, allowed_iovas: ARRAY }, ok())
      mapFixed(t, 0x200000n, 0x200000n)
      t.step(
        'IOAS_COPY',
        { flags: RW, dst_ioas_id: 1, src_ioas_id: 1, src_iova: 0x200000n, length: 160n },
        ok(),
      )
      unmap(t, 0x200000n, 0x200000n)
    },
  },
  {
    name: 'map_domain',
    setUp: ioas,
    body: (t) => {
      T(t, 'MOCK_DOMAIN', { id: 1 })
      map(t)
      destroy(t, 2)
      T(t, 'MOCK_DOMAIN', { id: 1 })
    },
  },
  {
    name: 'map_file_domain',
    setUp: (t) => {
      ioas(t)
      t.silent('memfd 5 0x200000')
    },
    body: (t) => {
      T(t, 'MOCK_DOMAIN', { id: 1 })
      t.step('IOAS_MAP_FILE', { flags: RW, ioas_id: 1, fd: fdOf(5), length: SIZE }, ok())
      destroy(t, 2)
      T(t, 'MOCK_DOMAIN', { id: 1 })
    },
  },
  {
    name: 'map_two_domains',
    setUp: (t) => {
      ioas(t)
      T(t, 'MOCK_DOMAIN', { id: 1 })
    },
    body: (t) => {
      T(t, 'MOCK_DOMAIN', { id: 1 })
      map(t)
      destroy(t, 2)
      destroy(t, 5)
      T(t, 'MOCK_DOMAIN', { id: 1 })
      T(t, 'MOCK_DOMAIN', { id: 1 })
    },
  },
  {
    name: 'access_rw',
    setUp: (t) => {
      ioas(t)
      mapFixed(t, A, SIZE)
    },
    body: (t) => {
      createAccess(t, 1, 0, 1)
      for (const flags of [0, 1, 4, 5])
        T(t, 'ACCESS_RW', { id: fdOf(1), iova: A, length: 64n, uptr: ARRAY, flags })
      T(t, 'ACCESS_RW', { id: fdOf(1), iova: A, length: 0x1000n, uptr: ARRAY, flags: 4 })
    },
  },
  ...[false, true].map((domain) => ({
    name: domain ? 'access_pin_domain' : 'access_pin',
    setUp: (t: Steps): void => {
      ioas(t)
      if (domain) T(t, 'MOCK_DOMAIN', { id: 1 })
      mapFixed(t, A, 0x200000n)
      createAccess(t, 1, 1, 1)
    },
    body: (t: Steps): void => {
      T(t, 'ACCESS_PAGES', { id: fdOf(1), iova: A, length: 0x200000n, uptr: B })
      T(t, 'DESTROY_ACCESS_PAGES', { id: fdOf(1), access_pages_id: 0 })
      t.close(1)
      if (domain) destroy(t, 2)
    },
  })),
  {
    name: 'device',
    setUp: (t) => {
      ioas(t)
      t.step('IOAS_ALLOC', {}, ok())
      mapFixed(t, A, 0x1000n)
      mapFixed(t, A, 0x1000n, ok(), { ioas_id: 2 })
    },
    body: (t) => {
      T(t, 'MOCK_DOMAIN_FLAGS', { id: 1, dev_flags: 4 })
      t.step('GET_HW_INFO', { dev_id: 4, data_len: 8, data_uptr: ARRAY }, ok())
      hwptAlloc(t, { flags: PASID, dev_id: 4, pt_id: 1 }, ok())
      T(t, 'MOCK_DOMAIN_REPLACE', { id: 3, pt_id: 2 })
      T(t, 'MOCK_DOMAIN_REPLACE', { id: 3, pt_id: 6 })
      hwptAlloc(t, { flags: NEST_PARENT | PASID, dev_id: 4, pt_id: 1 }, ok())
      t.step('VIOMMU_ALLOC', { dev_id: 4, hwpt_id: 5, type: SELFTEST }, ok())
      t.step('VDEVICE_ALLOC', { viommu_id: 7, dev_id: 4 }, ok())
      t.step(
        'HW_QUEUE_ALLOC',
        { viommu_id: 7, type: SELFTEST, nesting_parent_iova: A, length: 0x1000n },
        ok(),
      )
      t.step('FAULT_QUEUE_ALLOC', {}, ok())
      t.takeDescriptor('FAULT_QUEUE_ALLOC', 'out_fault_fd', 2)
      t.close(2)
      hwptAlloc(t, { flags: FAULT_ID_VALID, fault_id: 11, dev_id: 4, pt_id: 7 }, ok(), words(0, 0))
      t.step('VEVENTQ_ALLOC', { viommu_id: 7, type: 0xbeefbeef, veventq_depth: 2 }, ok())
      t.takeDescriptor('VEVENTQ_ALLOC', 'out_veventq_fd', 2)
      t.close(2)
      hwptAlloc(t, { flags: PASID, dev_id: 4, pt_id: 1 }, ok())
      T(t, 'PASID_ATTACH', { id: 3, pasid: 200, pt_id: 5 })
      T(t, 'PASID_REPLACE', { id: 3, pasid: 200, pt_id: 14 })
      T(t, 'PASID_DETACH', { id: 3, pasid: 200 })
    },
  },
]

/** Plays lines until an ioctl fails; the line that failed. */
const playUntilFailure = (
  process: SimulatedProcess,
  lines: readonly string[],
): string | undefined => {
  for (const line of lines) {
    const answer = process.execute(line)
    if (line.startsWith('ioctl') && answer?.startsWith('= -')) return `${line}: ${answer}`
  }
  return undefined
}

describe.each(sequences)('injected failures in $name', ({ setUp, body }) => {
  it('leave nothing behind, whichever step fails', () => {
    const machine = testMachine()
    const first = new Steps()
    first.memory(STRUCT, 0x2000n, 'rw')
    first.memory(ARRAY, 0x2000n, 'rw')
    first.memory(B, 0x200000n, 'rw', 'shared')
    setUp(first)
    const then = new Steps()
    body(then)
    const failed = new Set<string | undefined>()
    let nth = 1
    for (; ; nth++) {
      const process = new SimulatedProcess(machine)
      expect(playUntilFailure(process, first.lines)).toBeUndefined()
      process.faults.arm(process.pid, nth)
      const failure = playUntilFailure(process, then.lines)
      const { remaining, failedAt } = process.faults.state(process.pid)
      process.exit()
      expect(machine.frames.isEmpty, `after step ${nth} (${failedAt}) failed`).toBe(true)
      if (remaining > 0) {
        // Fewer steps than that: this run was whole.
        expect(failure).toBeUndefined()
        break
      }
      failed.add(failedAt)
    }
    expect(nth).toBeGreaterThan(5)
    expect(failed.size).toBeGreaterThan(1)
  })
})
