/** The page tables of an Intel IOMMU in debugfs, as Linux's VFIO tests read them (06 §10.7). */
import { describe, expect, test } from 'vitest'
import { iommufdUser } from '../cli/program.ts'
import { PYTHON, python, RUNS, unless } from './programs.ts'

const DIRECTORY = '/sys/kernel/debug/iommu/intel'

/** Maps three pages for an edu device, for a PASID of it if one is given, and prints the table. */
const PROGRAM = `
import ctypes
def call(fd, request, layout, *values):
    data = bytearray(struct.pack(layout, *values)); fcntl.ioctl(fd, request, data); return struct.unpack(layout, data)
device, iommu = os.open('/dev/vfio/devices/vfio0', os.O_RDWR), os.open('/dev/iommu', os.O_RDWR)
devid = call(device, 0x3b76, '=IIiIQ', 24, 0, iommu, 0, 0)[3]
space = ioas(iommu)
path = '${DIRECTORY}/0000:00:05.0/'
before = open(path + 'domain_translation_struct').read()
if len(sys.argv) > 1:
    table = call(iommu, 0x3b89, '=IIIIIIIIQII', 48, 8, devid, space, 0, 0, 0, 0, 0, 0, 0)[4]
    call(device, 0x3b77, '=IIII', 16, 0, table, 0)
    call(device, 0x3b77, '=IIII', 16, 1, table, int(sys.argv[1]))
    path += sys.argv[1] + '/'
else: call(device, 0x3b77, '=IIII', 16, 0, space, 0)
memory = mmap.mmap(-1, 3 * 4096)
va = ctypes.addressof(ctypes.c_char.from_buffer(memory))
call(iommu, IOAS_MAP, '=IIIIQQQ', 40, 7, space, 0, va, 3 * 4096, 0x100000)
print(before + open(path + 'domain_translation_struct').read(), end='')
`

const table = async (platform: string, device: string, args: readonly string[] = []) => {
  const options = ['--platform', platform, '--device', `edu,addr=0000:00:05.0${device}`]
  const { stdout, stderr } = await python(PROGRAM, options, args)
  expect(stderr).toBe('')
  return stdout.trimEnd().split('\n')
}

/** Columns of a line: the page, then the entries of five levels. */
const entries = (line: string): bigint[] => line.split(/[ \t|]+/).map((word) => BigInt(word))

describe.skipIf(!RUNS[0] || !PYTHON[0])(`debugfs${unless(RUNS, PYTHON)}`, () => {
  test.each([
    ['intel-client-39', 1],
    ['intel-server-48', 1],
    ['intel-sm-57', 0],
  ])('a line for each page, on %s', async (platform, missing) => {
    const [device, header, ...lines] = await table(platform, '')
    expect(device).toMatch(/^Device 0000:00:05\.0 @0x[0-9a-f]+$/)
    expect(header?.split(/\t+/)).toEqual(['IOVA_PFN', 'PML5E', 'PML4E', 'PDPE', 'PDE', 'PTE'])
    expect(lines.map((line) => entries(line)[0])).toEqual([0x100n, 0x101n, 0x102n])
    for (const line of lines) {
      const levels = entries(line).slice(1)
      expect(levels.map((entry) => entry === 0n)).toEqual([0, 1, 2, 3, 4].map((i) => i < missing))
    }
  })

  test('PASIDs have directories of their own', async () => {
    const lines = await table('intel-sm-57', ',pasid-bits=8', ['5'])
    expect(lines[0]).toMatch(/^Device 0000:00:05\.0 with pasid 5 @/)
    expect(lines).toHaveLength(5)
  })

  test('there is nothing of the kind on another platform', async () => {
    const options = ['--platform=amd-server', '--device=edu']
    const { status } = await iommufdUser(['run', ...options, 'test', '-e', DIRECTORY])
    expect(status).toBe(1)
  })
})
