/**
 * Binding and unbinding of PCI functions through /sys, as set-up scripts do it (06 §10.2, §2.4). What is
 * expected is what Linux 7.2.13 answers to the same writes.
 */
import { describe, expect, test } from 'vitest'
import { iommufdUser } from '../cli/program.ts'
import { PYTHON, RUNS, shown, unless } from './programs.ts'

const BDF = '0000:00:05.0'
const PRELUDE = `
BDF = '${BDF}'
D, V, P = '/sys/bus/pci/devices/' + BDF, '/sys/bus/pci/drivers/vfio-pci', '/sys/bus/pci/drivers_probe'
def write(path, text):
    fd = os.open(path, os.O_WRONLY)
    try: return attempt(lambda: os.write(fd, text.encode()))
    finally: os.close(fd)
def state():
    driver = os.path.basename(os.readlink(D + '/driver')) if os.path.exists(D + '/driver') else None
    return [driver, open(D + '/driver_override').read().strip(), os.path.exists('/dev/vfio/devices/vfio0')]
`
const BOUND = ['vfio-pci', '(null)', true]
const NONE = [null, '(null)', false]

const controls = (program: string, device = 'edu') =>
  shown(PRELUDE + program, ['--device', `${device},addr=${BDF}`])

describe.skipIf(!RUNS[0] || !PYTHON[0])(`drivers of PCI functions${unless(RUNS, PYTHON)}`, () => {
  test('without a match nothing binds', async () => {
    const found = await controls(
      `show(bind=write(V + '/bind', BDF), unbind=write(V + '/unbind', BDF), odd=write(V + '/bind', 'nonsense'),
            other=write(V + '/unbind', '0000:77:00.0'), probe=write(P, BDF), none=write(P, '0000:77:00.0'),
            state=state(), group=os.path.exists('/dev/vfio/0'))`,
      'edu,driver=none',
    )
    expect(found).toEqual({
      ...{ bind: 'ENODEV', unbind: 'ENODEV', odd: 'ENODEV', other: 'ENODEV', none: 'ENODEV' },
      ...{ probe: BDF.length, state: NONE, group: false },
    })
  })

  test('new_id and remove_id', async () => {
    const found = await controls(
      `show(id=write(V + '/new_id', '1234 11e8\\n'), state=state(), again=write(V + '/new_id', '1234 11e8\\n'),
            more=write(V + '/new_id', '1234 11e8 1af4 1100'), short=write(V + '/new_id', '1234'),
            odd=write(V + '/new_id', 'xyz'), nothing=write(V + '/new_id', ''), line=write(V + '/new_id', '\\n'),
            bound=write(V + '/bind', BDF), less=write(V + '/remove_id', '1234'),
            unknown=write(V + '/remove_id', '1234 11e9'), remove=write(V + '/remove_id', '0x1234 0x11e8'),
            gone=write(V + '/remove_id', '1234 11e8'), still=state(), unbind=write(V + '/unbind', BDF + '\\n'),
            after=state(), bind=write(V + '/bind', BDF))`,
      'edu,driver=none',
    )
    expect(found).toEqual({
      ...{ id: 10, state: BOUND, again: 'EEXIST', more: 'EEXIST', short: 'EINVAL', odd: 'EINVAL' },
      ...{ nothing: 0, line: 'EINVAL', bound: 'EBUSY', less: 'EINVAL', unknown: 'ENODEV' },
      ...{ remove: 13, gone: 'ENODEV', still: BOUND, unbind: 13, after: NONE, bind: 'ENODEV' },
    })
  })

  test('driver_override, as driverctl uses it', async () => {
    const found = await controls(
      `show(set=write(D + '/driver_override', 'vfio-pci\\n'), before=state(), probe=write(P, BDF), state=state(),
            again=write(P, BDF), clear=write(D + '/driver_override', '\\n'), still=state(),
            unbind=write(D + '/driver/unbind', BDF), other=write(D + '/driver_override', 'nosuch'),
            bind=write(V + '/bind', BDF), ids=write(V + '/new_id', '1234 11e8'), overridden=state())`,
      'edu,driver=none',
    )
    expect(found).toEqual({
      ...{
        set: 9,
        before: [null, 'vfio-pci', false],
        probe: 12,
        state: ['vfio-pci', 'vfio-pci', true],
      },
      ...{ again: 12, clear: 1, still: BOUND, unbind: 12, other: 6, bind: 'ENODEV', ids: 9 },
      overridden: [null, 'nosuch', false],
    })
  })

  test('a shell says it with echo', async () => {
    const script = `
      cd /sys/bus/pci/devices/${BDF}
      echo ${BDF} > driver/unbind && ls -d driver vfio-dev; head -n 1 uevent; ls /dev/vfio
      echo ${BDF} > /sys/bus/pci/drivers/vfio-pci/bind && ls vfio-dev; head -n 1 uevent
      echo 1 > reset && echo reset; echo 2 > reset`
    const options = ['--container=type1', '--device', `edu,addr=${BDF}`]
    const { stdout, stderr } = await iommufdUser(['run', ...options, 'sh', '-c', script])
    expect(stdout).toBe('PCI_CLASS=FF00\nvfio\nvfio0\nDRIVER=vfio-pci\nreset\n')
    expect(stderr).toMatch(
      /cannot access 'driver'.*cannot access 'vfio-dev'.*(nvalid argument|I\/O error)/s,
    )
  })

  test('unbinding waits until the device is closed, and asks for it', async () => {
    const found = await controls(`
import ctypes
cdev = os.open('/dev/vfio/devices/vfio0', os.O_RDWR)
iommu = os.open('/dev/iommu', os.O_RDWR)
fcntl.ioctl(cdev, 0x3b76, bytearray(struct.pack('=IIiIQ', 24, 0, iommu, 0, 0)))
asked = ctypes.CDLL(None).eventfd(0, 0)
fcntl.ioctl(cdev, 0x3b6e, bytearray(struct.pack('=IIIIIi', 24, 0x24, 4, 0, 1, asked)))
reading, writing = os.pipe()
if os.fork() == 0:
    os.close(cdev)
    os.write(writing, json.dumps(write(V + '/unbind', BDF)).encode())
    os._exit(0)
select.select([asked], [], [])
show(asked=struct.unpack('<Q', os.read(asked, 8))[0], waits=not select.select([reading], [], [], 0.1)[0],
     nodes=os.listdir('/dev/vfio/devices') if os.path.exists('/dev/vfio/devices') else [], state=state(),
     usable=os.pread(cdev, 4, 0).hex(), bind=write(V + '/bind', BDF))
os.close(cdev)
show(done=json.loads(os.read(reading, 100)), after=state(), bound=write(V + '/bind', BDF), rebound=state())
`)
    expect(found).toEqual({
      ...{ asked: 1, waits: true, nodes: [], state: [null, 'vfio-pci', false] },
      ...{ usable: 'ed000001', bind: 'EBUSY', done: 12, after: [null, 'vfio-pci', false] },
      ...{ bound: 12, rebound: ['vfio-pci', 'vfio-pci', true] },
    })
  })

  test('a descriptor that was opened but never bound keeps it waiting too', async () => {
    const found = await controls(`
cdev = os.open('/dev/vfio/devices/vfio0', os.O_RDWR)
reading, writing = os.pipe()
if os.fork() == 0:
    os.close(cdev)
    os.write(writing, json.dumps(write(V + '/unbind', BDF)).encode())
    os._exit(0)
show(waits=not select.select([reading], [], [], 0.2)[0])
os.close(cdev)
show(done=json.loads(os.read(reading, 100)))
`)
    expect(found).toEqual({ waits: true, done: 12 })
  })
})
