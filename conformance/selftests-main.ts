/**
 * Runs Linux's own test programs under `iommufd-user run` and compares each test with what a real
 * Linux gives.
 *
 *   npm run conformance                 all programs
 *   npm run conformance -- iommufd      only these
 *   npm run conformance -- --real       in a real kernel instead (ORACLE_DIR/bzImage)
 *   npm run conformance -- --record     in a real kernel, and record what it gives
 *
 * Exit status: 0 if nothing differs, 1 if something does, 2 if the programs cannot be had.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { runInRealKernel } from './doors/real-kernel.ts'
import { runPrefix } from './doors/under-run.ts'
import { CannotObtain, obtainSelftests } from './selftests/obtain.ts'
import { type Explained, type SelftestProgram, selftestPrograms } from './selftests/programs.ts'
import { RECORDED_LINUX, record, recordedResults } from './selftests/recorded.ts'
import { type Missing, prepareSurroundings } from './selftests/surroundings.ts'
import { familyOf, parseTap, type Results, type Verdict } from './selftests/tap.ts'

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    real: { type: 'boolean', default: false },
    record: { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
  },
})

const TIMEOUT_SECONDS = 600

interface Outcome {
  readonly results: Results
  readonly seconds: number
  /** What the program printed, for those who look closer. */
  readonly output: string
}

const underRun = (program: SelftestProgram, directory: string): Outcome => {
  const [command = '', ...rest] = [
    ...runPrefix(program.runOptions),
    join(directory, program.name),
    ...program.arguments,
  ]
  const begin = performance.now()
  const { stdout, stderr } = spawnSync(command, rest, {
    encoding: 'utf8',
    timeout: TIMEOUT_SECONDS * 1000,
    maxBuffer: 1 << 28,
  })
  const seconds = (performance.now() - begin) / 1000
  return { results: parseTap(stdout), seconds, output: `${stdout}${stderr}` }
}

const inRealKernel = async (program: SelftestProgram, directory: string): Promise<Outcome> => {
  const path = `/bin/${program.name}`
  const begin = performance.now()
  const { output } = await runInRealKernel({
    command: [path, ...program.arguments],
    files: new Map([[path, readFileSync(join(directory, program.name))]]),
    timeoutSeconds: TIMEOUT_SECONDS,
  })
  return { results: parseTap(output), seconds: (performance.now() - begin) / 1000, output }
}

interface Difference {
  readonly test: string
  readonly linux: Verdict | 'absent'
  readonly here: Verdict | 'absent'
  /** Why it is no fault, if it is none. */
  readonly because: string | undefined
}

const compare = (
  results: Results,
  recorded: Results,
  missing: readonly Missing[],
  explained: readonly Explained[],
): Difference[] =>
  [...new Set([...recorded.keys(), ...results.keys()])]
    .map((test) => ({
      test,
      linux: recorded.get(test) ?? ('absent' as const),
      here: results.get(test) ?? ('absent' as const),
      because: whyNoFault(test, missing, explained),
    }))
    .filter(({ linux, here }) => linux !== here)

const whyNoFault = (
  test: string,
  missing: readonly Missing[],
  explained: readonly Explained[],
): string | undefined => {
  const lacks = missing.find(({ fails }) => fails(test))?.what
  if (lacks !== undefined) return `this machine has no ${lacks}; it would fail on Linux too`
  return explained.find(({ tests }) => tests.test(test))?.because
}

const table = (results: Results, differences: readonly Difference[]): string => {
  const rows = new Map<string, { tests: number; differ: number } & Record<Verdict, number>>()
  for (const [test, verdict] of results) {
    const row = rows.get(familyOf(test)) ?? { tests: 0, differ: 0, pass: 0, skip: 0, fail: 0 }
    rows.set(familyOf(test), row)
    row.tests += 1
    row[verdict] += 1
    if (differences.some((difference) => difference.test === test)) row.differ += 1
  }
  const width = Math.max(8, ...[...rows.keys()].map((name) => name.length))
  const header = `  ${'fixture'.padEnd(width)}  tests   pass   skip   fail  unlike Linux`
  const body = [...rows].map(
    ([name, { tests, pass, skip, fail, differ }]) =>
      `  ${name.padEnd(width)}${[tests, pass, skip, fail].map((n) => String(n).padStart(7)).join('')}${String(differ).padStart(14)}`,
  )
  return [header, ...body].join('\n')
}

const explain = ({ test, linux, here, because }: Difference): string =>
  `  ${test}: ${here} here, ${linux} on Linux${because === undefined ? '' : ` (${because})`}`

/** Why `run` cannot offer what the program needs; undefined if it can. */
const notOffered = ({ runOptions }: SelftestProgram): string | undefined => {
  if (options.real || options.record || runOptions.length === 0) return undefined
  const [command = '', ...rest] = [...runPrefix(runOptions), 'true']
  const { status, stderr } = spawnSync(command, rest, { encoding: 'utf8' })
  return status === 0 ? undefined : stderr.trim()
}

/** What Linux gives; where none was asked, that everything passes. */
const expected = ({ name, allPass, skipped }: SelftestProgram, results: Results): Results => {
  if (allPass !== true) return recordedResults(name) ?? new Map<string, Verdict>()
  return new Map([...results.keys()].map((test) => [test, skipped?.test(test) ? 'skip' : 'pass']))
}

const titleOf = ({ name, way }: SelftestProgram): string =>
  way === undefined ? name : `${name}, ${way}`

/** Number of differences that the machine does not explain. */
const runOne = async (
  program: SelftestProgram,
  directory: string,
  missing: readonly Missing[],
): Promise<number> => {
  const real = options.real || options.record
  const { results, seconds, output } = real
    ? await inRealKernel(program, directory)
    : underRun(program, directory)
  if (options.verbose) console.log(output)
  if (options.record) console.log(`Recorded in ${record(program.name, results)}`)
  const recorded = expected(program, results)
  const differences = compare(results, recorded, real ? [] : missing, real ? [] : program.explained)
  const unexplained = differences.filter(({ because }) => because === undefined)
  console.log(
    `\n${titleOf(program)}: ${results.size} of ${recorded.size} tests, ${seconds.toFixed(1)} s, ${differences.length} unlike Linux ${RECORDED_LINUX}`,
  )
  if (results.size === 0) console.log(`  It printed no results, but: ${output.slice(-2000)}`)
  else {
    console.log(table(results, differences))
    for (const difference of differences) console.log(explain(difference))
  }
  // A program of which nothing was recorded has to give something.
  return results.size === 0 && program.allPass === true ? 1 : unexplained.length
}

const main = async (): Promise<number> => {
  const real = options.real || options.record
  const wanted = selftestPrograms.filter(
    ({ name, way, allPass }) =>
      (positionals.length === 0 || positionals.includes(name)) &&
      // Only what can be had of a real Linux is asked there.
      !(real && (way !== undefined || allPass === true)),
  )
  try {
    const directory = obtainSelftests()
    const missing = prepareSurroundings()
    let unexplained = 0
    for (const program of wanted) {
      const refusal = notOffered(program)
      if (refusal === undefined) unexplained += await runOne(program, directory, missing)
      else console.log(`\n${titleOf(program)}: skipped. ${refusal}`)
    }
    return unexplained === 0 ? 0 : 1
  } catch (error) {
    if (!(error instanceof CannotObtain)) throw error
    console.error(`Linux's test programs cannot be had: ${error.message}`)
    return 2
  }
}

process.exitCode = await main()
