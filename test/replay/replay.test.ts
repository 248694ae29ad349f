/** What a machine did under recording, it does again in a replay: everything that the other tests play. */
import { describe, expect, test } from 'vitest'
import { allExamples } from '../../conformance/cases/all.ts'
import { profiles } from '../../conformance/compare/profiles.ts'
import { makeSequences, scriptOf } from '../../conformance/compare/sequence.ts'
import { kernelLikeMachine, playOnEngine, testMachine } from '../../conformance/doors/engine.ts'
import type { Machine } from '../../src/engine/machine.ts'
import { type Difference, differenceText } from '../../src/replay/difference.ts'
import { NotedWorld } from '../../src/replay/noted-world.ts'
import { Replay, type ReplaySummary } from '../../src/replay/replay.ts'
import { RecordingError, type RecordingItem } from '../../src/watch/recording.ts'
import { RecordingReader } from '../../src/watch/recording-reader.ts'
import { RecordingWriter } from '../../src/watch/recording-writer.ts'

/** Plays a script on a machine that is recorded; the recording, and the transcript. */
const recorded = (script: string, machine: Machine): [RecordingItem[], string] => {
  const reader = new RecordingReader({ served: true })
  const items: RecordingItem[] = []
  const writer = new RecordingWriter(
    {
      iommufdUser: 'test',
      machine: {
        devices: [],
        platform: null,
        container: 'iommufd',
        compatIoas: machine.compatIoas,
        testInterface: true,
      },
      command: [],
      pageSize: 4096,
      startedAt: 0,
    },
    (chunk) => items.push(...reader.push(chunk)),
  )
  const world = new NotedWorld(writer)
  machine.observer = writer
  const nodes = machine.nodes.bind(machine)
  machine.node = (path) => world.nodes(nodes()).find((node) => node.path === path)
  const transcript = playOnEngine(script, machine)
  writer.end(0)
  expect(reader.damage()).toBeUndefined()
  return [items, transcript]
}

const replayed = (
  items: readonly RecordingItem[],
  machine: Machine,
): [ReplaySummary, Difference[]] => {
  const differences: Difference[] = []
  const replay = new Replay((difference) => differences.push(difference))
  machine.observer = replay.observer
  for (const item of items) replay.item(item, machine)
  return [replay.end(), differences]
}

const expectNoDifference = (
  items: readonly RecordingItem[],
  machine: Machine,
  entries: number,
): void => {
  const [summary, differences] = replayed(items, machine)
  expect(differences.map(differenceText)).toEqual([])
  expect(summary).toMatchObject({ different: 0, leftOut: 0 })
  expect(summary.entries).toBeGreaterThan(entries)
}

test('every worked example', () => {
  const script = `${allExamples.flatMap((example) => example.script).join('\n')}\n`
  const [items, transcript] = recorded(script, testMachine())
  // That nobody notices being recorded: but for what only the test asks the machine itself.
  const unheard = (text: string): string => text.replaceAll(/^= pinned .*$/gm, '= pinned')
  expect(unheard(transcript)).toBe(unheard(playOnEngine(script, testMachine())))
  expectNoDifference(items, testMachine(), 2000)
})

describe('random calls, as they are compared with a real kernel', () => {
  test.each(profiles.map((profile) => [profile.name, profile] as const))('%s', (_, profile) => {
    const script = makeSequences([profile], 300, 20261124).map(scriptOf).join('')
    const [items] = recorded(script, kernelLikeMachine())
    expectNoDifference(items, kernelLikeMachine(), 100)
  })
})

test('another machine does something else, and the calls in which it does are named', () => {
  const script = `${allExamples.flatMap((example) => example.script).join('\n')}\n`
  const [items] = recorded(script, testMachine())
  const other = testMachine()
  // As if the engine had changed: this command is not there any more.
  const commands = new Map(other.commands)
  commands.delete(0x83)
  Object.defineProperty(other, 'commands', { value: commands })
  const [summary, differences] = replayed(items, other)
  expect(summary.different).toBeGreaterThan(0)
  const text = differences.map(differenceText).join('\n')
  expect(text).toMatch(/^Call #\d+:\n {2}- .*area-mapped[\s\S]*IOMMU_IOAS_COPY/m)
  expect(text).toMatch(/^ {2}\+ .*IOMMU_IOAS_COPY.*ENOTTY/m)
})

test('what no replay can make sense of is told', () => {
  const replay = new Replay(() => undefined)
  expect(() => replay.item({ kind: 'served', served: [99, 0] }, testMachine())).toThrow(
    RecordingError,
  )
  expect(() => replay.item({ kind: 'served', served: [7, 0, 1, 98] }, testMachine())).toThrow(
    RecordingError,
  )
  expect(() => replay.item({ kind: 'served', served: [7, 'x'] }, testMachine())).toThrow(
    RecordingError,
  )
})
