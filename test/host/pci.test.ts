/** A PCI device under `run`: sysfs, device node, DMA through the IOMMU's tables, an interrupt. */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { iommufdUser } from '../cli/program.ts'
import { PYTHON, RUNS, shown, unless } from './programs.ts'

const example = join(import.meta.dirname, '../../examples/edu.py')

describe.skipIf(!RUNS[0] || !PYTHON[0])(`a PCI device${unless(RUNS, PYTHON)}`, () => {
  test('the Python driver of edu finds it, moves bytes by DMA and gets the interrupt', async () => {
    const device = 'edu,addr=0000:00:05.0,group=7'
    const { stdout, stderr } = await iommufdUser(['run', '--device', device, 'python3', example])
    expect(stderr).toBe('')
    expect(stdout).toBe('0000:00:05.0 is vfio0, in group 7\ninterrupts: 1\ncopied\n')
  })

  test('its group has the reserved regions of the platform', async () => {
    const regions = '/sys/kernel/iommu_groups/0/reserved_regions'
    const { stdout } = await iommufdUser([
      'run',
      '--platform=amd-server',
      '--device=edu',
      'cat',
      regions,
    ])
    expect(stdout).toBe(
      '0x00000000fee00000 0x00000000feefffff msi\n0x000000fd00000000 0x000000ffffffffff reserved\n',
    )
  })

  test('an unmask eventfd makes room for another when its last descriptor is closed', async () => {
    const found = await shown(
      `
VFIO_DEVICE_SET_IRQS, VFIO_DEVICE_BIND_IOMMUFD = 0x3b6e, 0x3b76
libc = ctypes.CDLL(None)
device = os.open('/dev/vfio/devices/vfio0', os.O_RDWR)
iommu = os.open('/dev/iommu', os.O_RDWR)
fcntl.ioctl(device, VFIO_DEVICE_BIND_IOMMUFD, bytearray(struct.pack('=IIiIQ', 24, 0, iommu, 0, 0)))
def set_irq(action, eventfd):
    return attempt(lambda: fcntl.ioctl(device, VFIO_DEVICE_SET_IRQS, bytearray(struct.pack('=IIIIIi', 24, 4 | action, 0, 0, 1, eventfd))))
TRIGGER, UNMASK = 0x20, 0x10
trigger, first, second = (libc.eventfd(0, 0o4000) for _ in range(3))
show(set=[set_irq(TRIGGER, trigger), set_irq(UNMASK, first), set_irq(UNMASK, second)])
copy = os.dup(first)
os.close(first)
show(copied=set_irq(UNMASK, second))
os.close(copy)
show(closed=set_irq(UNMASK, second))
os.pwrite(device, struct.pack('=I', 1), 0x60)
raised = struct.unpack('=Q', os.read(trigger, 8))
os.write(second, struct.pack('=Q', 1))
select.select([trigger], [], [], 10)
show(raised=raised, again=struct.unpack('=Q', os.read(trigger, 8)))
`,
      ['--device=edu'],
    )
    expect(found).toEqual({
      set: [0, 0, 'EBUSY'],
      copied: 'EBUSY',
      closed: 0,
      raised: [1],
      again: [1],
    })
  })

  test('a platform or an address that does not exist is refused in a sentence', async () => {
    const platform = await iommufdUser(['run', '--platform=nosuch', '--device=edu', 'true'])
    expect(platform.status).toBe(125)
    expect(platform.stderr).toContain("There is no platform 'nosuch'")
    const address = await iommufdUser(['run', '--device=edu,addr=zz', 'true'])
    expect(address.status).toBe(125)
    expect(address.stderr).toContain('addr=zz')
  })
})
