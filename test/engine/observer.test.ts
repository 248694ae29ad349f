import { expect, test } from 'vitest'
import type { EngineEvent } from '../../src/engine/events.ts'
import { SimulatedMachine } from '../../src/index.ts'

/** The kinds of events that somebody with this interest is told of, of a program that maps and unmaps. */
const told = (interest?: 'objects'): EngineEvent[] => {
  const machine = new SimulatedMachine()
  const events: EngineEvent[] = []
  machine.engine.observer = {
    ...(interest === undefined ? {} : { interest }),
    event: (event) => events.push(event),
  }
  const iommufd = machine.open()
  const ioas = iommufd.allocIoas()
  const buffer = iommufd.memory.allocate(0x4000)
  const iova = ioas.map({ userVa: buffer.address, length: 0x4000n })
  ioas.unmap(iova, 0x4000n)
  iommufd.close()
  return events
}

const kinds = (events: readonly EngineEvent[]) => new Set(events.map(({ type }) => type))

test('who wants to know of objects alone is told of calls and objects, and not of memory', () => {
  const everything = kinds(told())
  const objects = told('objects')
  expect(everything).toContain('area-mapped')
  expect(everything).toContain('area-unmapped')
  expect(kinds(objects)).toEqual(
    new Set([...everything].filter((type) => !type.startsWith('area-'))),
  )
  expect(objects.filter(({ type }) => type === 'call').length).toBe(
    told().filter(({ type }) => type === 'call').length,
  )
})

test('what calls read is kept only for who wants to know of it', () => {
  const inputs = (events: readonly EngineEvent[]) =>
    events.filter((event) => event.type === 'call' && event.input !== undefined).length
  expect(inputs(told())).toBeGreaterThan(0)
  expect(inputs(told('objects'))).toBe(0)
})
