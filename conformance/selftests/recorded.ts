/**
 * What a real Linux gives: one line a test, `pass NAME` or `skip NAME`, in a file per program. Only
 * names and verdicts of the tests are kept, nothing of the programs.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../src/host/built-file.ts'
import type { Results, Verdict } from './tap.ts'

export const RECORDED_LINUX = '7.2.13'

const fileOf = (program: string): string =>
  join(packageRoot(), 'conformance/recorded', `linux-${RECORDED_LINUX}`, `${program}.txt`)

const isVerdict = (word: string | undefined): word is Verdict =>
  word === 'pass' || word === 'skip' || word === 'fail'

/** Undefined if nothing was recorded for the program. */
export const recordedResults = (program: string): Results | undefined => {
  if (!existsSync(fileOf(program))) return undefined
  const results = new Map<string, Verdict>()
  for (const line of readFileSync(fileOf(program), 'utf8').split('\n')) {
    const [verdict, name] = line.split(' ')
    if (isVerdict(verdict) && name !== undefined) results.set(name, verdict)
  }
  return results
}

export const record = (program: string, results: Results): string => {
  const file = fileOf(program)
  mkdirSync(join(file, '..'), { recursive: true })
  writeFileSync(file, [...results].map(([name, verdict]) => `${verdict} ${name}\n`).join(''))
  return file
}
