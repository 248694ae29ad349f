import { describe, expect, test } from 'vitest'
import { byteLength, iova, objectId, userVa } from '../../src/abi/brands.ts'
import { IOMMU_IOAS_IOVA_RANGES, IOMMU_IOAS_UNMAP } from '../../src/abi/iommufd/ioas.ts'
import type { EngineEvent } from '../../src/engine/events.ts'
import { MapMeetsArea } from '../../src/engine/ioas-iova.ts'
import { AreaSticksOut, NothingMapped } from '../../src/engine/ioas-unmap.ts'
import { NoSuchObject } from '../../src/engine/objects.ts'
import { ENTRY_LIMIT } from '../../src/vfio/type1-backend.ts'
import { ContainerHasNoBackend } from '../../src/vfio/type1-container.ts'
import { allFindingKinds } from '../../src/watch/all-finders.ts'
import { bytes, call } from './calls.ts'
import { findingsOf } from './findings.ts'
import {
  attached,
  dma,
  fault,
  madeIoas,
  mapCall,
  mapDma,
  mapped,
  opened,
  PAGE,
  refused,
  replaced,
  unmapDma,
  unmapped,
} from './streams.ts'

const codesOf = (events: readonly EngineEvent[]): string[] =>
  findingsOf(events).map(({ code }) => code)

const DEVICE = '0000:00:03.0'
const released: EngineEvent = { type: 'context-released', context: 1, call: 0 }
const ended = (callNumber: number): EngineEvent => call({ call: callNumber, request: 0x3b85 })

test('what a well-behaved program does is no finding', () => {
  const address = 0x7f00_0020_0000n
  expect(
    codesOf([
      ...opened(),
      ...attached(4, DEVICE),
      call({ call: 5, request: IOMMU_IOAS_IOVA_RANGES.request }),
      mapped(6, 0x800_0000n, 4n << 20n, { address }),
      mapCall(6, 0x800_0000n, 0x800_0000n),
      dma(0x800_0000n, 64n),
      unmapped(7, 0x800_0000n, 4n << 20n),
      ended(7),
      replaced(8, address, address + (4n << 20n)),
      ended(9),
      {
        type: 'object-destroyed',
        context: 1,
        call: 10,
        id: objectId(1),
        object: 'ioas',
        by: 'destroy',
      },
      released,
    ]),
  ).toEqual([])
})

describe('dma-fault', () => {
  test('names what is near, and what was there', () => {
    const [finding, ...others] = findingsOf([
      ...opened(),
      mapped(3, 0x1000n, PAGE),
      mapped(4, 0x3000n, PAGE),
      unmapped(5, 0x3000n, PAGE),
      fault(0x3008n),
    ])
    expect(others).toEqual([])
    expect(finding).toMatchObject({ code: 'dma-fault', severity: 'error' })
    expect(finding?.sentence).toBe(
      `${DEVICE} could not write at IOVA 0x3008 of IOAS 1: nothing is mapped there.`,
    )
    expect(finding?.evidence.map((evidence) => evidence.call)).toEqual([4, 5, 3])
    expect(finding?.advice).toContain('before unmapping')
  })

  test('says what the mapping permits', () => {
    const [finding] = findingsOf([
      ...opened(),
      mapped(3, 0x1000n, PAGE, { writable: false }),
      fault(0x1000n, 'no-permission'),
    ])
    expect(finding?.evidence[0]?.what).toContain('with READABLE')
    expect(finding?.advice).toContain('WRITEABLE')
  })

  test('the same fault again is not told again, and many are not told all', () => {
    const faults = Array.from({ length: 100 }, (_, i) => fault(BigInt(i % 50) * PAGE))
    expect(findingsOf([...opened(), ...faults])).toHaveLength(8)
  })
})

