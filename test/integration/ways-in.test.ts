/**
 * Every way in to a PCI device, by C programs that move bytes both ways by DMA with interrupts and check
 * each of them. They run on a real Linux as well, where one is to be had.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { realKernelMissing, runInRealKernel } from '../../conformance/doors/real-kernel.ts'
import { iommufdUser } from '../cli/program.ts'
import { COMPILER, hasStaticLibrary, RUNS, scratchPath, unless } from '../host/programs.ts'

const BDF = '0000:00:10.0'

/** The program of a way in, with its header beside it. */
const build = (name: string, flags: readonly string[] = []): string => {
  const program = scratchPath(name)
  const source = join(import.meta.dirname, 'ways-in', `${name}.c`)
  const { status, stderr } = spawnSync('cc', ['-O1', '-Wall', ...flags, source, '-o', program], {
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(`cc: ${stderr}`)
  return program
}

const [TYPE1, TYPE1_V2] = ['1', '3']

const WAYS: readonly (readonly [
  what: string,
  options: readonly string[],
  program: 'group' | 'cdev',
  args: readonly string[],
])[] = [
  ['a group in a container, type1', ['--container=type1'], 'group', ['/dev/vfio/vfio', TYPE1]],
  ['a group in a container, type1v2', ['--container=type1'], 'group', ['/dev/vfio/vfio', TYPE1_V2]],
  ['a group in an iommufd, type1', ['--container=type1'], 'group', ['/dev/iommu', TYPE1]],
  [
    'a group in an iommufd in the place of a container',
    ['--container=iommufd'],
    'group',
    ['/dev/vfio/vfio', TYPE1_V2],
  ],
  ['a device file and an iommufd', [], 'cdev', []],
  ['a device file with a PASID on Intel', ['--platform=intel-sm-57'], 'cdev', ['5']],
  ['a device file with a PASID on ARM', ['--platform=arm-smmuv3-48'], 'cdev', ['5']],
]

describe.skipIf(!RUNS[0] || !COMPILER[0])(`ways in${unless(RUNS, COMPILER)}`, () => {
  test.each(WAYS)('%s: every byte is right', async (_what, options, name, args) => {
    const device = `edu,addr=${BDF},pasid-bits=${args.length === 1 ? 16 : 0}`
    const program = [build(name), BDF, ...args]
    const { status, stdout, stderr } = await iommufdUser([
      'run',
      // They also send the device where nothing is mapped, which would be told.
      '--findings=never',
      ...options,
      '--device',
      device,
      ...program,
    ])
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: 'right\n', stderr: '' })
  })
})

/** Each boots a machine, which takes its time. */
const kernelMissing =
  process.env['LINUX_ORACLE'] === '1'
    ? (realKernelMissing() ?? (hasStaticLibrary ? undefined : 'no static C library'))
    : 'only with LINUX_ORACLE=1'

describe.skipIf(kernelMissing !== undefined)(
  `ways in, on a real Linux${kernelMissing === undefined ? '' : ` (skipped: ${kernelMissing})`}`,
  () => {
    // QEMU's edu has no PASIDs, and one container of the two kinds is in the kernel.
    const ways = WAYS.filter(
      ([, options, , args]) => args.length !== 1 && !options.includes('--container=iommufd'),
    )
    test.each(ways)('%s: every byte is right', async (_what, _options, name, args) => {
      const path = `/bin/${name}`
      const job = {
        command: [path, BDF, ...args],
        files: new Map([[path, readFileSync(build(name, ['-static']))]]),
        timeoutSeconds: 60,
      }
      // The emulator now and then crashes while the kernel starts.
      let ended = await runInRealKernel(job)
      for (let again = 3; ended.status === undefined && again > 0; again--)
        ended = await runInRealKernel(job)
      expect(ended).toMatchObject({ output: 'right\n', status: 0 })
    })
  },
)
