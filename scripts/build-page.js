// Builds the inspector's page, and the playground: each is a single HTML file with everything in it, so
// that it needs no server and no network.
//
//   node scripts/build-page.js             dist/inspector/index.html (npm run build does this)
//   node scripts/build-page.js playground  dist/playground/index.html (npm run playground)
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = dirname(dirname(fileURLToPath(import.meta.url)))

const pages = {
  inspector: { entry: 'src/inspector/page/page-main.tsx', title: 'iommufd-user inspector' },
  playground: { entry: 'src/inspector/page/playground-main.tsx', title: 'iommufd playground' },
}

/** The licences of what is bundled, which must go with it. */
const licences = ({ inputs }) => {
  const packages = new Set(['uplot'])
  for (const file of Object.keys(inputs)) {
    const found = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(file)
    if (found !== null) packages.add(found[1])
  }
  return [...packages]
    .sort()
    .map((name) => {
      const folder = join(root, 'node_modules', name)
      const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
      const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each))
      const text = file === undefined ? 'MIT' : readFileSync(join(folder, file), 'utf8').trim()
      return `Contains ${name} ${version}:\n\n${text.replaceAll('--', '- -')}`
    })
    .join('\n\n')
}

export const buildPage = async (name) => {
  const { entry, title } = pages[name]
  const { outputFiles, metafile } = await build({
    absWorkingDir: root,
    entryPoints: [entry],
    bundle: true,
    write: false,
    outdir: 'dist',
    minify: true,
    platform: 'browser',
    format: 'iife',
    target: ['chrome111', 'firefox115', 'safari16.4'],
    tsconfig: 'src/inspector/page/tsconfig.json',
    legalComments: 'none',
    metafile: true,
    logLevel: 'warning',
  })
  const script = outputFiles[0].text.replaceAll('</script', '<\\/script')
  const styles = ['node_modules/uplot/dist/uPlot.min.css', 'src/inspector/page/page.css']
    .map((file) => readFileSync(join(root, file), 'utf8'))
    .join('\n')
  const folder = join(root, 'dist', name)
  mkdirSync(folder, { recursive: true })
  writeFileSync(
    join(folder, 'index.html'),
    `<!doctype html>
<!--
${licences(metafile)}
-->
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>${title}</title>
<style>
${styles}
</style>
</head>
<body>
<div id="page"></div>
<script>
${script}
</script>
</body>
</html>
`,
  )
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const name = process.argv[2] ?? 'inspector'
  await buildPage(name)
  if (name === 'playground') console.log(`Open ${join(root, 'dist/playground/index.html')}`)
}
