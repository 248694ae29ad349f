/** qemu-img and qemu-io, unmodified, with QEMU's own user-space NVMe driver (06 §11.4). */
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { type Ended, iommufdUser } from '../cli/program.ts'
import { RUNS, scratchPath, unless } from '../host/programs.ts'

const hasQemuImg = ['qemu-img', 'qemu-io'].every(
  (program) => spawnSync(program, ['--version']).status === 0,
)
/** The driver is part of some builds only. */
const hasDriver =
  hasQemuImg &&
  !spawnSync('qemu-img', ['info', 'nvme://0000:00:00.0/1'], { encoding: 'utf8' }).stderr.includes(
    'Unknown protocol',
  )
const QEMU_IMG = [hasDriver, 'qemu-utils with the nvme driver'] as const

const MIB = 1 << 20
const DISK = 'nvme://0000:01:00.0/1'

describe.skipIf(!RUNS[0] || !QEMU_IMG[0])(`qemu-img${unless(RUNS, QEMU_IMG)}`, () => {
  const newImage = (name: string, mebibytes: number): string => {
    const path = scratchPath(name)
    writeFileSync(path, '')
    truncateSync(path, mebibytes * MIB)
    return path
  }

  /** QEMU's driver does not understand what the compatibility layer says of a container without devices. */
  const withDisk = (image: string, ...command: readonly string[]): Promise<Ended> =>
    iommufdUser([
      ...['run', '--container=type1', `--device=nvme:${image},addr=0000:01:00.0`, '--'],
      ...command,
    ])

  test('converts an image to the device and back, with holes in it', async () => {
    const content = Buffer.concat([
      randomBytes(3 * MIB),
      Buffer.alloc(8 * MIB),
      randomBytes(5 * MIB),
    ])
    const source = scratchPath('source.raw')
    writeFileSync(source, content)
    const packed = scratchPath('source.qcow2')
    expect(
      spawnSync('qemu-img', ['convert', '-O', 'qcow2', '-f', 'raw', source, packed]).status,
    ).toBe(0)
    const disk = newImage('convert.img', 16)
    const there = await withDisk(
      disk,
      'qemu-img',
      'convert',
      '-n',
      '-f',
      'qcow2',
      '-O',
      'raw',
      packed,
      DISK,
    )
    expect(there).toMatchObject({ status: 0, stderr: '' })
    expect(readFileSync(disk).equals(content)).toBe(true)
    const back = scratchPath('back.raw')
    const again = await withDisk(disk, 'qemu-img', 'convert', '-f', 'raw', '-O', 'raw', DISK, back)
    expect(again).toMatchObject({ status: 0, stderr: '' })
    expect(readFileSync(back).equals(content)).toBe(true)
  })

  test('qemu-io writes, flushes, zeroes, discards and verifies patterns', async () => {
    const disk = newImage('io.img', 16)
    const commands = [
      'write -P 0x5a 1M 256k',
      'write -f -P 0x11 4k 4k',
      'flush',
      'read -P 0x5a 1M 256k',
      'read -P 0x11 4k 4k',
      'write -z 1088k 64k',
      'read -P 0 1088k 64k',
      'discard 1M 64k',
      'aio_write -P 0x77 2M 1M',
      'aio_write -P 0x78 3M 1M',
      'aio_flush',
      'read -P 0x77 2M 1M',
      'read -P 0x78 3M 1M',
    ].flatMap((command) => ['-c', command])
    const { stdout, stderr, status } = await withDisk(
      disk,
      'qemu-io',
      '-f',
      'raw',
      '-d',
      'unmap',
      ...commands,
      DISK,
    )
    expect(stderr).toBe('')
    expect(stdout).not.toContain('verification failed')
    expect(status).toBe(0)
    const file = readFileSync(disk)
    expect(file.subarray(4096, 8192).every((byte) => byte === 0x11)).toBe(true)
    expect(file.subarray(2 * MIB, 3 * MIB).every((byte) => byte === 0x77)).toBe(true)
    expect(file.subarray(1088 << 10, 1152 << 10).every((byte) => byte === 0)).toBe(true)
  })
})
