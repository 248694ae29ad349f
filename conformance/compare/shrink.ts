/** Makes a differing sequence short: drops calls as long as some difference remains. */
import type { RandomCall } from './call.ts'
import { type Difference, firstDifference, type Sequence, scriptOf } from './sequence.ts'

export type Play = (script: string) => Promise<Map<string, readonly string[]>>

/**
 * A real kernel boots for every go, so each goes as far as it can: first every block of calls is left
 * out by itself, all in one go; then, again in one go, the blocks that were not needed are left out
 * together, one more each time, and the shortest that still differs is kept. Blocks are an eighth of
 * the sequence at first and single calls in the end.
 */
export const shrink = async (
  difference: Difference,
  playExpected: Play,
  playGot: Play,
): Promise<Difference> => {
  const plays = { playExpected, playGot }
  let best = truncated(difference)
  for (const parts of [8, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]) {
    const before = best.sequence.calls.length
    best = await pass(best, parts, plays)
    if (parts !== 8 && best.sequence.calls.length === before) break
  }
  return best
}

interface Plays {
  readonly playExpected: Play
  readonly playGot: Play
}

const pass = async (from: Difference, parts: number, plays: Plays): Promise<Difference> => {
  const { sequence } = from
  const block = Math.max(1, Math.ceil(sequence.calls.length / parts))
  const blocks = Array.from({ length: Math.ceil(sequence.calls.length / block) }, (_, i) =>
    sequence.calls.slice(i * block, (i + 1) * block),
  )
  const needless = (
    await differing(
      blocks.map((some) => without(sequence, some)),
      plays,
    )
  ).flatMap((found, i) => (found === undefined ? [] : [blocks[i] ?? []]))
  const together = needless.map((_, i) => without(sequence, needless.slice(0, i + 1).flat()))
  const found = (await differing(together, plays)).filter((each) => each !== undefined)
  return (
    [from, ...found].sort((a, b) => a.sequence.calls.length - b.sequence.calls.length)[0] ?? from
  )
}

/** For each candidate its difference, if it still has one. */
const differing = async (
  candidates: readonly Sequence[],
  { playExpected, playGot }: Plays,
): Promise<(Difference | undefined)[]> => {
  if (candidates.length === 0) return []
  const named = candidates.map((candidate, i) => ({ ...candidate, title: `candidate ${i}` }))
  const script = named.map(scriptOf).join('')
  const [expected, got] = await Promise.all([playExpected(script), playGot(script)])
  return named.map((candidate) => {
    const found = firstDifference(
      candidate,
      expected.get(candidate.title),
      got.get(candidate.title),
    )
    if (found === undefined) return undefined
    const { title } = candidates[0] ?? candidate
    return truncated({ ...found, sequence: { ...candidate, title } })
  })
}

/** Nothing after the call that differs matters. */
const truncated = (difference: Difference): Difference => {
  const { sequence, call } = difference
  if (call < 0) return difference
  return { ...difference, sequence: { ...sequence, calls: sequence.calls.slice(0, call + 1) } }
}

const without = (sequence: Sequence, calls: readonly RandomCall[]): Sequence => {
  const left = new Set(calls)
  return { ...sequence, calls: sequence.calls.filter((call) => !left.has(call)) }
}
