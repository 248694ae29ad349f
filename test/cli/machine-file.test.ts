import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { deviceModels } from '../../src/cli/device-models.ts'
import { readMachineFile } from '../../src/cli/machine-file.ts'
import { machineSchema } from '../../src/cli/machine-schema.ts'
import { packageRoot } from '../../src/host/built-file.ts'
import { RUNS, scratchPath, unless } from '../host/programs.ts'
import { iommufdUser } from './program.ts'

const fileWith = (text: string): string => {
  const file = scratchPath('machine.json')
  writeFileSync(file, text)
  return file
}
const read = (machine: unknown) => readMachineFile(fileWith(JSON.stringify(machine)))

test('what a file says; paths are from its own directory on', () => {
  const file = read({
    $schema: './machine.schema.json',
    platform: 'amd-server',
    container: 'type1',
    'compat-ioas': 'strict',
    'test-interface': false,
    devices: [
      { model: 'edu', addr: '0000:00:05.0', group: 7, mmap: false },
      { model: 'nvme', argument: 'disk.img' },
      { model: './mine.ts', argument: 'x', speed: 3 },
    ],
  })
  expect(file.options).toEqual({
    platform: 'amd-server',
    container: 'type1',
    'compat-ioas': 'strict',
    'test-interface': false,
  })
  expect(file.devices).toMatchObject([
    { model: 'edu', options: { addr: '0000:00:05.0', group: 7, mmap: false } },
    { model: 'nvme', argument: scratchPath('disk.img') },
    { model: scratchPath('mine.ts'), argument: 'x', options: { speed: 3 } },
  ])
})

test('an empty machine', () => {
  expect(read({})).toEqual({ options: {}, devices: [] })
})

describe('mistakes name the place in the file', () => {
  test.each([
    [[], 'the whole is a list, but must be an object'],
    [{ platfrom: 'x' }, "has no 'platfrom'; it has devices, platform, container"],
    [{ platfrom: 'x' }, 'Is it platform that you mean?'],
    [{ platform: 'vax' }, 'platform is "vax", but must be one of intel-client-39'],
    [{ container: ['type1'] }, 'container is ["type1"], but must be one of iommufd and type1.'],
    [{ 'test-interface': 1 }, 'test-interface is 1, but must be on or off'],
    [{ devices: {} }, 'devices is {}, but must be a list'],
    [{ devices: ['edu'] }, 'devices[0] is "edu", but must be an object'],
    [{ devices: [{ model: 'edu' }, {}] }, 'devices[1] has no model'],
    [{ devices: [{ model: 'nvme', argument: 7 }] }, 'devices[0].argument is 7, but must be text'],
    [{ devices: [{ model: 'edu', group: null }] }, 'devices[0].group is null, but must be text'],
    [{ devices: [{ model: 'eud' }] }, "devices[0]: there is no device model 'eud'"],
  ])('%j', (machine, message) => {
    expect(() => read(machine)).toThrow(message)
  })

  test('text that is not JSON, and a file that is not there', () => {
    expect(() => readMachineFile(fileWith('{\n  "platform": amd\n}'))).toThrow(
      /is not JSON: .*line 2/,
    )
    expect(() => readMachineFile(scratchPath('missing.json'))).toThrow('cannot be read')
  })
})

test('docs/machine.schema.json is what the declarations say now; npm run docs writes it', () => {
  const written = readFileSync(join(packageRoot(), 'docs/machine.schema.json'), 'utf8')
  expect(written).toBe(`${JSON.stringify(machineSchema(), null, 2)}\n`)
  for (const { name } of deviceModels) expect(written).toContain(`"const": "${name}"`)
})

describe.skipIf(!RUNS[0])(`run --machine${unless(RUNS)}`, () => {
  const example = join(packageRoot(), 'examples/machine.json')
  const devices = 'ls /sys/bus/pci/devices; readlink /sys/bus/pci/devices/0000:00:06.0/iommu_group'

  test('gives the program the machine; devices of the command line come on top', async () => {
    const options = ['--machine', example, '--device', 'edu,addr=0000:00:07.0']
    const { stdout, stderr } = await iommufdUser(['run', ...options, 'sh', '-c', devices])
    expect(stderr).toBe('')
    expect(stdout.split('\n').slice(0, 4)).toEqual([
      '0000:00:05.0',
      '0000:00:06.0',
      '0000:00:07.0',
      '0000:01:00.0',
    ])
    expect(stdout).toContain('/iommu_groups/7\n')
  })

  test('mistakes that only a device knows of name the place too', async () => {
    const file = fileWith(
      JSON.stringify({ devices: [{ model: 'scratch' }, { model: 'edu', 'dma-bits': 99 }] }),
    )
    const { status, stderr } = await iommufdUser(['run', '--machine', file, 'true'])
    expect(status).toBe(125)
    expect(stderr).toBe(
      `iommufd-user: ${file}: devices[1].dma-bits is '99', but must be a whole number from 12 to 64.\n`,
    )
  })
})
