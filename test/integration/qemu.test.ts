/**
 * QEMU, unmodified, gives simulated PCI devices to a Linux guest (06 §11.3): by group and container, and by
 * cdev and iommufd where there is a QEMU that can.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { type Ended, iommufdUser } from '../cli/program.ts'
import {
  compile,
  hasStaticLibrary,
  LOCKS_MUCH,
  RUNS,
  scratchPath,
  unless,
} from '../host/programs.ts'
import {
  GUEST_COMMAND_LINE,
  guestArguments,
  guestFile,
  guestKernel,
  hasBusybox,
  writeInitramfs,
} from './guest.ts'
import { installedQemu, iommufdQemu, type Qemu } from './qemu.ts'

const HOST = process.arch === 'x64' && RUNS[0]
const qemu = HOST && hasBusybox ? installedQemu() : 'busybox-static'
const kernel = typeof qemu === 'string' ? qemu : guestKernel()
const newer = typeof kernel === 'string' ? kernel : iommufdQemu()
const NEEDS = [
  RUNS,
  LOCKS_MUCH,
  [process.arch === 'x64', 'x86-64'],
  [typeof qemu !== 'string', String(qemu)],
  [typeof kernel !== 'string', String(kernel)],
] as const
const STATIC = [hasStaticLibrary, 'a static C library'] as const
const NEWER = [typeof newer !== 'string', String(newer)] as const

const PATIENCE = 150_000
/** A guest that hangs must not outlive its test. */
const LIMIT = ['timeout', '-k', '5', '120']

const MIB = 1 << 20
const RAW_OFFSET = MIB

const boot = (
  options: readonly string[],
  { program, options: firmware }: Qemu,
  guest: readonly string[],
): Promise<Ended> =>
  iommufdUser(['run', ...options, '--', 'nice', ...LIMIT, program, ...firmware, ...guest])

describe.skipIf(NEEDS.some(([there]) => !there))(`QEMU${unless(...NEEDS)}`, () => {
  if (typeof kernel === 'string' || typeof qemu === 'string') return

  test.skipIf(!STATIC[0])(
    `a guest drives edu: registers, DMA, its interrupt line${unless(STATIC)}`,
    async () => {
      const program = compile('edu-guest', guestFile('edu.c'), ['-static'])
      const initramfs = scratchPath('edu.cpio')
      writeInitramfs(initramfs, kernel, {
        job: guestFile('edu-job.sh'),
        modules: ['uio', 'uio_pci_generic'],
        files: { '/edu': readFileSync(program) },
      })
      // A mapped register cannot answer at once, as liveness must.
      const { stdout, stderr } = await boot(['--device=edu,addr=0000:00:05.0,mmap=off'], qemu, [
        ...guestArguments(kernel, initramfs),
        ...['-device', 'vfio-pci,host=0000:00:05.0'],
      ])
      expect(stdout, stderr).toContain('edu: all is well')
      expect(stdout).toContain('job ended with 0')
    },
    PATIENCE,
  )

  /** Its guest writes a pattern to the disk in two ways and reads it back; then it is in the image. */
  const writesDisk = async (
    { options, program }: { options: readonly string[]; program: Qemu },
    devices: readonly string[],
  ): Promise<string> => {
    const pattern = randomBytes(8192)
    const initramfs = scratchPath('nvme.cpio')
    writeInitramfs(initramfs, kernel, {
      job: guestFile('nvme-job.sh'),
      files: { '/pattern': pattern },
    })
    const image = scratchPath('disk.img')
    writeFileSync(image, '')
    truncateSync(image, 64 * MIB)
    const device = `--device=nvme:${image},addr=0000:01:00.0`
    const guest = [...guestArguments(kernel, initramfs), ...devices]
    const { stdout, stderr } = await boot([device, ...options], program, guest)
    expect(stdout, stderr).toContain('disk: 131072 sectors')
    expect(stdout, stderr).toContain('raw: ok')
    expect(stdout, stderr).toContain('file system: ok')
    expect(stdout).toContain('MSI-X: ok')
    expect(stdout).toContain('job ended with 0')
    const disk = readFileSync(image)
    expect(disk.subarray(RAW_OFFSET, RAW_OFFSET + pattern.length).equals(pattern)).toBe(true)
    // And once more, where the file system has put the file.
    expect(disk.indexOf(pattern, RAW_OFFSET + 1)).toBeGreaterThan(8192 * 512)
    return stderr
  }

  test(
    'a guest partitions an NVMe disk, writes, reads back; by group and native container',
    async () => {
      const by = { options: ['--container=type1'], program: qemu }
      const said = await writesDisk(by, ['-device', 'vfio-pci,host=0000:01:00.0'])
      expect(said).toBe('')
    },
    PATIENCE,
  )

  test(
    'the same by group, the container being an iommufd, and with every access of a register trapped',
    async () => {
      const by = { options: ['--container=iommufd'], program: qemu }
      const said = await writesDisk(by, ['-device', 'vfio-pci,host=0000:01:00.0,x-no-mmap=on'])
      expect(said).toBe('')
    },
    PATIENCE,
  )

  test(
    'the same for a guest with an IOMMU of its own, which maps and unmaps each transfer',
    async () => {
      const by = { options: ['--container=type1'], program: qemu }
      await writesDisk(by, [
        ...['-machine', 'q35,accel=tcg,kernel-irqchip=split'],
        ...['-device', 'intel-iommu,caching-mode=on'],
        ...['-append', `${GUEST_COMMAND_LINE} intel_iommu=on iommu.strict=1`],
        ...['-device', 'vfio-pci,host=0000:01:00.0'],
      ])
    },
    PATIENCE,
  )

  test.skipIf(!NEWER[0])(
    `the same by cdev and iommufd${unless(NEWER)}`,
    async () => {
      if (typeof newer === 'string') return
      await writesDisk({ options: [], program: newer }, [
        ...['-object', 'iommufd,id=iommufd0'],
        ...['-device', 'vfio-pci,host=0000:01:00.0,iommufd=iommufd0'],
      ])
    },
    PATIENCE,
  )
})
