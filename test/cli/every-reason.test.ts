import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { everyReason } from '../../src/cli/every-reason.ts'
import { packageRoot } from '../../src/host/built-file.ts'
import { reasonDoc } from '../../src/watch/reason-docs.ts'

const sources = join(packageRoot(), 'src')

/** Codes of the reasons that the sources declare, in whichever file. */
const declaredCodes = (): string[] =>
  readdirSync(sources, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && file !== join('engine', 'reason.ts'))
    .flatMap((file) => [
      ...readFileSync(join(sources, file), 'utf8').matchAll(
        /reasonKind(?:<[^(]*>)?\(\{\s*code: '([^']+)'/g,
      ),
    ])
    .map((match) => match[1] ?? '')

test('every reason that the sources declare is known to the documentation, once', () => {
  const declared = declaredCodes()
  expect(declared.length).toBeGreaterThan(50)
  expect(new Set(declared).size).toBe(declared.length)
  const known = new Set(everyReason().map(({ code }) => code))
  const unknown = declared.filter((code) => !known.has(code))
  expect(unknown, 'import what declares them in src/cli/every-reason.ts').toEqual([])
})

test('every reason says its rule and what to do, in one sentence', () => {
  for (const doc of everyReason().map(reasonDoc)) {
    expect(doc.code).toMatch(/^[a-z0-9]+(-[a-z0-9]+)*$/)
    expect(doc.cite, doc.code).toMatch(/^0[1-7] \S/)
    expect(doc.clause, doc.code).not.toBe('')
    expect(doc.advice, doc.code).toMatch(/^[A-Z].{10,}[.]$/)
  }
})
