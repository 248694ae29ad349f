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

  test('a replay of its recording leaves the image alone', async () => {
    const image = newImage('recorded.img')
    const recording = scratchPath('recording')
    const device = ['--device', `nvme:${image},addr=${BDF}`]
    await iommufdUser(['run', `--record=${recording}`, ...device, client, BDF, 'basic'])
    const written = readFileSync(image)
    writeFileSync(image, 'something else')
    const { status, stdout } = await iommufdUser(['replay', recording])
    expect(stdout).toMatch(/^No difference in \d+ entries/)
    expect(stdout).toContain(`What ${BDF} did was not compared`)
    expect(status).toBe(0)
    expect(readFileSync(image, 'utf8')).toBe('something else')
    expect(written.some((byte) => byte !== 0)).toBe(true)
  })

  /** What a step of the client prints. The findings of a run that is meant to go wrong are not looked at. */
  const step = async (name: string, image = newImage(`${name}.img`)): Promise<string> => {
    const device = ['--device', `nvme:${image},addr=${BDF}`]
    const args = name === 'vanish' ? [BDF, name, image] : [BDF, name]
    const { stdout } = await iommufdUser(['run', ...device, client, ...args])
    return stdout.trim()
  }

  test('memory that has been unmapped is not written any more, whatever was under way', async () => {
    const said = await step('unmap')
    expect(said).toMatch(/^spoiled 0, other errors 0, reads 3200, /)
  })

  test('mappings of the registers fault while memory is disabled, and serve again afterwards', async () => {
    expect(await step('memory-off')).toBe('fault\nversion 10400 status 1\nread')
  })

  test('a reset leaves the registers as new, in the middle of reads too', async () => {
    expect(await step('reset')).toBe('status 1')
  })

  test('pread and pwrite reach the registers as well', async () => {
    expect(await step('trapped')).toBe('status 1 completion 1 of 7 vendor 1b36')
  })

  test('queues where there is no memory stop the controller until it is reset', async () => {
    expect(await step('far-away')).toBe('status 3\nstatus 3\nstatus 1')
  })

  test('an image that becomes shorter gives unrecovered read errors there, and nothing worse', async () => {
    expect(await step('vanish')).toBe('read 4281 before 0 write 0 flush 0')
  })

  test('what was flushed is in the image when the supervisor is killed', async () => {
    const image = newImage('power-loss.img')
    expect(await step('power-loss', image)).toBe('flushed')
    const file = readFileSync(image)
    expect(file.subarray(0, MEGABYTE).every((byte) => byte === 0x77)).toBe(true)
    expect(file.subarray(MEGABYTE, 2 * MEGABYTE).every((byte) => byte === 0)).toBe(true)
  })

  test('a client that is killed while commands are under way leaves a device for the next', async () => {
    const image = newImage('die.img')
    const device = ['--device', `nvme:${image},addr=${BDF}`]
    const both = `${client} ${BDF} die; ${client} ${BDF} basic`
    const { stdout } = await iommufdUser(['run', ...device, 'sh', '-c', both])
    expect(stdout).toContain('read back the same')
    expect(stdout).toContain('status after shutdown 9')
  })

  test('several devices work at the same time, each on its image', async () => {
    const images = [newImage('first.img'), newImage('second.img', 8 * MEGABYTE)]
    const devices = images.flatMap((image, i) => [
      '--device',
      `nvme:${image},addr=0000:0${i + 1}:00.0`,
    ])
    const clients = `${client} 0000:01:00.0 basic & ${client} 0000:02:00.0 basic; wait`
    const { stdout, stderr } = await iommufdUser(['run', ...devices, 'sh', '-c', clients])
    expect(stderr).toBe('')
    expect(stdout.match(/read back the same/g)).toHaveLength(2)
    expect(stdout).toContain('blocks 131072')
    expect(stdout).toContain('blocks 16384')
    expect(readFileSync(images[1] ?? '').length).toBe(8 * MEGABYTE)
  })

  test('a read-only image is left as it is', async () => {
    const image = newImage('read-only.img')
    const device = ['--device', `nvme:${image},addr=${BDF},readonly=on`]
    const { stderr } = await iommufdUser(['run', ...device, client, BDF, 'basic'])
    expect(stderr).toContain('command 0x1 fails with status 0x4182')
    expect(readFileSync(image).every((byte) => byte === 0)).toBe(true)
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
