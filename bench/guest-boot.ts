/** How long QEMU takes to boot a Linux guest that reads and writes an NVMe disk: ours, or QEMU's own. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  guestArguments,
  guestFile,
  guestKernel,
  hasBusybox,
  writeInitramfs,
} from '../test/integration/guest.ts'
import { installedQemu } from '../test/integration/qemu.ts'
import { command } from './paths.ts'
import { median, type Report, ratio, time } from './report.ts'

const TITLE = 'Guest boot: QEMU with an NVMe disk, until the guest has used it and switches off'
const ROUNDS = 3
const PATTERN_SIZE = 8192
const DISK_SIZE = 64 << 20

export const benchGuestBoot = (): Report[] => {
  const qemu = hasBusybox ? installedQemu() : 'busybox-static'
  const kernel = typeof qemu === 'string' ? qemu : guestKernel()
  if (typeof qemu === 'string' || typeof kernel === 'string')
    return [{ title: TITLE, skipped: `needs ${kernel}` }]
  const directory = mkdtempSync(join(tmpdir(), 'iommufd-user-bench-'))
  try {
    const initramfs = join(directory, 'nvme.cpio')
    writeInitramfs(initramfs, kernel, {
      job: guestFile('nvme-job.sh'),
      files: { '/pattern': new Uint8Array(PATTERN_SIZE).fill(0x5a) },
    })
    const guest = [qemu.program, ...guestArguments(kernel, initramfs)]
    const image = join(directory, 'disk.img')
    const boot = (args: readonly string[]): number => {
      writeFileSync(image, '')
      truncateSync(image, DISK_SIZE)
      const start = process.hrtime.bigint()
      const [program = '', ...rest] = args
      const { stdout } = spawnSync(program, rest, { encoding: 'utf8' })
      const took = Number(process.hrtime.bigint() - start)
      if (!stdout.includes('job ended with 0')) throw new Error(`the guest failed: ${stdout}`)
      return took
    }
    const run = [process.execPath, command, 'run', '--container=type1', `--device=nvme:${image}`]
    const ours = [...run, '--', ...guest, '-device', 'vfio-pci,host=0000:01:00.0']
    const drive = ['-drive', `file=${image},format=raw,if=none,id=disk`]
    const theirs = [...guest, ...drive, '-device', 'nvme,drive=disk,serial=disk']
    // Alternating, so that what else the machine does falls on both.
    const rounds = Array.from({ length: ROUNDS }, () => ({ own: boot(theirs), vfio: boot(ours) }))
    const [own, vfio] = [median(rounds.map((r) => r.own)), median(rounds.map((r) => r.vfio))]
    return [
      {
        title: TITLE,
        figures: [
          {
            name: "simulated disk against QEMU's own",
            headline: ratio(median(rounds.map((round) => round.vfio / round.own))),
            aim: '(aim: < 1.30x)',
            detail: `run -- qemu -device vfio-pci ${time(vfio)}, qemu -device nvme ${time(own)}`,
          },
        ],
      },
    ]
  } finally {
    rmSync(directory, { recursive: true })
  }
}
