/** `run --record`, and the commands that read what it wrote. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { RecordingReader } from '../../src/watch/recording-reader.ts'
import { binary, iommufdUser } from './program.ts'

const directory = mkdtempSync(join(tmpdir(), 'iommufd-user-recording-'))
afterAll(() => rmSync(directory, { recursive: true }))
const place = (name: string): string => join(directory, name)

const python = spawnSync('python3', ['-c', '']).status === 0
const runs = spawnSync(process.execPath, [binary, 'run', 'true']).status === 0
const missing = [
  ...(runs ? [] : ['a machine that can run programs under simulation']),
  ...(python ? [] : ['python3']),
]
const whyNot = missing.length === 0 ? '' : ` (skipped: needs ${missing.join(' and ')})`

const example = 'examples/founding-question.py'
const devices = ['--device=scratch,name=scratch0,group=7', '--device=scratch,name=scratch1,group=8']
const record = (file: string, ...command: string[]) =>
  iommufdUser(['run', '--findings=never', `--record=${place(file)}`, ...devices, '--', ...command])

/** Maps twice at one place, which fails, and is killed before it closes anything. */
const KILLED = `
import fcntl, os, signal, struct, ctypes
fd = os.open('/dev/iommu', os.O_RDWR)
ioas = bytearray(struct.pack('=III', 12, 0, 0))
fcntl.ioctl(fd, 0x3b81, ioas)
buffer = ctypes.create_string_buffer(0x3000)
address = (ctypes.addressof(buffer) + 0xfff) & ~0xfff
for _ in range(2):
    try: fcntl.ioctl(fd, 0x3b85, struct.pack('=IIIIQQQ', 40, 7, 1, 0, address, 0x1000, 0x10000))
    except OSError: pass
os.kill(os.getpid(), signal.SIGKILL)
`

