/**
 * Bad input (01 §4, and every check of every call): random bytes on every request number, in this
 * process and under `run`. Each call has an answer, nothing is thrown, and nothing is left when the
 * process is gone.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fuzzBegin, fuzzCall, fuzzSetUp } from '../../conformance/compare/fuzz-calls.ts'
import { Random } from '../../conformance/compare/random.ts'
import { playOnEngine, testMachine } from '../../conformance/doors/engine.ts'
import {
  cClient,
  playWithClient,
  pythonClient,
  runMissing,
} from '../../conformance/doors/under-run.ts'
import { splitTranscript } from '../../conformance/transcript.ts'
import { Errno } from '../../src/abi/errno.ts'

const CALLS = 150

const script = (title: string, seed: number): string => {
  const random = new Random(seed)
  const calls = Array.from({ length: CALLS }, () => fuzzCall(random).lines).flat()
  return `${[`case ${title}`, ...fuzzSetUp, ...fuzzBegin, ...calls].join('\n')}\n`
}

const printed = (text: string): number =>
  text.split('\n').filter((line) => line !== '' && !/^(poke|fill|case)/.test(line)).length

const errnos = new Set<number>(Object.values(Errno))

/** Lines that are no answer: no number, or an error that this interface does not have. */
const strange = (lines: readonly string[]): string[] =>
  lines.filter((line) => {
    const value = /^= (-?\d+)$/.exec(line)?.[1]
    if (value === undefined) return true
    return Number(value) < 0 && !errnos.has(-Number(value))
  })

describe('rubbish', () => {
  it('is answered by the engine, and leaves nothing behind', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffffffff }), (seed) => {
        const machine = testMachine()
        const played = script('rubbish', seed)
        const lines = splitTranscript(playOnEngine(played, machine)).get('rubbish') ?? []
        expect(strange(lines)).toEqual([])
        expect(lines).toHaveLength(printed(played))
        expect(machine.frames.isEmpty).toBe(true)
        expect(machine.lockedMemory.ofUser(0)).toBe(0)
      }),
      { numRuns: 60 },
    )
  })

  const client = cClient() ?? pythonClient()
  const missing = client === undefined ? 'neither a C compiler nor Python' : runMissing()
  it.skipIf(missing !== undefined)(
    'is answered under run, by a supervisor that lives on and has let everything go',
    async () => {
      if (client === undefined) return
      const titles = Array.from({ length: 20 }, (_, i) => `rubbish ${i}`)
      const scripts = titles.map((title, i) => script(title, 1000 + i))
      const afterwards = 'case afterwards\nopen 0 /dev/iommu 2\n'
      const transcript = splitTranscript(
        await playWithClient([...scripts, afterwards].join(''), client),
      )
      for (const [i, title] of titles.entries()) {
        const lines = transcript.get(title) ?? []
        expect(strange(lines), title).toEqual([])
        expect(lines, title).toHaveLength(printed(scripts[i] ?? ''))
      }
      expect(transcript.get('afterwards')).toEqual(['= 0'])
    },
  )
})
