// Builds dist/. Each entry point becomes one self-contained file (starting many small modules costs
// `run` more than it may take), beside the type declarations of the library.
//
// Entry points: src/index.ts (the library) and every file called main.ts or *-main.ts, which are the
// programs (the command, the launcher, workers) and the parts that programs load later. They become
// CommonJS, which Node starts sooner: src/host/launcher-main.ts becomes dist/host/launcher-main.cjs; find
// it at run time with builtFile() of src/host/built-file.ts.
//
// The inspector's page becomes one HTML file (build-page.js).
//
// Beside large ones lies what V8 compiles them to (keepCompiled).
//
//   node scripts/build.js            everything
//   node scripts/build.js --no-types only the JavaScript, in a tenth of a second (the tests do this)
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import Module, { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Script } from 'node:vm'
import { build } from 'esbuild'
import { buildPage } from './build-page.js'

const root = dirname(dirname(fileURLToPath(import.meta.url)))

export const entryPoints = () =>
  readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((file) => /(^|\/|-)main\.ts$/.test(file) || file === 'index.ts')
    .map((file) => `src/${file}`)

const common = {
  absWorkingDir: root,
  outbase: 'src',
  outdir: 'dist',
  bundle: true,
  platform: 'node',
  target: 'node20.19',
  packages: 'external',
  logLevel: 'warning',
}

export const bundle = async () => {
  await Promise.all([
    buildPage('inspector'),
    build({ ...common, entryPoints: ['src/index.ts'], format: 'esm' }),
    build({
      ...common,
      entryPoints: entryPoints().filter((file) => file !== 'src/index.ts'),
      format: 'cjs',
      outExtension: { '.js': '.cjs' },
      // What the sources say, in CommonJS's words.
      define: { 'import.meta.url': 'importMetaUrl' },
      banner: { js: "const importMetaUrl = require('node:url').pathToFileURL(__filename).href;" },
    }),
  ])
  for (const name of ['command-main', 'serving-main'])
    keepCompiled(join(root, `dist/cli/${name}.cjs`))
}

/** For loadBuilt() of src/host/built-file.ts. */
const keepCompiled = (file) => {
  const script = new Script(Module.wrap(readFileSync(file, 'utf8')), { filename: file })
  writeFileSync(`${file}.${process.version}`, script.createCachedData())
}

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
