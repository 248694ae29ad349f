import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { packageRoot } from '../../src/host/built-file.ts'
import { iommufdUser } from './program.ts'

test('docs/errors.md is what the reasons say now; npm run docs writes it', async () => {
  const written = readFileSync(join(packageRoot(), 'docs', 'errors.md'), 'utf8')
  expect(written).toBe((await iommufdUser(['errors', '--format=markdown'])).stdout)
})
