import { runInNewContext } from 'node:vm'
import { build } from 'esbuild'
import { expect, test } from 'vitest'

test('the library bundles for a browser and works there: nothing of Node is in it', async () => {
  const { outputFiles } = await build({
    entryPoints: ['src/index.ts'],
    bundle: true,
    write: false,
    platform: 'browser',
    format: 'iife',
    globalName: 'iommufdUser',
    logLevel: 'silent',
  })
  // A new context has the language's own globals and no others, as a page that offers little.
  const id: unknown = runInNewContext(
    `${outputFiles[0]?.text}; iommufdUser.Iommufd.open().allocIoas().id`,
  )
  expect(id).toBe(1)
})