describe('memory that is given up while it is mapped', () => {
  const address = 0x7f00_0000_0000n
  const lost = [...opened(), mapped(3, 0x1000n, 2n * PAGE, { address }), ended(3)]

  test('is told when the program goes on', () => {
    const [finding, ...others] = findingsOf([
      ...lost,
      replaced(4, address + PAGE, address + 2n * PAGE),
      ended(5),
      ended(6),
    ])
    expect(others).toEqual([])
    expect(finding).toMatchObject({ code: 'memory-freed-while-mapped', severity: 'warning' })
    expect(finding?.evidence.map((evidence) => evidence.call)).toEqual([3, 4])
    expect(finding?.evidence[1]).toMatchObject({ name: 'munmap', pid: 100, tid: 101 })
  })

  test('is an error when a device uses it', () => {
    expect(codesOf([...lost, replaced(4, address, address + PAGE), dma(0x1000n, 16n)])).toEqual([
      'dma-to-freed-memory',
    ])
  })

  test('is none if the mapping goes next, or the context', () => {
    const gone = [...lost, replaced(4, address, address + PAGE)]
    expect(codesOf([...gone, unmapped(5, 0x1000n, 2n * PAGE), ended(5), ended(6)])).toEqual([])
    expect(codesOf([...gone, released])).toEqual([])
  })

  test('is none for a program that frees first and then unmaps one by one', () => {
    const both = [...lost, mapped(4, 0x9000n, PAGE, { address: address + 2n * PAGE }), ended(4)]
    const freed = replaced(5, address, address + 3n * PAGE)
    const unmap = (number: number) => call({ call: number, request: IOMMU_IOAS_UNMAP.request })
    const first = [unmapped(6, 0x1000n, 2n * PAGE), unmap(6)]
    expect(codesOf([...both, freed, ...first, unmapped(7, 0x9000n, PAGE), unmap(7)])).toEqual([])
  })

  test('is none where it is moved, elsewhere, or of another process', () => {
    expect(codesOf([...lost, replaced(4, address, address + PAGE, 'mremap'), ended(5)])).toEqual([])
    expect(codesOf([...lost, replaced(4, address - PAGE, address), ended(5)])).toEqual([])
    const other = { ...replaced(4, address, address + PAGE), space: 6 } as EngineEvent
    expect(codesOf([...lost, other, ended(5)])).toEqual([])
  })

  test('after an exit, only another process can go on', () => {
    const exited = [...lost, replaced(4, 0n, 1n << 47n, 'exit')]
    expect(codesOf([...exited, ended(5)])).toEqual([])
    expect(codesOf([...exited, call({ call: 5, pid: 200, tid: 200, request: 0x3b85 })])).toEqual([
      'memory-freed-while-mapped',
    ])
  })

  test('both parts of a mapping that was cut are known', () => {
    const after = iova(0x1000n + PAGE - 1n)
    const cut: EngineEvent = { type: 'area-split', context: 1, call: 4, ioas: objectId(1), after }
    const second = replaced(6, address + PAGE, address + 2n * PAGE)
    expect(codesOf([...lost, cut, unmapped(5, 0x1000n, PAGE), second, ended(7)])).toEqual([
      'memory-freed-while-mapped',
    ])
    expect(codesOf([...lost, cut, unmapped(5, 0x1000n + PAGE, PAGE), second, ended(7)])).toEqual([])
  })

  test('large mappings, and many, are found alike', () => {
    const large = mapped(3, 1n << 40n, 1n << 36n, { address })
    expect(
      codesOf([...opened(), large, replaced(4, address + PAGE, address + 2n * PAGE), ended(5)]),
    ).toEqual(['memory-freed-while-mapped'])
  })
})

describe('an unmap that removed nothing (spdk/spdk#1705)', () => {
  const container = [...opened('/dev/vfio/vfio'), ...madeIoas(1)]

  test('is told, with why', () => {
    const [finding] = findingsOf([
      ...container,
      mapped(3, 0x1000n, 2n * PAGE),
      unmapDma(4, 0x2000n, PAGE, 0n),
    ])
    expect(finding).toMatchObject({ code: 'unmap-removed-nothing', severity: 'warning' })
    expect(finding?.sentence).toContain('the mapping [0x1000, 0x2fff] begins before it')
  })

  test('and an EEXIST that nobody looked at is an error', () => {
    const area = { start: iova(0x1000n), last: iova(0x2fffn) }
    const fields = { start: 0x2000n, last: 0x2fffn, area, source: 'memory' }
    const findings = findingsOf([
      ...container,
      mapped(3, 0x1000n, 2n * PAGE),
      unmapDma(4, 0x2000n, PAGE, 0n),
      refused(5, MapMeetsArea, fields, mapDma(0x2000n, PAGE)),
      mapped(6, 0x9000n, PAGE),
      call({ call: 6, ...mapDma(0x9000n, PAGE) }),
    ])
    expect(findings.map(({ code }) => code)).toEqual([
      'unmap-removed-nothing',
      'mapping-outlived-unmap',
    ])
    expect(findings[1]?.evidence.map((evidence) => evidence.call)).toEqual([3, 4, 5])
  })

  test('an EEXIST after which the old mapping is unmapped is none', () => {
    const area = { start: iova(0x1000n), last: iova(0x1fffn) }
    const fields = { start: 0x1000n, last: 0x1fffn, area, source: 'memory' }
    expect(
      codesOf([
        ...container,
        mapped(3, 0x1000n, PAGE),
        refused(4, MapMeetsArea, fields, mapDma(0x1000n, PAGE)),
        unmapped(5, 0x1000n, PAGE),
        mapped(6, 0x1000n, PAGE),
        call({ call: 6, ...mapDma(0x1000n, PAGE) }),
        dma(0x1000n, 16n),
      ]),
    ).toEqual([])
  })

  test('an unmap that removed something is none', () => {
    expect(codesOf([...container, unmapDma(4, 0x2000n, PAGE, PAGE)])).toEqual([])
  })
})

