/** The playground's session, what was typed in it, and what came of it. */
import { signal } from '@preact/signals'
import type { ObjectId } from '../../abi/brands.ts'
import type { EngineEvent } from '../../engine/events.ts'
import { walkTable } from '../model/table-walk.ts'
import { helpText } from '../playground/completion.ts'
import { type PlaygroundConfig, usualConfig } from '../playground/playground-machine.ts'
import type { Scenario } from '../playground/scenarios.ts'
import { type Outcome, Session } from '../playground/session.ts'
import { walker } from './page-table.tsx'
import { append, chosenPosition, startOver, timeline, version } from './state.ts'

export interface Exchange {
  readonly line: string
  readonly outcome: Outcome
}

export const exchanges = signal<readonly Exchange[]>([])
export const config = signal<PlaygroundConfig>(usualConfig)
/** Lines of the scenario that have not been run yet. */
export const ahead = signal<readonly string[]>([])
export const scenario = signal<Scenario | undefined>(undefined)

/** Each line with the position behind it, to do it again for a page table of that time. */
let done: { readonly line: string; readonly position: number }[] = []
let began = performance.now()
let arrived = 0
const nanoseconds = (since: number): number => Math.round((performance.now() - since) * 1e6)

const observe = (event: EngineEvent): void => {
  const at = nanoseconds(began)
  append(event, event.type === 'call' ? { at, took: nanoseconds(arrived) } : { at })
}

export let session = new Session(usualConfig, observe)

/** A new machine, on which nothing has happened. */
export const restart = (wanted: PlaygroundConfig): void => {
  config.value = wanted
  exchanges.value = []
  ahead.value = []
  scenario.value = undefined
  done = []
  began = performance.now()
  startOver({
    kind: 'playground',
    name: `playground on ${wanted.platform}${wanted.compatIoas === 'strict' ? ', strict' : ''}`,
    state: '',
  })
  session = new Session(wanted, observe)
}

export const runLine = (line: string): void => {
  arrived = performance.now()
  const help = /^\s*help\b\s*(\S*)/.exec(line)
  const outcome =
    help === null ? session.run(line) : { text: helpText(help[1] ?? ''), failed: false }
  exchanges.value = [...exchanges.value, { line, outcome }]
  if (help === null) done.push({ line, position: timeline.end })
  chosenPosition.value = undefined
  version.value += 1
}

export const begin = (wanted: Scenario): void => {
  restart(wanted.config)
  scenario.value = wanted
  ahead.value = wanted.lines
}

export const runNext = (): void => {
  const [line, ...rest] = ahead.value
  if (line === undefined) return
  ahead.value = rest
  runLine(line)
  // Remarks belong to what follows them.
  if (line.startsWith('#')) runNext()
}

export const runAll = (): void => {
  while (ahead.value.length > 0) runNext()
}

// --- page tables

/** The session as it was at a position: the lines up to it, once more. */
const sessionAt = (position: number): Session => {
  if (position >= timeline.end) return session
  const again = new Session(config.value, () => {})
  for (const { line, position: behind } of done) if (behind <= position) again.run(line)
  return again
}

walker.value = (position: number, context: number, hwpt: ObjectId, iova: bigint) => {
  const found = sessionAt(position).context(context)
  return found === undefined ? 'That context is closed.' : walkTable(found, hwpt, iova)
}
