/**
 * Plays the same random calls through the engine and a real Linux and compares every answer:
 * return values, errno, and all bytes written back.
 *
 *   npm run compare -- --calls 2000 --seed 1 [--profile core,container,mock] [--door engine|run|both]
 *
 * The real Linux is the kernel at ORACLE_DIR/bzImage (default ~/.cache/linux-oracle).
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { errnoName } from '../src/abi/errno.ts'
import { profiles } from './compare/profiles.ts'
import {
  type Difference,
  firstDifference,
  makeSequences,
  type Profile,
  scriptOf,
} from './compare/sequence.ts'
import { type Play, shrink } from './compare/shrink.ts'
import { kernelLikeMachine, playOnEngine } from './doors/engine.ts'
import { playInRealKernel, realKernelMissing } from './doors/real-kernel.ts'
import { cClient, playWithClient, pythonClient, runPrefix } from './doors/under-run.ts'
import { splitTranscript } from './transcript.ts'

const { values: options } = parseArgs({
  options: {
    calls: { type: 'string', default: '2000' },
    seed: { type: 'string', default: '1' },
    profile: { type: 'string', default: 'core,container' },
    door: { type: 'string', default: 'engine' },
    /** Writes the whole script and both transcripts there, for a closer look. */
    keep: { type: 'string' },
    differences: { type: 'string', default: '1' },
    /** Reports sequences up to the difference, as they are: shrinking one takes many boots. */
    whole: { type: 'boolean', default: false },
  },
})

const chosenProfiles = (): Profile[] =>
  options.profile.split(',').map((name) => {
    const profile = profiles.find((candidate) => candidate.name === name)
    if (profile !== undefined) return profile
    throw new Error(
      `There is no profile ${name}; there are ${profiles.map((each) => each.name).join(', ')}.`,
    )
  })

const kernel: Play = async (script) => splitTranscript(await playInRealKernel(script, 1200))
const engine: Play = async (script) => splitTranscript(playOnEngine(script, kernelLikeMachine()))
const underRun: Play = async (script) => {
  const client = cClient() ?? pythonClient()
  if (client === undefined) throw new Error('Neither a C compiler nor Python is here.')
  return splitTranscript(await playWithClient(script, client, runPrefix()))
}

const doors: readonly (readonly [string, Play])[] = [
  ['engine', engine],
  ['run', underRun],
]

const readable = (lines: readonly string[]): string =>
  lines
    .map((line) => {
      const errno = /^= -(\d+)$/.exec(line)?.[1]
      return errno === undefined ? line : `= -${errnoName(Number(errno))}`
    })
    .join(' | ')

const report = ({ sequence, call, expected, got }: Difference, door: string): string => {
  const shown = call < 0 ? sequence.calls : sequence.calls.slice(0, call + 1)
  const lines = shown.map(({ text }, i) => `  ${i + 1}. ${text}`)
  const which = call < 0 ? 'the set-up or the end of the sequence' : `call ${call + 1}`
  return [
    `DIFFERENCE in sequence ${sequence.title}, at ${which}:`,
    ...lines,
    `  real Linux: ${readable(expected)}`,
    `  ${door}: ${readable(got)}`,
    '',
  ].join('\n')
}

const main = async (): Promise<number> => {
  const missing = realKernelMissing()
  if (missing !== undefined) {
    console.error(`No real Linux to compare with: ${missing}.`)
    return 2
  }
  const calls = Number(options.calls)
  const sequences = makeSequences(chosenProfiles(), calls, Number(options.seed))
  const script = sequences.map(scriptOf).join('')
  if (options.keep !== undefined) writeFileSync(`${options.keep}.script`, script)
  const expected = await kernel(script)
  const total = sequences.reduce((sum, sequence) => sum + sequence.calls.length, 0)
  let differences = 0
  for (const [name, play] of doors) {
    if (options.door !== name && options.door !== 'both') continue
    const got = await play(script)
    if (options.keep !== undefined) keep(options.keep, name, expected, got)
    const found = sequences
      .map((each) => firstDifference(each, expected.get(each.title), got.get(each.title)))
      .filter((difference) => difference !== undefined)
    differences += found.length
    console.log(`${name}: ${total} calls in ${sequences.length} sequences, ${found.length} differ`)
    for (const { sequence, call } of found.slice(0, 20))
      console.log(`  ${sequence.title}: ${sequence.calls[call]?.text ?? 'set-up or end'}`)
    for (const difference of found.slice(0, Number(options.differences)))
      console.log(report(options.whole ? difference : await shrink(difference, kernel, play), name))
  }
  return differences === 0 ? 0 : 1
}

const keep = (
  path: string,
  name: string,
  expected: Map<string, readonly string[]>,
  got: Map<string, readonly string[]>,
): void => {
  for (const [suffix, transcripts] of [
    ['linux', expected],
    [name, got],
  ] as const)
    writeFileSync(
      `${path}.${suffix}`,
      [...transcripts].map(([title, lines]) => [`case ${title}`, ...lines].join('\n')).join('\n'),
    )
}

process.exitCode = await main()
