import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { packageRoot } from '../../src/host/built-file.ts'
import { iommufdUser } from './program.ts'

describe('the command line', () => {
  test('--version is that of the package', async () => {
    const { version } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as {
      version: string
    }
    expect(await iommufdUser(['--version'])).toMatchObject({ status: 0, stdout: `${version}\n` })
  })

  test('--help names every command', async () => {
    const { status, stdout } = await iommufdUser(['--help'])
    expect(status).toBe(0)
    for (const command of ['run', 'check', 'demo', 'errors']) expect(stdout).toContain(command)
  })

  test('run keeps its own statuses apart from those of a program', async () => {
    expect(await iommufdUser(['run'])).toMatchObject({ status: 125 })
    expect(await iommufdUser(['run', '--no-such-option', 'true'])).toMatchObject({ status: 125 })
    expect(await iommufdUser(['run', '--compat-ioas=odd', 'true'])).toMatchObject({ status: 125 })
    expect(await iommufdUser(['run', '--fail-nth=0', 'true'])).toMatchObject({ status: 125 })
    expect(await iommufdUser(['run', '--help'])).toMatchObject({ status: 0 })
  })

  test('a wrong command line ends with 2 and one clear line', async () => {
    const { status, stderr } = await iommufdUser(['frob'])
    expect(status).toBe(2)
    expect(stderr).toContain("unknown command 'frob'")
  })
})

describe('errors', () => {
  test('explains a reason by its code', async () => {
    const { status, stdout } = await iommufdUser(['explain', 'no-such-object'])
    expect(status).toBe(0)
    expect(stdout).toContain('no-such-object (ENOENT)')
    expect(stdout).toContain('Rule: 01 §5.2')
  })

  test('lists the reasons for an errno', async () => {
    const { stdout } = await iommufdUser(['errors', 'enoent', '--format=json'])
    const reasons = JSON.parse(stdout) as { code: string; errno: string }[]
    expect(reasons.length).toBeGreaterThan(1)
    expect(new Set(reasons.map(({ errno }) => errno))).toEqual(new Set(['ENOENT']))
  })

  test('says so when there is none', async () => {
    const { status, stderr } = await iommufdUser(['explain', 'nonesuch'])
    expect(status).toBe(1)
    expect(stderr).toContain("There is no reason 'nonesuch'")
  })
})
