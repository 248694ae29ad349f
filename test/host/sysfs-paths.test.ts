/** Paths that pass through links and directories of the simulated /sys, as programs walk them. */
import { readdirSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { iommufdUser } from '../cli/program.ts'
import { PYTHON, RUNS, shown, unless } from './programs.ts'

const DEVICE = '--device=edu,addr=0000:7f:05.0,group=7'
const REAL = '/sys/devices/pci0000:00/0000:00:1c.0/0000:7f:05.0'
const FUNCTION = '/sys/bus/pci/devices/0000:7f:05.0'

const hostFunctions = (): readonly string[] => {
  try {
    return readdirSync('/sys/bus/pci/devices')
  } catch {
    return []
  }
}

describe.skipIf(!RUNS[0] || !PYTHON[0])(`paths in /sys${unless(RUNS, PYTHON)}`, () => {
  test('a link of ours to a real directory leads there, for every call', async () => {
    const found = await shown(
      `
link = '${FUNCTION}/subsystem'
real = os.stat('/sys/bus/pci')
def same(s): return (s.st_dev, s.st_ino) == (real.st_dev, real.st_ino)
show(stat=same(os.stat(link)), open=same(os.fstat(os.open(link, os.O_RDONLY))), access=os.access(link, os.R_OK))
show(listed='drivers' in os.listdir(link), realpath=os.path.realpath(link))
show(inside=os.path.isdir(link + '/drivers'), absent=attempt(lambda: os.stat(link + '/nothing')))
show(up=same(os.stat('/sys/bus/pci/drivers/vfio-pci/../..')))
devices = os.open('/sys/bus/pci/devices', os.O_PATH | os.O_DIRECTORY)
show(beneath=same(os.fstat(os.open('..', os.O_PATH | os.O_NOFOLLOW, dir_fd=devices))))
show(missing=attempt(lambda: os.open('nothing', os.O_RDONLY, dir_fd=devices)))
`,
      [DEVICE],
    )
    expect(found).toEqual({
      stat: true,
      open: true,
      access: true,
      listed: true,
      realpath: '/sys/bus/pci',
      inside: true,
      absent: 'ENOENT',
      up: true,
      beneath: true,
      missing: 'ENOENT',
    })
  })

  test('what programs that copy and search trees rely on', async () => {
    const found = await shown(
      `
show(vendor=open(os.open('${FUNCTION}/vendor', os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)).read())
show(links=[os.stat(path).st_nlink for path in ('/sys/kernel/iommu_groups/7', '/sys/kernel/iommu_groups/7/devices')])
show(tree=[(path, sorted(names), sorted(files)) for path, names, files in os.walk('/sys/kernel/iommu_groups')])
`,
      [DEVICE],
    )
    expect(found['vendor']).toBe('0x1234\n')
    expect(found['links']).toEqual([3, 2])
    const groups = '/sys/kernel/iommu_groups'
    expect(found['tree']).toEqual([
      [groups, ['7'], []],
      [`${groups}/7`, ['devices'], ['reserved_regions', 'type']],
      [`${groups}/7/devices`, ['0000:7f:05.0'], []],
    ])
  })

  test('files of ours are on the file systems that their paths say', async () => {
    const names = [FUNCTION, `${FUNCTION}/vendor`, `${FUNCTION}/subsystem/drivers`]
    const { stdout } = await iommufdUser(['run', DEVICE, 'stat', '-L', '-f', '-c', '%T', ...names])
    expect(stdout).toBe('sysfs\nsysfs\nsysfs\n')
  })

  test('from a device number to the device, and from its class', async () => {
    const found = await shown(
      `
def number(path):
    device = os.stat(path).st_rdev
    return '%d:%d' % (os.major(device), os.minor(device))
for name, path in dict(iommu='/dev/iommu', container='/dev/vfio/vfio', group='/dev/vfio/7', cdev='/dev/vfio/devices/vfio0').items():
    sysfs = '/sys/dev/char/' + number(path)
    show(**{name: [os.path.realpath(sysfs), os.path.realpath(sysfs + '/subsystem'), open(sysfs + '/uevent').read().split()[2], open(sysfs + '/dev').read().strip() == number(path)]})
show(classes=[os.path.exists('/sys/class/' + name) for name in ('misc/iommu', 'misc/vfio', 'vfio/7', 'vfio-dev/vfio0')])
`,
      [DEVICE],
    )
    const virtual = '/sys/devices/virtual'
    expect(found).toEqual({
      iommu: [`${virtual}/misc/iommu`, '/sys/class/misc', 'DEVNAME=iommu', true],
      container: [`${virtual}/misc/vfio`, '/sys/class/misc', 'DEVNAME=vfio/vfio', true],
      group: [`${virtual}/vfio/7`, '/sys/class/vfio', 'DEVNAME=vfio/7', true],
      cdev: [`${REAL}/vfio-dev/vfio0`, '/sys/class/vfio-dev', 'DEVNAME=vfio/devices/vfio0', true],
      classes: [true, true, true, true],
    })
  })

  const [taken] = hostFunctions()
  test.skipIf(taken === undefined)(
    'a simulated function stands in the place of a real one with its address',
    async () => {
      const path = `/sys/bus/pci/devices/${taken}`
      const options = ['run', `--device=edu,addr=${taken}`]
      const { stdout: names } = await iommufdUser([...options, 'ls', `${path}/`])
      const { stdout: vendor } = await iommufdUser([...options, 'cat', `${path}/vendor`])
      // What is in the directories of real functions only: of their drivers, of virtio.
      expect(names).not.toMatch(/^(virtio\d+|net|nvme|ata\d+|usb\d+)$/m)
      expect(vendor).toBe('0x1234\n')
    },
  )
})
