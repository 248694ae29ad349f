/** Reasons that only a real process meets: each is provoked, and is in the doctor's report. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { packageRoot } from '../../src/host/built-file.ts'
import { noteReached } from '../reached.ts'
import { reasonsUnderRun } from '../setup/unreached-reasons.ts'
import { PYTHON, python, RUNS, scratchPath, unless } from './programs.ts'

const PROGRAM = `
import resource
FAULT_QUEUE_ALLOC, MAP_FILE, BIND, ATTACH = 0x3b8e, 0x3b8f, 0x3b76, 0x3b77
RW, READABLE = 6, 4
device = os.open('/dev/vfio/devices/vfio0', os.O_RDWR)
fd = os.open('/dev/iommu', os.O_RDWR)
def call(file, request, layout, *values):
    buffer = bytearray(struct.pack(layout, *values))
    return attempt(lambda: fcntl.ioctl(file, request, buffer))
call(device, BIND, '=IIiI', 16, 0, fd, 0)
id = ioas(fd)
call(device, ATTACH, '=III', 12, 0, id)
def map(address, flags=RW):
    return call(fd, IOAS_MAP, '=IIIIQQQ', 40, flags, id, 0, address, 4096, 0)
def map_file(file, length=4096):
    return call(fd, MAP_FILE, '=IIIiQQQ', 40, RW, id, file, 0, length, 0)
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_uint64
libc.mmap.argtypes = [ctypes.c_uint64, ctypes.c_size_t] + 3 * [ctypes.c_int] + [ctypes.c_long]
PRIVATE, SHARED = 0x22, 1
answers = {
    'nothing': map(0x10000),
    'read only': map(libc.mmap(0, 4096, 1, PRIVATE, -1, 0)),
    'no access': map(libc.mmap(0, 4096, 0, PRIVATE, -1, 0), READABLE),
    'registers': map(libc.mmap(0, 4096, 3, SHARED, device, 0)),
}
with open(sys.argv[1], 'w+b') as file:
    file.truncate(8192)
    answers['file, shared'] = map(libc.mmap(0, 4096, 3, SHARED, file.fileno(), 0))
    answers['file'] = map_file(file.fileno())
memory = os.memfd_create('short')
os.ftruncate(memory, 4096)
answers['short'] = map_file(memory, 8192)
def not_a_count():
    with open('/proc/self/fail-nth', 'w') as file: file.write('x')
answers['fail-nth'] = attempt(not_a_count)
resource.setrlimit(resource.RLIMIT_NOFILE, (fd + 3, fd + 3))
while attempt(lambda: os.dup(fd)) != 'EMFILE': pass
answers['descriptor'] = call(fd, FAULT_QUEUE_ALLOC, '=IIII', 16, 0, 0, 0)
show(**answers)
`

describe.skipIf(!RUNS[0] || !PYTHON[0])(`reasons of host/${unless(RUNS, PYTHON)}`, () => {
  test('each is reached', async () => {
    // Not in /tmp, which may be in memory.
    const directory = mkdtempSync(join(packageRoot(), 'node_modules', '.reasons-'))
    const report = scratchPath('report.json')
    try {
      const options = ['--device=edu', '--doctor-format=json', `--doctor-output=${report}`]
      const { stdout, stderr } = await python(PROGRAM, options, [join(directory, 'file')])
      expect(stderr).toBe('')
      expect(JSON.parse(stdout)).toEqual({
        nothing: 'EFAULT',
        'read only': 'EFAULT',
        'no access': 'EFAULT',
        registers: 'EFAULT',
        'file, shared': 'EFAULT',
        file: 'EINVAL',
        short: 'EINVAL',
        'fail-nth': 'EINVAL',
        descriptor: 'EMFILE',
      })
      const { failedCalls } = JSON.parse(readFileSync(report, 'utf8'))
      const codes: string[] = failedCalls.flatMap(
        ({ explained }: { explained: { code: string }[] }) => explained.map(({ code }) => code),
      )
      // That file is written to by write(2), which is no call on a file of ours.
      const reached = new Set([...codes, 'fail-nth-not-a-count'])
      expect([...reached].sort()).toEqual([...reasonsUnderRun].sort())
      noteReached([...reached])
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  })
})
