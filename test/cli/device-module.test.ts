/** Devices of users' own under `run`: the example, and modules with mistakes in them. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { PYTHON, python, RUNS, scratchPath, unless } from '../host/programs.ts'
import { iommufdUser } from './program.ts'

const example = (name: string): string => join(import.meta.dirname, '../../examples', name)

/** A module whose model is a good one but for `changes`, in JavaScript. */
const moduleWith = (name: string, changes: string, more = ''): string => {
  const file = scratchPath(`${name}.mjs`)
  writeFileSync(
    file,
    `${more}
    const identity = {
      vendor: 0x1234, device: 0x4242, revision: 1, classCode: 0xff0000, subsystemVendor: 0,
      subsystemDevice: 0, interruptPin: 0, configSize: 256, capabilities: [],
    }
    const good = {
      name: '${name}', identity, resettable: true,
      bars: [{ index: 0, kind: 'memory32', length: 4096 }],
      opened(services) { this.services = services },
      reset() {},
      readRegister: () => 7n,
      writeRegister() {},
    }
    export default (request) => ({ ...good, ...(${changes}) })`,
  )
  return file
}

/** Opens the device and reads registers; a second open follows. */
const CLIENT = `
(cdev,) = os.listdir('/sys/bus/pci/devices/0000:00:05.0/vfio-dev')
def use():
    device = os.open('/dev/vfio/devices/' + cdev, os.O_RDWR)
    iommu = os.open('/dev/iommu', os.O_RDWR)
    fcntl.ioctl(device, 0x3b76, bytearray(struct.pack('=IIiIQ', 24, 0, iommu, 0, 0)))
    word = lambda: attempt(lambda: os.pread(device, 4, 0).hex())
    first = word()
    os.pwrite(device, b'abcd', 4)
    time.sleep(0.02)
    second = word()
    os.close(device); os.close(iommu)
    return [first, second]
show(first=use(), again=use())
`

const client = async (file: string) => {
  const { stdout, stderr, status } = await python(CLIENT, ['--device', `${file},addr=00:05.0`])
  return { status, stderr, shown: stdout === '' ? undefined : JSON.parse(stdout) }
}

const DEAD = 'ffffffff'
const ALIVE = '07000000'

describe.skipIf(!RUNS[0] || !PYTHON[0])(`a device of one's own${unless(RUNS, PYTHON)}`, () => {
  test('the example in TypeScript and its driver in Python', async () => {
    const device = `${example('checksum-device.ts')},delay=2,group=12`
    const driver = example('checksum.py')
    const { stdout, stderr } = await iommufdUser(['run', '--device', device, 'python3', driver])
    // The driver's last check sends the device where nothing is mapped: that is said even if nobody asks.
    expect(stderr).toMatch(/^iommufd-user: error: .* could not read at IOVA 0x0 .*\[dma-fault\]$/m)
    expect(stdout).toBe(
      '1 bytes: right\n4096 bytes: right\n5000 bytes: right\n65536 bytes: right\nunmapped memory: failed, as it should\n',
    )
  })

  test('a module without mistakes answers', async () => {
    expect(await client(moduleWith('good', '{}'))).toEqual({
      status: 0,
      stderr: '',
      shown: { first: [ALIVE, ALIVE], again: [ALIVE, ALIVE] },
    })
  })

  test('one that throws is told of once, answers no more, and is tried again when it is opened', async () => {
    const throwing = `{ writeRegister() { throw new Error('out of paper') } }`
    const { status, stderr, shown } = await client(moduleWith('throwing', throwing))
    expect({ status, shown }).toEqual({
      status: 0,
      shown: { first: [ALIVE, DEAD], again: [ALIVE, DEAD] },
    })
    expect(stderr).toContain('The model throwing of 0000:00:05.0 failed in writeRegister(0, 0x4, 4')
    expect(stderr).toContain('Error: out of paper')
    expect(stderr.match(/failed in/g)).toHaveLength(2)
  })

  test.each([
    ['late', `{ writeRegister() { this.services.after(1, () => { throw new Error('late') }) } }`],
    [
      'promise',
      `{ writeRegister() { this.services.after(1, () => Promise.reject(new Error('no'))) } }`,
    ],
    ['odd', '{ readRegister: () => 7 }'],
    ['opening', `{ opened() { throw new Error('stuck') } }`],
    ['closing', `{ closed() { throw new Error('stuck') } }`],
    ['resetting', `{ reset() { throw new Error('stuck') } }`],
  ])('the supervisor survives a mistake of the kind %s', async (name, changes) => {
    const { status, shown } = await client(moduleWith(name, changes))
    expect(status).toBe(0)
    expect(shown.first).toHaveLength(2)
  })

  test.each([
    ['bar', '{ bars: [{ index: 0, kind: "memory32", length: 5000 }] }', 'its BAR0 is 0x1388 bytes'],
    ['bars', '{ bars: undefined }', "its model has no 'bars'"],
    ['vendor', '{ identity: { ...identity, vendor: 0x12345 } }', 'its vendor is 0x12345, but'],
    ['nobody', '{ identity: undefined }', "its model has no 'identity'"],
    ['twice', '{ bars: [good.bars[0], good.bars[0]] }', 'two of its BARs take the index 0'],
    [
      'capability',
      '{ identity: { ...identity, capabilities: [{ id: 5, offset: 0x42, body: [] }] } }',
      'its capability 0x5 at 0x42 must be at a multiple of 4 from 0x40 on',
    ],
    ['factory', '(() => { throw new Error("the wind is wrong") })()', 'the wind is wrong.'],
  ])('a model that cannot be is refused in a sentence: %s', async (name, changes, sentence) => {
    const file = moduleWith(name, changes)
    const { status, stderr } = await iommufdUser(['run', '--device', file, 'true'])
    expect(status).toBe(125)
    expect(stderr).toContain(`iommufd-user: --device ${file}: it cannot be added: `)
    expect(stderr).toContain(sentence)
  })

  test('a file that is none, and a module that is none', async () => {
    const missing = await iommufdUser(['run', '--device', './no-such.ts', 'true'])
    expect(missing).toMatchObject({ status: 125 })
    expect(missing.stderr).toContain('there is no file')
    const empty = scratchPath('empty.mjs')
    writeFileSync(empty, '')
    const none = await iommufdUser(['run', '--device', empty, 'true'])
    expect(none.stderr).toContain('has no function as its default export')
    writeFileSync(empty, 'export default (')
    const broken = await iommufdUser(['run', '--device', empty, 'true'])
    expect(broken.stderr).toContain('cannot be loaded: SyntaxError')
  })

  test('options that the module does not name are refused, if it names any', async () => {
    const device = `${example('checksum-device.ts')},dealy=2`
    const { status, stderr } = await iommufdUser(['run', '--device', device, 'true'])
    expect(status).toBe(125)
    expect(stderr).toContain('Is it delay that you mean?')
  })
})
