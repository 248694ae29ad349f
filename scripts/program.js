// Runs a TypeScript program of this repository that is not part of the package:
//
//   node scripts/program.js conformance/compare-main.ts ARGUMENTS...
//
// Node 20 does not run TypeScript, so the program is bundled first (some milliseconds).
import { mkdirSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'esbuild'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const source = resolve(process.argv[2] ?? '')
const output = join(root, 'dist/programs', `${basename(source, '.ts')}.js`)
mkdirSync(dirname(output), { recursive: true })
await build({
  entryPoints: [source],
  outfile: output,
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  packages: 'external',
  sourcemap: 'inline',
  logLevel: 'warning',
})
process.argv.splice(1, 2, output)
await import(pathToFileURL(output).href)
