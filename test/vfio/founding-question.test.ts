/**
 * The question that this project started from: may IOMMU_VFIO_IOAS SET put the devices of one
 * container on different IOASes? Linux permits it (02 §2.5); the engine does so and says so, or
 * refuses it on request.
 */
import { expect, test } from 'vitest'
import { foundingQuestion } from '../../conformance/cases/02-08-emulated.ts'
import {
  CLEAR,
  compatIoasIs,
  getDevice,
  openGroup,
  SET,
  setContainer,
  unsetContainer,
  vfioIoas,
} from '../../conformance/cases/vfio-steps.ts'
import { playOnEngine } from '../../conformance/doors/engine.ts'
import {
  type Example,
  example,
  fails,
  ok,
  problemsOf,
  type Steps,
} from '../../conformance/example.ts'
import { scratchDevices } from '../../conformance/places.ts'
import { IOMMU_VFIO_IOAS } from '../../src/abi/iommufd/context.ts'
import type { EngineEvent } from '../../src/engine/events.ts'
import { Machine, type MachineOptions } from '../../src/engine/machine.ts'
import { Refusal } from '../../src/engine/reason.ts'
import { Vfio } from '../../src/vfio/vfio.ts'

/** Plays an example in-process; its problems (none, one hopes) and what an observer saw. */
const play = (
  played: Example,
  options: MachineOptions = {},
): { problems: string[]; events: EngineEvent[] } => {
  const events: EngineEvent[] = []
  const machine = new Machine({ ...options, observer: { event: (event) => events.push(event) } })
  const vfio = new Vfio(machine)
  for (const { name, group } of scratchDevices) vfio.addEmulated({ name, group })
  const transcript = playOnEngine(`${played.script.join('\n')}\n`, machine)
  return { problems: problemsOf(played, transcript.trimEnd().split('\n').slice(1)), events }
}

type Kind<Type extends EngineEvent['type']> = Extract<EngineEvent, { type: Type }>

const eventsOf = <Type extends EngineEvent['type']>(
  events: readonly EngineEvent[],
  type: Type,
): Kind<Type>[] => events.filter((event): event is Kind<Type> => event.type === type)

/** The numbers of the IOMMU_VFIO_IOAS calls with this op, in order. */
const callsOf = (events: readonly EngineEvent[], op: number): number[] =>
  eventsOf(events, 'call')
    .filter(
      ({ request, input }) =>
        request === IOMMU_VFIO_IOAS.request && input !== undefined && input[8] === op,
    )
    .map(({ call }) => call)

test('two devices of one container end up on two IOASes, and everybody is told', () => {
  const { problems, events } = play(foundingQuestion)
  expect(problems).toEqual([])

  const [setCall] = callsOf(events, SET)
  expect(eventsOf(events, 'container-split')).toEqual([
    expect.objectContaining({
      devices: [
        { device: 'scratch0', ioas: 1 },
        { device: 'scratch1', ioas: 3 },
      ],
      setCall,
    }),
  ])
  expect(
    eventsOf(events, 'compat-ioas').map(({ by, ioas, previous }) => ({ by, ioas, previous })),
  ).toEqual([
    { by: 'auto', ioas: 1, previous: undefined },
    { by: 'set', ioas: 3, previous: 1 },
    { by: 'clear', ioas: undefined, previous: 3 },
    { by: 'set', ioas: 3, previous: undefined },
    { by: 'destroy', ioas: undefined, previous: 3 },
  ])
})

test('whatever is not destroyed is gone when the container is released', () => {
  const leavesAll = example('leaves everything open', (t) => {
    t.open()
    openGroup(t, 7, 1)
    setContainer(t, 1)
    getDevice(t, 1, 'scratch0', 3)
    t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 3 }))
    vfioIoas(t, SET, 3)
  })
  const { problems, events } = play(leavesAll)
  expect(problems).toEqual([])
  const created = eventsOf(events, 'object-created').map(({ id, object }) => [id, object])
  const destroyed = eventsOf(events, 'object-destroyed').map(({ id, object }) => [id, object])
  expect(created).toEqual([
    [1, 'ioas'],
    [2, 'access'],
    [3, 'ioas'],
  ])
  expect(destroyed).toHaveLength(3)
  expect(destroyed).toEqual(expect.arrayContaining(created))
  expect(events.at(-1)?.type).toBe('context-released')
})

/** The first device is on IOAS 1, the compat IOAS; IOAS 3 is there, too. */
const firstDevice = (t: Steps): void => {
  t.open()
  openGroup(t, 7, 1)
  setContainer(t, 1)
  getDevice(t, 1, 'scratch0', 3)
  t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 3 }))
}

const secondDevice = (t: Steps): void => {
  openGroup(t, 8, 2)
  setContainer(t, 2)
  getDevice(t, 2, 'scratch1', 4)
}

test('the strict policy refuses the SET and the CLEAR that would split the devices', () => {
  const refused = example('strict', (t) => {
    firstDevice(t)
    vfioIoas(t, SET, 3, fails('EBUSY'))
    vfioIoas(t, CLEAR, 0, fails('EBUSY'))
    vfioIoas(t, SET, 77, fails('ENOENT'))
    vfioIoas(t, SET, 1)
    compatIoasIs(t, 1)
    secondDevice(t)
    // A device whose group has left is still on the address space that it was given.
    unsetContainer(t, 1)
    vfioIoas(t, SET, 3, fails('EBUSY'))
    t.close(3)
    vfioIoas(t, SET, 3, fails('EBUSY'))
    t.close(4)
    vfioIoas(t, SET, 3)
    vfioIoas(t, CLEAR)
  })
  const { problems, events } = play(refused, { compatIoas: 'strict' })
  expect(problems).toEqual([])
  expect(eventsOf(events, 'container-split')).toEqual([])
  const [first] = eventsOf(events, 'call')
    .map(({ result }) => result)
    .filter((result) => result instanceof Refusal)
  expect(first?.code).toBe('compat-ioas-would-split')
  expect(first?.say()).toBe(
    'changing to IOAS 3 would let the devices of one container use different address spaces: scratch0 is on IOAS 1',
  )
})

test('a CLEAR before the second SET_CONTAINER splits as well, and is named', () => {
  const cleared = example('clear', (t) => {
    firstDevice(t)
    vfioIoas(t, CLEAR)
    secondDevice(t)
    compatIoasIs(t, 4)
  })
  const { problems, events } = play(cleared)
  expect(problems).toEqual([])
  const [clearCall] = callsOf(events, CLEAR)
  expect(eventsOf(events, 'container-split')).toEqual([
    expect.objectContaining({
      devices: [
        { device: 'scratch0', ioas: 1 },
        { device: 'scratch1', ioas: 4 },
      ],
      setCall: clearCall,
    }),
  ])
})

test('a SET that nobody follows, or after the first device has gone, is no split', () => {
  const harmless = example('harmless', (t) => {
    firstDevice(t)
    vfioIoas(t, SET, 3)
    vfioIoas(t, SET, 1)
    secondDevice(t)
    t.close(4)
    t.close(3)
    vfioIoas(t, SET, 3)
    getDevice(t, 2, 'scratch1', 4)
    t.open('/dev/vfio/devices/vfio0', { slot: 5 })
  })
  const { problems, events } = play(harmless)
  expect(problems).toEqual([])
  expect(eventsOf(events, 'container-split')).toEqual([])
})
