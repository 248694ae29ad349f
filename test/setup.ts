/**
 * Property tests draw the same values each time, so that a build says something of the change and not of
 * luck. PROPERTY_SEED=NUMBER draws others; a failure prints the seed that finds it again.
 */
import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll } from 'vitest'
import { REACHED_DIRECTORY } from './setup/reached-reasons.ts'

fc.configureGlobal({ seed: Number(process.env['PROPERTY_SEED'] ?? 20_261_124) })

declare global {
  /** Codes of the reasons that the tests of this file have reached so far. */
  var reachedReasons: Set<string> | undefined
}

globalThis.reachedReasons = new Set()

afterAll(() => {
  const directory = process.env[REACHED_DIRECTORY]
  if (directory === undefined) return
  const reached = JSON.stringify([...(globalThis.reachedReasons ?? [])])
  writeFileSync(join(directory, randomUUID()), reached)
})
