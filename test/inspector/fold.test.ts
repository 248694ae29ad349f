/** The state that is folded from events is the state that the engine is in, after every call. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { allExamples } from '../../conformance/cases/all.ts'
import {
  containerProfile,
  coreProfile,
  hardwareProfile,
  makeSequences,
  mockProfile,
  scriptOf,
} from '../../conformance/compare/sequence.ts'
import { playOnEngine, testMachine } from '../../conformance/doors/engine.ts'
import type { Context } from '../../src/engine/context.ts'
import { Device } from '../../src/engine/device.ts'
import type { ContextNumber } from '../../src/engine/events.ts'
import { Ioas } from '../../src/engine/ioas.ts'
import type { Machine } from '../../src/engine/machine.ts'
import { holdsIn } from '../../src/inspector/model/holders.ts'
import type { ContextState, Moment } from '../../src/inspector/model/moment.ts'
import type { Range } from '../../src/inspector/model/range-set.ts'
import { Timeline } from '../../src/inspector/model/timeline.ts'

const meets = (one: Range, other: Range): boolean =>
  one.start <= other.last && other.start <= one.last

/** What both can tell of one context. */
const told = (context: ContextState) => ({
  compatIoas: context.compatIoas,
  objects: [...context.objects.values()].map(({ id, type, name }) => ({
    id,
    type,
    name: type === 'device' ? name : undefined,
    holds: holdsIn(context)
      .filter(({ by }) => by.id === id)
      .map(({ on }) => Number(on))
      .sort((a, b) => a - b),
  })),
  ioases: [...context.ioases.values()].map((ioas) => ({
    id: ioas.id,
    alignment: ioas.alignment,
    largePages: ioas.largePages,
    usable: ioas.usable.map(({ start, last }) => ({ start, last })),
    allowed: ioas.allowed.map(({ start, last }) => ({ start, last })),
    // Areas that something is pinned in.
    pinned: [...ioas.areas.values()]
      .filter((area) =>
        [...ioas.pins.values()].flat().some(({ start, last }) => meets(area, { start, last })),
      )
      .map(({ start }) => start),
    areas: [...ioas.areas.values()].map(({ start, last, source, readable, writable }) => ({
      start,
      last,
      source,
      readable,
      writable,
    })),
  })),
})

const engines = (context: Context): ReturnType<typeof told> => ({
  compatIoas: context.compatIoas?.id,
  objects: [...context.objects].map((object) => ({
    id: object.id,
    type: object.type,
    name: object instanceof Device ? object.name : undefined,
    holds: object
      .holds()
      .map(({ id }) => Number(id))
      .sort((a, b) => a - b),
  })),
  ioases: [...context.objects]
    .filter((object) => object instanceof Ioas)
    .map((ioas) => {
      const areas: ReturnType<typeof told>['ioases'][number]['areas'][number][] = []
      const pinned: bigint[] = []
      ioas.forEachArea(({ start, last, source, readable, writable, accessPins }) => {
        areas.push({ start, last, source, readable, writable })
        if (accessPins > 0) pinned.push(start)
      })
      const { id, alignment, largePages } = ioas
      const plain = (ranges: readonly { start: bigint; last: bigint }[]) =>
        ranges.map(({ start, last }) => ({ start, last }))
      return {
        id,
        alignment,
        largePages,
        usable: plain(ioas.usableRanges()),
        allowed: plain(ioas.allowed),
        pinned,
        areas,
      }
    }),
})

/** A machine whose contexts are known, and its time line. */
const watched = (afterCall: (timeline: Timeline, contexts: Map<number, Context>) => void) => {
  const machine = testMachine()
  const contexts = new Map<ContextNumber, Context>()
  const open = machine.open.bind(machine)
  machine.open = (...args: Parameters<Machine['open']>) => {
    const context = open(...args)
    contexts.set(context.number, context)
    return context
  }
  const timeline = new Timeline()
  machine.observer = {
    event: (event) => {
      timeline.append(event)
      if (event.type === 'context-released') contexts.delete(event.context)
      if (event.type === 'call') afterCall(timeline, contexts)
    },
  }
  return { machine, timeline }
}

const compare = (timeline: Timeline, contexts: Map<number, Context>): void => {
  const { contexts: folded } = timeline.latest
  expect([...folded.values()].map(({ number }) => number)).toEqual([...contexts.keys()])
  for (const [number, context] of contexts) {
    const state = folded.get(number)
    if (state === undefined) throw new Error(`context ${number} is not known`)
    expect(told(state)).toEqual(engines(context))
  }
}

const script = allExamples
  .filter(({ needs }) => !needs.includes('vfio-devices'))
  .flatMap((example) => example.script)
  .join('\n')

it('is the state of the engine after each call of every worked example', () => {
  let calls = 0
  const { machine } = watched((timeline, contexts) => {
    calls += 1
    compare(timeline, contexts)
  })
  expect(playOnEngine(script, machine)).not.toContain('thrown:')
  expect(calls).toBeGreaterThan(1000)
})

it('is the state of the engine after random calls', () => {
  const profiles = [coreProfile, containerProfile, hardwareProfile, mockProfile]
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 0xffff }), (seed) => {
      const { machine } = watched(compare)
      const sequences = makeSequences(profiles, 500, seed)
      expect(playOnEngine(sequences.map(scriptOf).join('\n'), machine)).not.toContain('thrown:')
    }),
    { numRuns: 8 },
  )
})

it('is the same again when one goes back to it', () => {
  const seen: Moment[] = []
  const { machine, timeline } = watched((line) => {
    seen.push(line.latest)
  })
  playOnEngine(script, machine)
  expect(timeline.end).toBe(seen.length)
  const states = ({ contexts }: Moment) => [...contexts.values()].map(told)
  for (let position = 1; position <= timeline.end; position += 7) {
    const then = seen[position - 1]
    if (then === undefined) throw new Error('a position without a moment')
    expect(states(timeline.momentAt(position))).toEqual(states(then))
  }
})
