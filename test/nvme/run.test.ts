/** The NVMe device under `run`: a C driver on its queues, and the image seen from outside. */
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { iommufdUser } from '../cli/program.ts'
import { COMPILER, compile, RUNS, scratchPath, unless } from '../host/programs.ts'

const MEGABYTE = 2 ** 20
const BDF = '0000:01:00.0'

/** A sparse image of so many bytes. */
const newImage = (name: string, bytes = 64 * MEGABYTE): string => {
  const path = scratchPath(name)
  writeFileSync(path, '')
  truncateSync(path, bytes)
  return path
}

describe.skipIf(!RUNS[0] || !COMPILER[0])(`an NVMe device${unless(RUNS, COMPILER)}`, () => {
  let client = ''

  beforeAll(() => {
    const source = readFileSync(join(import.meta.dirname, 'nvme-client.c'), 'utf8')
    client = compile('nvme-client', source, ['-I', import.meta.dirname])
  })

  test('identifies itself, writes, flushes, reads back and interrupts; the file holds the data', async () => {
    const image = newImage('basic.img')
    const device = ['--device', `nvme:${image},addr=${BDF}`]
    const { stdout, stderr } = await iommufdUser(['run', ...device, client, BDF, 'basic'])
    expect(stderr).toBe('')
    expect(stdout.trim().split('\n')).toEqual([
      'version 10400',
      'vendor 1b36 model iommufd-user NVMe controller',
      'blocks 131072',
      'read back the same',
      'interrupts came',
      'beyond the end: 4080',
      'status after shutdown 9',
    ])
    const written = Buffer.from(
      Array.from({ length: 520 * 512 }, (_, i) => (i * 7 + (i >> 8)) & 0xff),
    )
    // Eight blocks of it were zeroed afterwards.
    written.fill(0, 4 * 512, 12 * 512)
    const file = readFileSync(image)
    expect(file.length).toBe(64 * MEGABYTE)
    expect(file.subarray(100 * 512, 620 * 512).equals(written)).toBe(true)
    expect(file.subarray(0, 100 * 512).every((byte) => byte === 0)).toBe(true)
  })

  test('an image that cannot be one is refused in a sentence', async () => {
    const missing = await iommufdUser(['run', '--device', 'nvme:/nowhere/disk.img', 'true'])
    expect(missing.status).toBe(125)
    expect(missing.stderr).toContain('there is no image /nowhere/disk.img')
    const small = newImage('small.img', 511)
    const refused = await iommufdUser(['run', '--device', `nvme:${small}`, 'true'])
    expect(refused.status).toBe(125)
    expect(refused.stderr).toContain('too small')
  })
})
