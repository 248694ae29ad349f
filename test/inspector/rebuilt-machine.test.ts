/** The engine of a recorded run at any of its calls: its page tables are those of that time. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../../src/host/built-file.ts'
import { RebuiltMachine } from '../../src/inspector/model/rebuilt-machine.ts'
import { type TableWalk, walkTable } from '../../src/inspector/model/table-walk.ts'
import { Timeline } from '../../src/inspector/model/timeline.ts'
import { readRecording } from '../../src/watch/recording-reader.ts'
import { binary } from '../cli/program.ts'
import { PYTHON, RUNS, unless } from '../host/programs.ts'

const directory = mkdtempSync(join(tmpdir(), 'rebuilt-machine-'))
const needs = [RUNS, PYTHON] as const
/** Where examples/edu.py maps its buffer, and the page table that attaching makes. */
const BUFFER = 0x10_0000n
const HWPT = 3

describe.skipIf(!needs.every(([there]) => there))(`a rebuilt machine${unless(...needs)}`, () => {
  let bytes: Uint8Array
  const timeline = new Timeline()

  beforeAll(async () => {
    const file = join(directory, 'edu')
    const edu = join(packageRoot(), 'examples/edu.py')
    const run = spawn(binary, ['run', '--device', 'edu', '--record', file, '--', 'python3', edu])
    expect(await once(run, 'exit')).toEqual([0, null])
    bytes = readFileSync(file)
    for (const { event, stamp } of readRecording(bytes).events) timeline.append(event, stamp)
  })

  afterAll(() => rmSync(directory, { recursive: true, force: true }))

  /** In two pieces, as a recording that grows. */
  const rebuilt = () => new RebuiltMachine([bytes.subarray(0, 1000), bytes.subarray(1000)])

  const walk = (machine: RebuiltMachine, position: number): TableWalk | string => {
    const at = machine.at(position)
    if (typeof at === 'string') return at
    const context = at.contexts.get(1)
    return context === undefined ? 'no context' : walkTable(context, HWPT, BUFFER)
  }

  it('translates what was mapped at each call, forwards and back', () => {
    const mapped = timeline.events.findIndex(({ type }) => type === 'area-mapped')
    const position = timeline.positionOf(timeline.events[mapped]?.call ?? 0)
    if (position === undefined) throw new Error('no call maps')
    const machine = rebuilt()
    const before = walk(machine, position - 1)
    const after = walk(machine, position)
    const again = walk(machine, position - 1)
    expect(before).toMatchObject({ phys: undefined, format: 'vtd-second-stage' })
    expect(again).toEqual(before)
    if (typeof after === 'string') throw new Error(after)
    expect(after.phys).toBeDefined()
    expect(after.levels.map(({ kind }) => kind)).toEqual(['table', 'table', 'table', 'leaf'])
  })

  it('has the contexts that events tell of, after every call', () => {
    const machine = rebuilt()
    for (let position = 1; position <= timeline.end; position++) {
      const at = machine.at(position)
      if (typeof at === 'string') throw new Error(at)
      for (const context of timeline.momentAt(position).contexts.values())
        expect([...(at.contexts.get(context.number)?.objects ?? [])].map(({ id }) => id)).toEqual(
          [...context.objects.values()].map(({ id }) => id),
        )
    }
  })
})
