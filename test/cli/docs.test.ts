import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { packageRoot } from '../../src/host/built-file.ts'
import { iommufdUser } from './program.ts'

test('docs/errors.md is what the reasons say now; npm run docs writes it', async () => {
  const written = readFileSync(join(packageRoot(), 'docs', 'errors.md'), 'utf8')
  expect(written).toBe((await iommufdUser(['errors', '--format=markdown'])).stdout)
})

test('docs/findings.md is what the finders say now; npm run docs writes it', async () => {
  const written = readFileSync(join(packageRoot(), 'docs', 'findings.md'), 'utf8')
  const { stdout } = await iommufdUser(['errors', '--findings', '--format=markdown'])
  expect(written).toBe(stdout)
})

test('explain knows findings as well as reasons', async () => {
  const { stdout, status } = await iommufdUser(['explain', 'dma-fault', 'map-meets-area'])
  expect(status).toBe(0)
  expect(stdout).toContain('map-meets-area (EEXIST)')
  expect(stdout).toContain('dma-fault (error, serious)')
})
