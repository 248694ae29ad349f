/** abi/ and engine/ run in a browser: they import nothing of Node, and bundle without it. */
import { readdirSync, readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))

const filesOf = (room: string): string[] =>
  readdirSync(join(root, 'src', room), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => join(root, 'src', room, file))

const IMPORT = /(?:from|import)\s*\(?\s*['"]([^'"]+)['"]/g

const importsOf = (file: string): string[] =>
  [...readFileSync(file, 'utf8').matchAll(IMPORT)].map((match) => match[1] ?? '')

test.each(['abi', 'engine'])('%s/ imports only its own files and those below it', (room) => {
  const files = filesOf(room)
  expect(files.length).toBeGreaterThan(3)
  for (const file of files)
    for (const imported of importsOf(file)) {
      expect(isBuiltin(imported), `${file} imports ${imported}`).toBe(false)
      expect(imported, `${file} imports ${imported}`).toMatch(/^\.\.?\//)
    }
})

test.each(['abi', 'engine'])(
  '%s/ bundles for a browser and touches no Node global',
  async (room) => {
    const result = await build({
      stdin: {
        contents: filesOf(room)
          .map(
            (file) =>
              `import * as ${`m${file.replace(/\W/g, '_')}`} from ${JSON.stringify(file)}\n`,
          )
          .concat(
            `export default [${filesOf(room)
              .map((file) => `m${file.replace(/\W/g, '_')}`)
              .join(', ')}]`,
          )
          .join(''),
        resolveDir: root,
        loader: 'ts',
      },
      bundle: true,
      write: false,
      platform: 'browser',
      format: 'esm',
      logLevel: 'silent',
    })
    expect(result.errors).toEqual([])
    const text = result.outputFiles[0]?.text ?? ''
    expect(text.length).toBeGreaterThan(1000)
    expect(text).not.toMatch(/\b(?:process\.(?:env|argv|stdout|stderr|hrtime)|Buffer\.|require\()/)
  },
)
