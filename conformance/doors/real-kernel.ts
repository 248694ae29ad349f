/**
 * Boots a real Linux under emulation for one job and returns what the job printed.
 *
 * The machine has no shell: conformance/client.c, statically linked, is its first process. It runs the
 * job's command and writes the output to an NVMe disk that we read afterwards. The kernel is the one
 * at ORACLE_DIR/bzImage (default ~/.cache/linux-oracle), built with iommufd, VFIO and the mock IOMMU.
 */
import { spawn, spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { pciDevices } from '../places.ts'
import { cpioArchive } from './cpio.ts'
import { builtClient } from './native-client.ts'

/** Where the kernel, uAPI headers and Linux's test programs are. */
export const oracleDirectory = (): string =>
  process.env['ORACLE_DIR'] ?? join(homedir(), '.cache/linux-oracle')

/** Why a real kernel cannot be asked on this machine; undefined if it can. */
export const realKernelMissing = (): string | undefined => {
  if (!existsSync(join(oracleDirectory(), 'bzImage')))
    return `there is no kernel at ${join(oracleDirectory(), 'bzImage')}`
  if (spawnSync('qemu-system-x86_64', ['--version']).status !== 0)
    return 'qemu-system-x86_64 is not installed'
  return builtClient({ isStatic: true }) === undefined
    ? 'no C compiler can build the client'
    : undefined
}

export interface Job {
  /** Path in the machine and arguments. */
  readonly command: readonly string[]
  /** Path in the machine to content. */
  readonly files: ReadonlyMap<string, Uint8Array>
  readonly timeoutSeconds: number
}

export interface JobResult {
  readonly output: string
  /** Exit status of the command, or undefined if the machine did not get that far. */
  readonly status: number | undefined
  /** What the kernel printed. */
  readonly console: string
}

const DISK_BYTES = 256 * 1024 * 1024

const machine = (kernel: string, initrd: string, disk: string): string[] => [
  ...['-M', 'q35,kernel-irqchip=split', '-accel', 'tcg,thread=multi', '-cpu', 'max'],
  ...['-m', '4G', '-smp', '2', '-kernel', kernel, '-initrd', initrd],
  ...['-append', 'console=ttyS0 quiet panic=-1 loglevel=3 no_timer_check'],
  ...['-nographic', '-no-reboot', '-device', 'intel-iommu,intremap=on,caching-mode=on,aw-bits=48'],
  // The devices of places.ts: any PCI device that vfio-pci takes will do.
  ...['-device', 'edu,addr=10.0', '-device', 'edu,addr=11.0'],
  ...['-device', 'edu,addr=12.0,multifunction=on', '-device', 'edu,addr=12.1'],
  ...['-drive', `file=${disk},if=none,id=d0,format=raw`, '-device', 'nvme,drive=d0,serial=job'],
]

/** Runs one command as root in a freshly booted machine. */
export const runInRealKernel = async (job: Job): Promise<JobResult> => {
  const client = builtClient({ isStatic: true })
  if (client === undefined) throw new Error('no C compiler can build the client')
  const directory = mkdtempSync(join(tmpdir(), 'iommufd-user-oracle-'))
  try {
    const initrd = join(directory, 'initrd')
    const disk = join(directory, 'disk')
    const files = new Map(job.files)
    files.set('/init', readFileSync(client))
    files.set(
      '/vfio-devices',
      new TextEncoder().encode(pciDevices.map(({ address }) => `${address}\n`).join('')),
    )
    files.set('/job', new TextEncoder().encode(`${job.command.join('\n')}\n`))
    writeFileSync(initrd, gzipSync(cpioArchive(files), { level: 1 }))
    writeFileSync(disk, '')
    truncateSync(disk, DISK_BYTES)
    const arguments_ = machine(join(oracleDirectory(), 'bzImage'), initrd, disk)
    const console_ = await untilPoweredOff(arguments_, job.timeoutSeconds)
    return { ...readDisk(disk), console: console_ }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

const untilPoweredOff = (arguments_: string[], seconds: number): Promise<string> =>
  new Promise((resolve, reject) => {
    const emulator = spawn('qemu-system-x86_64', arguments_, { stdio: ['ignore', 'pipe', 'pipe'] })
    let printed = ''
    const collect = (chunk: Buffer): void => {
      printed += chunk.toString('latin1')
    }
    emulator.stdout.on('data', collect)
    emulator.stderr.on('data', collect)
    const timer = setTimeout(() => emulator.kill('SIGKILL'), seconds * 1000)
    emulator.on('error', reject)
    emulator.on('close', () => {
      clearTimeout(timer)
      resolve(printed)
    })
  })

/** The disk holds the output, a last line `@@exit STATUS`, and zeroes. */
const readDisk = (disk: string): { output: string; status: number | undefined } => {
  const bytes = readFileSync(disk).subarray(0, statSync(disk).size)
  const end = bytes.indexOf(0)
  const text = bytes.subarray(0, end < 0 ? bytes.length : end).toString('utf8')
  const trailer = /@@exit (\d+)\n$/.exec(text)
  if (trailer === null) return { output: text, status: undefined }
  return { output: text.slice(0, trailer.index), status: Number(trailer[1]) }
}

/**
 * Plays a script in a real kernel. A machine that dies early is started again: the emulator now and
 * then crashes a kernel that is patching its own code.
 */
export const playInRealKernel = async (
  script: string,
  timeoutSeconds = 300,
  attempts = 5,
): Promise<string> => {
  const { output, status, console } = await runInRealKernel({
    command: ['/init', '/script'],
    files: new Map([['/script', new TextEncoder().encode(script)]]),
    timeoutSeconds,
  })
  if (status === 0) return output
  if (attempts > 1) return playInRealKernel(script, timeoutSeconds, attempts - 1)
  throw new Error(
    `the real kernel ended early (status ${status}); its last lines:\n${output.slice(-2000)}\n${console.slice(-4000)}`,
  )
}
