/** Memory that is given up while it is mapped: which areas that concerns, and which not. */
import { describe, expect, it } from 'vitest'
import { byteLength, iova, objectId, userVa } from '../../src/abi/brands.ts'
import type { EngineEvent } from '../../src/engine/events.ts'
import { fold } from '../../src/inspector/model/fold.ts'
import { givenUpBehind } from '../../src/inspector/model/given-up.ts'
import { type Moment, nothingYet } from '../../src/inspector/model/moment.ts'

const context = 1
const ioas = objectId(1)
const VA = 0x7000_0000n

const opened: EngineEvent[] = [
  { type: 'context-opened', context, call: 1, node: '/dev/iommu', pid: 1 },
  { type: 'object-created', context, call: 2, id: ioas, object: 'ioas', holds: [] },
]

const mapped = (call: number, at: bigint, address: bigint, space = 1): EngineEvent => ({
  type: 'area-mapped',
  context,
  call,
  ioas,
  iova: iova(at),
  length: byteLength(0x4000n),
  source: 'memory',
  memory: { pid: 1, space, address: userVa(address) },
  fixed: true,
  readable: true,
  writable: true,
})

const replaced = (call: number, start: bigint, end: bigint): EngineEvent => ({
  type: 'memory-replaced',
  call,
  pid: 1,
  tid: 1,
  space: 1,
  start: userVa(start),
  end: userVa(end),
  by: 'munmap',
})

/** The calls that gave up what is behind each area, in order of IOVA. */
const givenUpIn = (moment: Moment): (number | undefined)[] =>
  [...(moment.contexts.get(context)?.ioases.get(ioas)?.areas.values() ?? [])].map(
    (area) => givenUpBehind(moment, area)?.call,
  )

const momentAfter = (...events: EngineEvent[]): Moment =>
  [...opened, ...events].reduce(fold, nothingYet)

describe('memory that was given up', () => {
  it('concerns areas that were mapped before and have some of it', () => {
    const moment = momentAfter(
      mapped(3, 0x10000n, VA),
      mapped(4, 0x20000n, VA + 0x4000n),
      mapped(5, 0x30000n, VA, 2),
      replaced(6, VA + 0x3000n, VA + 0x4000n),
      mapped(7, 0x40000n, VA),
    )
    expect(givenUpIn(moment)).toEqual([6, undefined, undefined, undefined])
  })

  it('is told by the latest call', () => {
    const moment = momentAfter(
      mapped(3, 0x10000n, VA),
      replaced(4, VA, VA + 0x1000n),
      replaced(5, VA - 0x1000n, VA + 0x1000n),
      replaced(6, VA + 0x10_0000n, VA + 0x20_0000n),
    )
    expect(givenUpIn(moment)).toEqual([5])
  })

  it('concerns the part of a cut area that it is behind', () => {
    const moment = momentAfter(
      mapped(3, 0x10000n, VA),
      { type: 'area-split', context, call: 4, ioas, after: iova(0x11fffn) },
      replaced(5, VA + 0x2000n, VA + 0x3000n),
    )
    expect(givenUpIn(moment)).toEqual([undefined, 5])
  })
})