describe('chosen-iova-ignored', () => {
  test('a device uses what was passed', () => {
    const findings = findingsOf([...opened(), mapCall(3, 0x9000n, 0x1000n), fault(0x9008n)])
    expect(findings.map(({ code }) => code)).toEqual(['dma-fault', 'chosen-iova-ignored'])
    expect(findings[1]?.sentence).toContain('the kernel chose 0x1000')
  })

  test('a call uses what was passed', () => {
    const input = bytes(IOMMU_IOAS_UNMAP.struct, {
      ioas_id: objectId(1),
      iova: iova(0x9000n),
      length: byteLength(PAGE),
    })
    const unmap = { request: IOMMU_IOAS_UNMAP.request, input }
    expect(
      codesOf([
        ...opened(),
        mapCall(3, 0x9000n, 0x1000n),
        refused(4, NothingMapped, { start: 0x9000n, last: 0x9fffn }, unmap),
      ]),
    ).toEqual(['chosen-iova-ignored'])
  })

  test('passing another IOVA alone is none', () => {
    expect(codesOf([...opened(), mapCall(3, 0x9000n, 0x1000n), fault(0x5000n)])).toEqual([
      'dma-fault',
    ])
  })
})

describe('IDs', () => {
  test('an automatic IOAS destroyed without asking for its ID was guessed', () => {
    const compat: EngineEvent = {
      type: 'compat-ioas',
      context: 1,
      call: 3,
      ioas: objectId(1),
      previous: undefined,
      by: 'auto',
    }
    const destroyed: EngineEvent = {
      type: 'object-destroyed',
      context: 1,
      call: 5,
      id: objectId(1),
      object: 'ioas',
      by: 'destroy',
    }
    const made = [...opened('/dev/vfio/vfio'), ...madeIoas(3), compat, ended(3)]
    expect(codesOf([...made, destroyed, ended(5)])).toEqual(['destroyed-by-guess'])
    const got = call({
      call: 4,
      request: 0x3b88,
      input: new Uint8Array([12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
      output: new Uint8Array([12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
    })
    expect(codesOf([...made, got, destroyed, ended(5)])).toEqual([])
  })

  test('one that never existed is a note, one that is gone none', () => {
    const named = (id: number): EngineEvent =>
      refused(9, NoSuchObject, { id, wanted: 'IOAS', found: undefined })
    expect(codesOf([...opened(), named(7)])).toEqual(['id-never-existed'])
    const gone: EngineEvent = {
      type: 'object-destroyed',
      context: 1,
      call: 4,
      id: objectId(1),
      object: 'ioas',
      by: 'destroy',
    }
    expect(codesOf([...opened(), gone, ended(4), named(1)])).toEqual([])
  })
})

test('habits that a refusal tells of are told once', () => {
  const early = (number: number): EngineEvent =>
    refused(number, ContainerHasNoBackend, { request: 0x3b71 }, mapDma(0n, PAGE))
  expect(codesOf([...opened('/dev/vfio/vfio'), early(2), early(3)])).toEqual([
    'map-before-set-iommu',
  ])
  const area = { start: iova(0x1000n), last: iova(0x2fffn) }
  expect(
    codesOf([...opened(), refused(3, AreaSticksOut, { start: 0x1000n, last: 0x1fffn, area })]),
  ).toEqual(['unmap-cuts-mapping'])
})

describe('iova-not-portable', () => {
  const chosen = (from: bigint, length = PAGE): EngineEvent[] => [
    ...opened(),
    ...attached(4, DEVICE),
    mapped(5, from, length),
    ended(5),
  ]

  test("Arm's MSI window, AMD's HyperTransport hole, 39 bits", () => {
    const [arm] = findingsOf(chosen(0x800_0000n))
    expect(arm?.code).toBe('iova-not-portable')
    expect(arm?.sentence).toContain('not on arm-smmuv3-48')
    const memory = findingsOf(chosen(0n, 1n << 40n))
    const sentences = memory
      .filter(({ code }) => code === 'iova-not-portable')
      .map(({ sentence }) => sentence)
      .join('\n')
    expect(sentences).toContain('[0xfd00000000, 0xffffffffff]')
    expect(sentences).toContain('amd-server')
    expect(sentences).toContain('intel-client-39')
  })

  test('is none where the program asked, the kernel chose, or nothing physical is attached', () => {
    const asked = call({ call: 5, request: IOMMU_IOAS_IOVA_RANGES.request })
    const window = mapped(6, 0x800_0000n, PAGE)
    expect(codesOf([...opened(), ...attached(4, DEVICE), asked, window])).toEqual([])
    expect(
      codesOf([
        ...opened(),
        ...attached(4, DEVICE),
        mapped(6, 0x800_0000n, PAGE, { fixed: false }),
      ]),
    ).toEqual([])
    expect(codesOf([...opened(), ...attached(4, 'iommufd_mock0'), window])).toEqual([])
  })

  test('what was mapped before the device came counts too', () => {
    expect(codesOf([...opened(), mapped(3, 0x800_0000n, PAGE), ...attached(5, DEVICE)])).toEqual([
      'iova-not-portable',
    ])
  })
})

test('near-memlock-limit: told once, at nine tenths', () => {
  const charged = (pages: number): EngineEvent => ({
    type: 'memory-charged',
    call: 3,
    pid: 100,
    mode: 'user',
    pages: 1,
    charged: pages,
    limit: 100,
  })
  expect(codesOf([charged(10), charged(89)])).toEqual([])
  expect(codesOf([charged(90), charged(95)])).toEqual(['near-memlock-limit'])
})

test('near-mapping-limit: a type1 container, not an iommufd', () => {
  const many = Array.from({ length: Math.ceil(ENTRY_LIMIT * 0.9) }, (_, i) =>
    mapped(3 + i, BigInt(i) * 2n * PAGE, PAGE),
  )
  expect(codesOf([...opened('/dev/vfio/vfio'), ...madeIoas(1), ...many])).toContain(
    'near-mapping-limit',
  )
  expect(codesOf([...opened(), ...many])).toEqual([])
})

test('page-by-page-maps: consecutive in IOVA and memory, told when it ends', () => {
  const pages = (count: number, apart = 1n): EngineEvent[] =>
    Array.from({ length: count }, (_, i) => mapped(3 + i, BigInt(i) * PAGE * apart, PAGE))
  const [finding] = findingsOf([...opened(), ...pages(100), released])
  expect(finding).toMatchObject({ code: 'page-by-page-maps', severity: 'note' })
  expect(finding?.sentence).toContain('100 calls mapped 100 consecutive pages (400 KiB)')
  expect(codesOf([...opened(), ...pages(10), released])).toEqual([])
  expect(codesOf([...opened(), ...pages(100, 2n), released])).toEqual([])
})

test('unaligned-huge-page: only with a device, and where a large page would fit', () => {
  const map = (address: bigint): EngineEvent =>
    mapped(5, 0x20_0000n, 8n << 20n, { address: userVa(address) })
  const device = [...opened(), ...attached(4, DEVICE)]
  expect(codesOf([...device, map(0x7f00_0000_1000n)])).toEqual(['unaligned-huge-page'])
  expect(codesOf([...device, map(0x7f00_0020_0000n)])).toEqual([])
  expect(codesOf([...opened(), map(0x7f00_0000_1000n)])).toEqual([])
})

test('left-at-release: objects and mappings that the kernel had to give back', () => {
  const destroyed: EngineEvent = {
    type: 'object-destroyed',
    context: 1,
    call: 0,
    id: objectId(1),
    object: 'ioas',
    by: 'release',
  }
  const [finding] = findingsOf([
    ...opened(),
    mapped(3, 0x1000n, PAGE),
    ended(3),
    { ...unmapped(0, 0x1000n, PAGE) },
    destroyed,
    released,
  ])
  expect(finding).toMatchObject({ code: 'left-at-release', severity: 'note' })
  expect(finding?.sentence).toBe(
    '/dev/iommu, opened in call #1, was closed with 1 object and 1 mapping (4 KiB) left.',
  )
})

test('what gets lost on the way to the program', () => {
  expect(
    codesOf([
      ...opened(),
      {
        type: 'dirty-read',
        context: 1,
        call: 3,
        hwpt: objectId(4),
        iova: iova(0n),
        length: byteLength(PAGE),
        dirty: byteLength(0n),
        cleared: true,
        lostSpans: 2,
      },
      { type: 'reservations-lost', context: 1, call: 4, devices: ['a'], ioas: objectId(1) },
      {
        type: 'virtual-event',
        context: 1,
        call: 5,
        viommu: objectId(6),
        queue: objectId(7),
        eventType: 1,
        sequence: 3,
        payload: new Uint8Array(),
        lost: true,
      },
    ]).sort(),
  ).toEqual(['dirty-bitmap-incomplete', 'reservations-lost', 'virtual-event-lost'])
})

test('every kind of finding is declared once, and says what and why in sentences', () => {
  const codes = allFindingKinds.map(({ code }) => code)
  expect(new Set(codes).size).toBe(codes.length)
  for (const { code, title, why } of allFindingKinds) {
    expect(code).toMatch(/^[a-z0-9]+(-[a-z0-9]+)*$/)
    expect(title, code).toMatch(/^[A-Z].*[.]$/)
    expect(why, code).toMatch(/^[A-Z].*[.]$/)
  }
})
