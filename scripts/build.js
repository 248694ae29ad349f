// Builds dist/. Each entry point becomes one self-contained file (starting many small modules costs
// `run` more than it may take), beside the type declarations of the library.
//
// Entry points: src/index.ts (the library) and every file called main.ts or *-main.ts, which are the
// programs (the command, the launcher, workers). src/host/launcher-main.ts becomes
// dist/host/launcher-main.js; find it at run time with builtFile() of src/host/built-file.ts.
//
//   node scripts/build.js            everything
//   node scripts/build.js --no-types only the JavaScript, in a tenth of a second (the tests do this)
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = dirname(dirname(fileURLToPath(import.meta.url)))

export const entryPoints = () =>
  readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((file) => /(^|\/|-)main\.ts$/.test(file) || file === 'index.ts')
    .map((file) => `src/${file}`)

export const bundle = () =>
  build({
    absWorkingDir: root,
    entryPoints: entryPoints(),
    outbase: 'src',
    outdir: 'dist',
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20.19',
    packages: 'external',
    logLevel: 'warning',
  })

const declarations = () => {
  const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc')
  const { status } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], {
    cwd: root,
    stdio: 'inherit',
  })
  return status ?? 1
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await bundle()
  if (!process.argv.includes('--no-types')) process.exitCode = declarations()
}
