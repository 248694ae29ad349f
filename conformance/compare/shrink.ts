/** Makes a differing sequence short: drops calls as long as some difference remains. */
import { type Difference, firstDifference, type Sequence, scriptOf } from './sequence.ts'

export type Play = (script: string) => Promise<Map<string, readonly string[]>>

/**
 * Each round plays the sequence with every single call and every block of calls left out, all in one
 * go (a real kernel boots for every go), and keeps the shortest that still differs.
 */
export const shrink = async (
  difference: Difference,
  playExpected: Play,
  playGot: Play,
  rounds = 12,
): Promise<Difference> => {
  let best = truncated(difference)
  for (let round = 0; round < rounds; round++) {
    const candidates = shorter(best.sequence)
    if (candidates.length === 0) return best
    const script = candidates.map(scriptOf).join('')
    const [expected, got] = await Promise.all([playExpected(script), playGot(script)])
    const found = candidates
      .map((candidate) =>
        firstDifference(candidate, expected.get(candidate.title), got.get(candidate.title)),
      )
      .filter((found) => found !== undefined)
      .map(truncated)
      .sort((a, b) => a.sequence.calls.length - b.sequence.calls.length)[0]
    if (found === undefined) return best
    best = found
  }
  return best
}

/** Nothing after the call that differs matters. */
const truncated = (difference: Difference): Difference => {
  const { sequence, call } = difference
  if (call < 0) return difference
  return { ...difference, sequence: { ...sequence, calls: sequence.calls.slice(0, call + 1) } }
}

const shorter = (sequence: Sequence): Sequence[] => {
  const { calls } = sequence
  const candidates: Sequence[] = []
  const without = (from: number, count: number): void => {
    candidates.push({
      ...sequence,
      title: `${sequence.title} without ${from}+${count}`,
      calls: [...calls.slice(0, from), ...calls.slice(from + count)],
    })
  }
  for (let block = calls.length >> 1; block >= 1; block >>= 1)
    for (let from = 0; from + block < calls.length; from += block) without(from, block)
  return candidates
}
