/**
 * Every reason is reached by some test. While tests run, each refusal leaves the code of its reason: the
 * transform below has `refuse` say it, for tests alone. When all tests have run, what nobody reached and
 * what `unreached-reasons.ts` does not name with a reason why is an error.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { reasonsUnderRun, unreachedReasons } from './unreached-reasons.ts'

/** Where test files leave what they reached; one file each. */
export const REACHED_DIRECTORY = 'IOMMUFD_USER_REACHED'

const REFUSE = 'new Refusal(kind, fields)'
const REFUSE_AND_SAY = '(globalThis.reachedReasons?.add(kind.code), new Refusal(kind, fields))'

/** Has `refuse` say which reasons it is called with. */
export const sayReachedReasons = {
  name: 'say-reached-reasons',
  transform: (code: string, id: string): string | undefined => {
    if (!id.endsWith('/src/engine/reason.ts')) return undefined
    if (!code.includes(REFUSE)) throw new Error('refuse() makes refusals in another way now')
    return code.replace(REFUSE, REFUSE_AND_SAY)
  },
}

export const setup = (project: TestProject): (() => Promise<void>) => {
  const directory = mkdtempSync(join(tmpdir(), 'iommufd-user-reached-'))
  process.env[REACHED_DIRECTORY] = directory
  return async () => {
    const reached = new Set<string>()
    const files = readdirSync(directory)
    for (const file of files)
      for (const code of JSON.parse(readFileSync(join(directory, file), 'utf8')) as string[])
        reached.add(code)
    rmSync(directory, { recursive: true })
    const { testFiles } = await project.globTestFiles()
    // Part of the tests proves nothing, but REASONS=check shows how far it comes.
    const asked = process.env['REASONS'] === 'check'
    if (!asked && (files.length < testFiles.length || project.config.testNamePattern !== undefined))
      return
    check(reached)
  }
}

/** Codes of the reasons that the sources declare. */
const declared = (): readonly string[] => {
  const sources = join(import.meta.dirname, '../../src')
  return readdirSync(sources, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && file !== join('engine', 'reason.ts'))
    .flatMap((file) => [
      ...readFileSync(join(sources, file), 'utf8').matchAll(
        /reasonKind(?:<[^(]*>)?\(\{\s*code: '([^']+)'/g,
      ),
    ])
    .map((match) => match[1] ?? '')
}

const check = (reached: ReadonlySet<string>): void => {
  const codes = declared()
  const underRun = reasonsUnderRun.some((code) => reached.has(code))
  const missing = codes.filter(
    (code) =>
      !reached.has(code) &&
      !(code in unreachedReasons) &&
      // A machine that cannot run programs under simulation says so at each test that it skips.
      (underRun || !reasonsUnderRun.includes(code)),
  )
  const needless = Object.keys(unreachedReasons).filter(
    (code) => reached.has(code) || !codes.includes(code),
  )
  const complaints = [
    ...missing.map((code) => `no test reaches the reason ${code}`),
    ...needless.map((code) => `${code} is reached, or gone: take it out of unreached-reasons.ts`),
  ]
  if (complaints.length === 0) return
  process.stderr.write(`\nEvery reason is to be reached by a test:\n  ${complaints.join('\n  ')}\n`)
  process.exitCode = 1
  throw new Error(`${complaints.length} reasons are not as they should be: see above`)
}
