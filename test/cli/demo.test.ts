import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { iommufdUser } from './program.ts'

/** Runs the demo with a temporary directory of its own, in which nothing may be left. */
const demo = async (path: string | undefined) => {
  const directory = mkdtempSync(join(tmpdir(), 'iommufd-user-demo-test-'))
  try {
    const env = { ...process.env, TMPDIR: directory }
    const ended = await iommufdUser(['demo'], { env, ...(path === undefined ? {} : { path }) })
    return { ...ended, left: readdirSync(directory) }
  } finally {
    rmSync(directory, { recursive: true })
  }
}

test('the demo shows the two address spaces, the finding, and the refusal', async () => {
  const { status, stdout, stderr, left } = await demo(undefined)
  expect(stderr).toBe('')
  expect(stdout).toContain('[container-split]')
  expect(stdout).toMatch(/scratch0 .*reads? .*"memory one"/)
  expect(stdout).toMatch(/scratch1 .*reads? .*"memory two"/)
  expect(stdout).toMatch(/IOMMU_VFIO_IOAS SET \d+ {2}-> {2}EBUSY/)
  expect(left).toEqual([])
  expect(status).toBe(0)
})

test('without a compiler and Python it says so and shows the same through the library', async () => {
  const { status, stdout, left } = await demo('/no/such/directory')
  expect(stdout).toContain('neither a C compiler (cc) nor python3')
  expect(stdout).toContain('[container-split]')
  expect(stdout).toContain('scratch1 reads "memory two"')
  expect(left).toEqual([])
  expect(status).toBe(0)
})
