/** A virtual machine monitor tells KVM of its VFIO files (Linux: Documentation/virt/kvm/devices/vfio.rst). */
import { spawnSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { PYTHON, RUNS, shown, unless } from './programs.ts'

/** The virtual device that VFIO files are added to, of a machine of KVM's. */
const KVM = `
vm = fcntl.ioctl(os.open('/dev/kvm', os.O_RDWR), 0xae01, 0)
create = bytearray(struct.pack('=III', 4, 0, 0))
fcntl.ioctl(vm, 0xc00caee0, create)
device = struct.unpack('=III', create)[1]
def tell(attribute, fd):
    value = array.array('i', [fd])
    request = bytearray(struct.pack('=IIQQ', 0, 1, attribute, value.buffer_info()[0]))
    return attempt(lambda: fcntl.ioctl(device, 0x4018aee1, request))
`
const probe = `import array, fcntl, os, struct${KVM}`
const HAS_KVM = [PYTHON[0] && spawnSync('python3', ['-c', probe]).status === 0, 'KVM'] as const

describe.skipIf(!RUNS[0] || !HAS_KVM[0])(`KVM and VFIO files${unless(RUNS, HAS_KVM)}`, () => {
  test('it takes groups and devices of ours, and refuses other files', async () => {
    const found = await shown(
      `${KVM}
group = os.open('/dev/vfio/7', os.O_RDWR)
cdev = os.open('/dev/vfio/devices/vfio0', os.O_RDWR)
other = os.open('/dev/null', os.O_RDWR)
show(added=[tell(1, fd) for fd in (group, cdev)], removed=[tell(2, fd) for fd in (group, cdev)], other=tell(1, other), closed=tell(1, 99))
`,
      ['--device=edu,group=7'],
    )
    expect(found).toEqual({ added: [0, 0], removed: [0, 0], other: 'EINVAL', closed: 'EBADF' })
  })
})
