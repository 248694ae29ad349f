/** QEMU, unmodified, gives simulated PCI devices to a Linux guest (06 §11.3). */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { type Ended, iommufdUser } from '../cli/program.ts'
import { compile, hasStaticLibrary, RUNS, scratchPath, unless } from '../host/programs.ts'
import { guestFile, guestKernel, hasBusybox, writeInitramfs } from './guest.ts'

const QEMU = 'qemu-system-x86_64'
const qemu = spawnSync(QEMU, ['--version'], { encoding: 'utf8' })
const kernel = qemu.status === 0 && hasBusybox ? guestKernel() : 'busybox-static'
const NEEDS = [
  RUNS,
  [process.arch === 'x64', 'x86-64'],
  [qemu.status === 0, QEMU],
  [hasStaticLibrary, 'a static C library'],
  [typeof kernel !== 'string', String(kernel)],
] as const

const boot = (
  devices: readonly string[],
  initramfs: string,
  image: string,
  more: readonly string[],
): Promise<Ended> =>
  iommufdUser([
    'run',
    ...devices.map((device) => `--device=${device}`),
    '--',
    // A guest that hangs must not outlive the test.
    ...['timeout', '90', QEMU],
    ...['-machine', 'q35,accel=tcg', '-m', '256', '-nodefaults', '-display', 'none', '-no-reboot'],
    ...['-serial', 'stdio', '-kernel', image, '-initrd', initramfs],
    ...['-append', 'console=ttyS0 quiet panic=-1'],
    ...more,
  ])

describe.skipIf(NEEDS.some(([there]) => !there))(`QEMU${unless(...NEEDS)}`, () => {
  if (typeof kernel === 'string') return

  test('a guest drives edu: registers, DMA, its interrupt line', async () => {
    const program = compile('edu-guest', guestFile('edu.c'), ['-static'])
    const initramfs = scratchPath('edu.cpio')
    writeInitramfs(initramfs, kernel, {
      job: guestFile('edu-job.sh'),
      modules: ['uio', 'uio_pci_generic'],
      files: { '/edu': readFileSync(program) },
    })
    const device = 'edu,addr=0000:00:05.0'
    const { stdout } = await boot([device], initramfs, kernel.image, [
      '-device',
      'vfio-pci,host=0000:00:05.0',
    ])
    expect(stdout).toContain('edu: all is well')
    expect(stdout).toContain('job ended with 0')
  })
})
