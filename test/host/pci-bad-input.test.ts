/** PCI devices under programs that do what they should not (06 §4, §5, §6), or die. */
import { describe, expect, test } from 'vitest'
import { PYTHON, RUNS, shown, unless } from './programs.ts'

const PRELUDE = `
import ctypes
libc = ctypes.CDLL(None)
CONFIG, BUFFER = 7 << 40, 0x40000
def call(fd, request, layout, *values):
    data = bytearray(struct.pack(layout, *values))
    fcntl.ioctl(fd, request, data)
    return struct.unpack(layout, data)
class Edu:
    def __init__(self):
        (cdev,) = os.listdir('/sys/bus/pci/devices/0000:00:05.0/vfio-dev')
        self.fd = os.open('/dev/vfio/devices/' + cdev, os.O_RDWR)
        self.iommu = os.open('/dev/iommu', os.O_RDWR)
        call(self.fd, 0x3b76, '=IIiIQ', 24, 0, self.iommu, 0, 0)
        self.ioas = ioas(self.iommu)
        call(self.fd, 0x3b77, '=IIII', 16, 0, self.ioas, 0)
        os.pwrite(self.fd, struct.pack('<H', 6), CONFIG + 4)
        self.memory = mmap.mmap(-1, 0x4000)
        va = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        call(self.iommu, IOAS_MAP, '=IIIIQQQ', 40, 7, self.ioas, 0, va, 0x4000, 0x100000)
    def start(self, source, destination, count, command):
        for register, value in ((0x80, source), (0x88, destination), (0x90, count), (0x98, command | 1)):
            os.pwrite(self.fd, struct.pack('<Q', value), register)
    def wait(self):
        while struct.unpack('<Q', os.pread(self.fd, 8, 0x98))[0] & 1: time.sleep(0.01)
    def works(self):
        self.memory[:8] = b'verbatim'
        self.start(0x100000, BUFFER, 8, 0); self.wait()
        self.start(BUFFER, 0x100100, 8, 2); self.wait()
        return self.memory[0x100:0x108] == b'verbatim'
    def irq(self, *fds):
        call(self.fd, 0x3b6e, '=IIIII%di' % len(fds), 20 + 4 * len(fds), 0x24, 1, 0, len(fds), *fds)
    def read(self, count, at): return attempt(lambda: os.pread(self.fd, count, at).hex())
    def write(self, bytes, at): return attempt(lambda: os.pwrite(self.fd, bytes, at))
`

const edu = (program: string, options: readonly string[] = []) =>
  shown(PRELUDE + program, ['--device', 'edu,addr=0000:00:05.0', ...options])

