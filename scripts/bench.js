// Runs the benchmarks of bench/: bundles them (they are TypeScript) and the command, then measures.
//
//   node scripts/bench.js            everything
//   node scripts/bench.js abi engine only these parts
import { spawnSync } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { bundle } from './build.js'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const outfile = join(root, '.cache', 'bench', 'main.js')

await bundle()
await build({
  absWorkingDir: root,
  entryPoints: ['bench/main.ts'],
  outfile,
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  packages: 'external',
  logLevel: 'warning',
})
const { status } = spawnSync(
  process.execPath,
  ['--expose-gc', '--max-old-space-size=4096', outfile, ...process.argv.slice(2)],
  { stdio: 'inherit' },
)
process.exitCode = status ?? 1