describe.skipIf(missing.length > 0)(`recordings${whyNot}`, () => {
  beforeAll(async () => {
    const { status, stderr } = await record(
      'question',
      'python3',
      example,
      '7',
      'scratch0',
      '8',
      'scratch1',
    )
    if (status !== 0) throw new Error(stderr)
  })

  test('a recording says what was run on which machine, and is complete when run has ended', () => {
    const reader = new RecordingReader()
    const items = reader.push(readFileSync(place('question')))
    expect(reader.damage()).toBeUndefined()
    expect(reader.header).toMatchObject({
      machine: { devices: [{ model: 'scratch' }, { model: 'scratch' }], compatIoas: 'linux' },
      command: ['python3', example, '7', 'scratch0', '8', 'scratch1'],
      pageSize: 4096,
    })
    expect(items.at(-1)?.kind).toBe('end')
  })

  test('show prints the lines of --trace', async () => {
    const trace = place('trace')
    const { status } = await iommufdUser([
      ...['run', '--findings=never', `--trace=${trace}`, `--record=${place('traced')}`, ...devices],
      ...['--', 'python3', example, '7', 'scratch0', '8', 'scratch1'],
    ])
    expect(status).toBe(0)
    const { stdout } = await iommufdUser(['show', place('traced')])
    expect(stdout).toBe(readFileSync(trace, 'utf8'))
  })

  test('show selects by call, errno, object and IOVA', async () => {
    const show = async (...options: string[]): Promise<string[]> => {
      const { stdout } = await iommufdUser(['show', ...options, place('question')])
      return stdout.split('\n').filter((line) => line !== '')
    }
    const busy = await show('--errno', 'EBUSY')
    expect(busy).toHaveLength(1)
    expect(busy[0]).toMatch(/IOMMU_DESTROY, \{id=1\}\) = -1 EBUSY/)
    const maps = await show('-e', 'MAP_DMA')
    expect(maps).toHaveLength(2)
    expect(await show('-e', 'MAP_DMA', '--iova', '0x100fff')).toEqual(maps)
    expect(await show('-e', 'MAP_DMA', '--iova', '0x101000')).toEqual([])
    for (const line of await show('--object', '3'))
      expect(line).toMatch(/[^\d]3[^\d]|DMA|DEVICE_FD/)
    const [event] = await show('--format', 'json', '-e', 'MAP_DMA')
    expect(JSON.parse(event ?? '')).toMatchObject({ type: 'area-mapped', iova: '0x100000' })
    expect((await show('--doctor')).join('\n')).toMatch(/^--- warning: One container now spans/m)
  })

  test('replay finds no difference, and under another policy the call that differs', async () => {
    const same = await iommufdUser(['replay', place('question')])
    expect(same).toMatchObject({ status: 0, stderr: '' })
    expect(same.stdout).toMatch(/^No difference in \d+ entries into the machine\.\n$/)
    const strict = await iommufdUser(['replay', '--compat-ioas=strict', place('question')])
    expect(strict.status).toBe(1)
    expect(strict.stdout).toMatch(
      /^Call #\d+:\n {2}- compat-ioas .*by=set\n {2}- .*IOMMU_VFIO_IOAS/,
    )
    expect(strict.stdout).toMatch(/^ {2}\+ .*IOMMU_VFIO_IOAS_SET.* = -1 EBUSY/m)
    expect(strict.stdout).toMatch(/\d+ of \d+ entries into the machine ended differently/)
  })

  test('a program that is killed has been recorded to its last call', async () => {
    const { signal } = await record('killed', 'python3', '-c', KILLED)
    expect(signal).toBe('SIGKILL')
    const { stdout, stderr } = await iommufdUser(['show', place('killed')])
    expect(stderr).toBe('')
    expect(stdout.trimEnd().split('\n').at(-1)).toMatch(/IOMMU_IOAS_MAP.* = -1 EEXIST/)
    expect((await iommufdUser(['replay', place('killed')])).status).toBe(0)
  })

  test('a recording that is cut off is read to its last whole record, and says so', async () => {
    const whole = readFileSync(place('question'))
    writeFileSync(place('cut'), whole.subarray(0, whole.length - 100))
    for (const command of ['show', 'replay']) {
      const { status, stderr, stdout } = await iommufdUser([command, place('cut')])
      expect(status).toBe(0)
      expect(stdout).not.toBe('')
      expect(stderr).toMatch(/^iommufd-user: .*cut: The recording ends early.*\n$/)
    }
  })

  test('export writes beside the recording, or where it is told', async () => {
    const { status, stdout } = await iommufdUser(['export', '--perfetto', place('question')])
    expect(status).toBe(0)
    expect(stdout).toMatch(/question\.pftrace is written\. .*ui\.perfetto\.dev/)
    expect(statSync(place('question.pftrace')).size).toBeGreaterThan(1000)
    const chrome = await iommufdUser(['export', '--chrome', '-o', '-', place('question')])
    const events = JSON.parse(chrome.stdout) as { name?: string }[]
    expect(events.map(({ name }) => name)).toContain('container-split')
  })

  test('show ends quietly when nobody reads on', () => {
    const command = `${process.execPath} ${binary} show ${place('question')} | head -n 1`
    const { stdout, stderr } = spawnSync('sh', ['-c', command], { encoding: 'utf8' })
    expect(stdout.split('\n')).toHaveLength(2)
    expect(stderr).toBe('')
  })
})

describe('what is no recording', () => {
  test.each(['show', 'replay', 'export'])('%s says so in a sentence', async (command) => {
    writeFileSync(place('text'), 'iommufd\n')
    writeFileSync(place('empty'), '')
    const newer = Buffer.from([0x89, ...Buffer.from('IOMMU\r\n'), 99, 0, 0, 0])
    writeFileSync(place('newer'), newer)
    const sentences = {
      text: 'is no recording of iommufd-user',
      empty: 'ends before its first record',
      newer: 'of format 99, but this version of iommufd-user reads formats up to 1',
      none: 'no such file',
    }
    for (const [file, sentence] of Object.entries(sentences)) {
      const { status, stdout, stderr } = await iommufdUser([command, place(file)])
      expect(status).toBe(2)
      expect(stdout).toBe('')
      expect(stderr).toMatch(/^iommufd-user: [^\n]+\.\n$/)
      expect(stderr).toContain(sentence)
    }
  })

  test('a filter that nothing can match', async () => {
    const { status, stderr } = await iommufdUser(['show', '--errno=EFOO', place('text')])
    expect(status).toBe(2)
    expect(stderr).toBe(
      "iommufd-user: There is no errno 'EFOO': say EINVAL, for one, or its number.\n",
    )
  })

  test('a file that cannot be written', async () => {
    const { status, stderr } = await iommufdUser(['run', '--record=/no/such/place', 'true'])
    expect(status).toBe(125)
    expect(stderr).toMatch(/^iommufd-user: The recording cannot be written: ENOENT.*\.\n$/)
  })
})