describe.skipIf(!RUNS[0] || !PYTHON[0])(`bad input to PCI devices${unless(RUNS, PYTHON)}`, () => {
  test('regions past their end, of odd sizes, and that are none', async () => {
    expect(
      await edu(`
e = Edu()
show(cut=len(os.pread(e.fd, 64, 0xffff8)), end=e.read(4, 0x100000), far=e.read(4, (1 << 40) - 4),
     absent=e.read(4, 1 << 40), vga=e.read(4, 8 << 40), none=e.read(4, 9 << 40), huge=e.read(4, (1 << 62)),
     nothing=e.read(0, 9 << 40), odd=[e.read(n, 0) for n in (1, 2, 3, 5, 7)], across=e.read(6, 0x1e),
     config=[e.read(256, CONFIG)[:8], e.read(257, CONFIG), e.read(1, CONFIG + 256), e.read(3, CONFIG + 1)],
     written=e.write(bytes(64), 0xffff8), past=e.write(b'x', 0x100000), still=e.works())`),
    ).toEqual({
      ...{ cut: 8, end: 'EINVAL', far: 'EINVAL', absent: 'EINVAL', vga: 'EINVAL', none: 'EINVAL' },
      ...{ huge: 'EINVAL', nothing: '' },
      odd: ['00', '0000', '000000', 'ed00000100', 'ed000001000000'],
      across: '000000000000',
      config: ['3412e811', 'EFAULT', 'EFAULT', '12e811'],
      ...{ written: 8, past: 'EINVAL', still: true },
    })
  })

  test('read-only bits of configuration space stay as they are', async () => {
    expect(
      await edu(`
e = Edu()
before = os.pread(e.fd, 256, CONFIG)
for at in range(0, 256): e.write(b'\\xff', CONFIG + at)
after = os.pread(e.fd, 256, CONFIG)
show(ids=after[:4] == before[:4], kind=after[8:12] == before[8:12], subsystem=after[0x2c:0x30] == before[0x2c:0x30],
     pointer=after[0x34:0x38] == before[0x34:0x38], status=after[6:8] == before[6:8], pin=after[0x3d:0x3e] == before[0x3d:0x3e],
     header=after[0x40:0x42] == before[0x40:0x42], bar=after[0x10:0x14].hex(), command=after[4:6].hex())
os.pwrite(e.fd, struct.pack('<H', 6), CONFIG + 4)
show(still=e.works())`),
    ).toEqual({
      ...{ ids: true, kind: true, subsystem: true, pointer: true, status: true, pin: true },
      ...{ header: true, bar: '0000f0ff', command: '0705', still: true },
    })
  })

  test('eventfds that are closed, or never were any', async () => {
    expect(
      await edu(`
e = Edu()
gone = libc.eventfd(0, 0)
e.irq(gone)
os.close(gone)
os.pwrite(e.fd, struct.pack('<I', 1), 0x60)
other = libc.eventfd(0, os.O_NONBLOCK)
show(signalled=attempt(lambda: os.read(other, 8).hex()), closed=attempt(lambda: e.irq(gone + 50)),
     file=attempt(lambda: e.irq(os.open('/dev/null', os.O_RDWR))), ours=attempt(lambda: e.irq(e.iommu)),
     many=attempt(lambda: e.irq(other, other)))
e.irq(other)
e.start(BUFFER, 0x100000, 8, 6)
select.select([other], [], [])
show(count=os.read(other, 8)[0], still=e.works())`),
    ).toEqual({
      ...{ signalled: 'EAGAIN', closed: 'EBADF', file: 'EINVAL', ours: 'EINVAL', many: 'EINVAL' },
      ...{ count: 1, still: true },
    })
  })

  test('a program killed during DMA leaves the device to the next', async () => {
    expect(
      await edu(`
ready, told = os.pipe()
child = os.fork()
if child == 0:
    e = Edu()
    e.start(BUFFER, 0x100000, 4096, 2)
    os.write(told, b'x')
    time.sleep(60)
os.read(ready, 1)
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
e = Edu()
show(idle=os.pread(e.fd, 8, 0x98).hex(), still=e.works())`),
    ).toEqual({ idle: '0000000000000000', still: true })
  })

  test('memory that goes away during DMA, and an address space that does', async () => {
    expect(
      await edu(`
e = Edu()
e.start(BUFFER, 0x100000, 4096, 2)
data = bytearray(struct.pack('=IIQQ', 24, e.ioas, 0, (1 << 64) - 1))
fcntl.ioctl(e.iommu, 0x3b86, data)
e.wait()
e.start(BUFFER, (1 << 64) - 8, 4096, 2); e.wait()
e.start((1 << 64) - 8, BUFFER + 4000, 4096, 0); e.wait()
e.start(BUFFER - 1, 0x100000, 2, 2); e.wait()
e.start(BUFFER, 0x100000, (1 << 64) - 1, 2); e.wait()
call(e.fd, 0x3b78, '=III', 12, 0, 0)
e.start(BUFFER, 0x100000, 8, 2); e.wait()
os.close(e.fd); os.close(e.iommu)
show(still=Edu().works())`),
    ).toEqual({ still: true })
  })

  test('a mapped BAR outlives the descriptor, keeps the device open, and faults while memory is off', async () => {
    expect(
      await edu(`
e = Edu()
bar = mmap.mmap(e.fd, 0x1000)
other = os.dup(e.fd)
os.close(e.fd)
e.fd = other
def word(at): return struct.unpack('<I', bar[at:at + 4])[0]
first = hex(word(0))
if os.fork() == 0:
    os.pwrite(e.fd, struct.pack('<H', 4), CONFIG + 4)
    signal.signal(signal.SIGBUS, signal.SIG_DFL)
    word(0)
    os._exit(0)
died = os.wait()[1]
os.pwrite(e.fd, struct.pack('<H', 6), CONFIG + 4)
again = hex(word(0))
os.close(e.fd)
shut = attempt(lambda: Edu())
held = word(0)
bar.close()
time.sleep(0.05)
show(first=first, died=died & 0x7f == signal.SIGBUS, again=again, shut=shut, held=hex(held), still=Edu().works())`),
    ).toEqual({
      ...{ first: '0x10000ed', died: true, again: '0x10000ed' },
      ...{ shut: 'EINVAL', held: '0x10000ed', still: true },
    })
  })
})
