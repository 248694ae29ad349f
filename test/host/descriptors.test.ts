/**
 * What a descriptor refers to, however it came about, and when the last one is gone. A VFIO group can be
 * open once (02 §4.2), so a second open tells at once whether the first has been released.
 */
import { describe, expect, test } from 'vitest'
import { PYTHON, RUNS, shown, unless } from './programs.ts'

const device = ['--device', 'scratch,group=5']
const GROUP = `
def again():
    def go():
        os.close(os.open('/dev/vfio/5', os.O_RDWR))
        return 'free'
    return attempt(go)
group = os.open('/dev/vfio/5', os.O_RDWR)
`

describe.skipIf(!RUNS[0] || !PYTHON[0])(`descriptors${unless(RUNS, PYTHON)}`, () => {
  test('a file is released with its last duplicate, before the next call is served', async () => {
    const found = await shown(
      `${GROUP}
states = [again()]
copy, third = os.dup(group), fcntl.fcntl(group, fcntl.F_DUPFD_CLOEXEC, 100)
for fd in (group, copy, third):
    os.close(fd); states.append(again())
show(states=states)
`,
      device,
    )
    expect(found['states']).toEqual(['EBUSY', 'EBUSY', 'EBUSY', 'free'])
  })

  test('a file that was called many times in a row is released as soon as any other', async () => {
    const found = await shown(
      `${GROUP}
def often():
    for _ in range(50): fcntl.ioctl(group, 0x3b67, bytearray(struct.pack('=II', 8, 0)))
often()
os.close(group)
states = [again()]
group = os.open('/dev/vfio/5', os.O_RDWR)
often()
os.dup2(0, group)
states += [attempt(lambda: fcntl.ioctl(group, 0x3b67, bytearray(8))), again()]
pid = os.fork()
if pid == 0:
    group = os.open('/dev/vfio/5', os.O_RDWR)
    often()
    os.kill(os.getpid(), signal.SIGKILL)
os.waitpid(pid, 0)
show(states=states + [again()])
`,
      device,
    )
    expect(found['states']).toEqual(['free', 'ENOTTY', 'free', 'free'])
  })

  test('an argument in memory that is not there is noticed, also after many that were', async () => {
    const found = await shown(`
iommu = os.open('/dev/iommu', os.O_RDWR)
libc = ctypes.CDLL(None, use_errno=True)
libc.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p]
def alloc(address):
    return 0 if libc.ioctl(iommu, IOAS_ALLOC, address) == 0 else errno.errorcode[ctypes.get_errno()]
for _ in range(20): ioas(iommu)
pages = mmap.mmap(-1, 8192)
start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
libc.munmap(ctypes.c_void_p(start + 4096), ctypes.c_size_t(4096))
pages[4084:4096] = struct.pack('=III', 12, 0, 0)
states = [ioas(iommu), alloc(8), ioas(iommu), alloc(start + 4096)]
states += [alloc(start + 4084), struct.unpack('=I', pages[4092:4096])[0], alloc(8)]
show(states=states)
`)
    expect(found['states']).toEqual([21, 'EFAULT', 22, 'EFAULT', 0, 23, 'EFAULT'])
  })

  test('dup2 over it closes it', async () => {
    const found = await shown(
      `${GROUP}
os.dup2(0, group)
show(state=again(), ioctl=attempt(lambda: fcntl.ioctl(group, 0x3b67, bytes(8))))
`,
      device,
    )
    expect(found).toEqual({ state: 'free', ioctl: 'ENOTTY' })
  })

  test('a closed descriptor whose number another file takes is that file', async () => {
    const found = await shown(`
fd = os.open('/dev/iommu', os.O_RDWR)
ioas(fd)
os.close(fd)
null = os.open('/dev/null', os.O_RDWR)
states = [null == fd, attempt(lambda: ioas(null)), os.read(null, 1).decode()]
os.close(null)
states += [attempt(lambda: ioas(fd))]
other = os.open('/dev/iommu', os.O_RDWR)
show(states=states + [other == fd, ioas(other)])
`)
    expect(found['states']).toEqual([true, 'ENOTTY', '', 'EBADF', true, 1])
  })

  test('the same when a duplicate keeps the first file alive', async () => {
    const found = await shown(`
fd = os.open('/dev/iommu', os.O_RDWR)
copy = os.dup(fd)
ioas(fd)
os.close(fd)
null = os.open('/dev/null', os.O_RDWR)
show(null=attempt(lambda: ioas(null)), copy=ioas(copy))
`)
    expect(found).toEqual({ null: 'ENOTTY', copy: 2 })
  })

  test('a child inherits it, and its exit or its death by SIGKILL gives it back', async () => {
    const found = await shown(
      `${GROUP}
def child(end):
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, b'x'); end(); os._exit(0)
    os.read(read, 1)
    return pid
states = []
sleeper = child(lambda: time.sleep(60))
leaver = child(lambda: None)
os.close(group)
os.waitpid(leaver, 0)
states.append(again())
os.kill(sleeper, signal.SIGKILL)
os.waitpid(sleeper, 0)
states.append(again())
show(states=states)
`,
      device,
    )
    expect(found['states']).toEqual(['EBUSY', 'free'])
  })

  test('close-on-exec closes it at exec, and not before', async () => {
    const found = await shown(
      `${GROUP}
os.set_inheritable(group, True)
def sleeper(inherits):
    if not inherits: os.set_inheritable(group, False)
    ready, done = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.set_inheritable(done, False)
        os.execvp('sleep', ['sleep', '60'])
    os.close(done); os.read(ready, 1)
    return pid
kept = sleeper(True)
closed = sleeper(False)
os.close(group)
states = [again()]
os.kill(kept, signal.SIGKILL); os.waitpid(kept, 0)
states.append(again())
os.kill(closed, signal.SIGKILL)
show(states=states)
`,
      device,
    )
    expect(found['states']).toEqual(['EBUSY', 'free'])
  })

  test('it can be passed over a socket, and is in nobody else’s hands afterwards', async () => {
    const found = await shown(`
ours, theirs = socket.socketpair()
fd = os.open('/dev/iommu', os.O_RDWR)
ioas(fd)
pid = os.fork()
if pid == 0:
    os.close(fd)
    _, fds, _, _ = socket.recv_fds(theirs, 1, 1)
    show(received=ioas(fds[0]), link=os.readlink('/proc/self/fd/%d' % fds[0]))
    os._exit(0)
socket.send_fds(ours, [b'x'], [fd])
os.close(fd)
null = os.open('/dev/null', os.O_RDWR)
os.waitpid(pid, 0)
show(number=null == fd, read=len(os.read(null, 5)))
`)
    expect(found).toEqual({ received: 2, link: '/dev/iommu', number: true, read: 0 })
  })

  test('threads share them', async () => {
    const found = await shown(`
fd = os.open('/dev/iommu', os.O_RDWR)
ids = []
def work():
    for _ in range(50): ids.append(ioas(fd))
threads = [threading.Thread(target=work) for _ in range(8)]
for t in threads: t.start()
for t in threads: t.join()
show(ids=len(set(ids)), highest=max(ids))
`)
    expect(found).toEqual({ ids: 400, highest: 400 })
  })

  test('several contexts in several processes are independent', async () => {
    const found = await shown(`
fds = [os.open('/dev/iommu', os.O_RDWR) for _ in range(3)]
ioas(fds[0]); ioas(fds[0])
if os.fork() == 0:
    own = os.open('/dev/iommu', os.O_RDWR)
    show(child=[ioas(own), ioas(fds[1])]); os._exit(0)
os.wait()
show(parent=[ioas(fds[0]), ioas(fds[1]), ioas(fds[2])])
`)
    expect(found).toEqual({ child: [1, 1], parent: [3, 2, 1] })
  })

  test('the lowest free number is given, and EMFILE when there is none', async () => {
    const found = await shown(`
import resource
holes = [os.dup(0) for _ in range(3)]
os.close(holes[1])
show(lowest=os.open('/dev/iommu', os.O_RDWR) == holes[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (os.dup(0) + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
show(full=attempt(lambda: os.open('/dev/iommu', os.O_RDWR)))
`)
    expect(found).toEqual({ lowest: true, full: 'EMFILE' })
  })

  test('calls other than ioctl are answered as by the device (01 §3)', async () => {
    const found = await shown(`
fd = os.open('/dev/iommu', os.O_RDWR)
read_only = os.open('/dev/iommu', os.O_RDONLY)
write_only = os.open('/dev/iommu', os.O_WRONLY)
show(read=attempt(lambda: os.read(fd, 8)), write=attempt(lambda: os.write(fd, b'x')),
    pread=attempt(lambda: os.pread(fd, 8, 0)), pwrite=attempt(lambda: os.pwrite(fd, b'x', 0)),
    readv=attempt(lambda: os.readv(fd, [bytearray(8)])), writev=attempt(lambda: os.writev(fd, [b'x'])),
    mode=[attempt(lambda: os.write(read_only, b'x')), attempt(lambda: os.read(write_only, 1))],
    lseek=attempt(lambda: os.lseek(fd, 0, os.SEEK_CUR)), fsync=attempt(lambda: os.fsync(fd)),
    truncate=attempt(lambda: os.ftruncate(fd, 0)), tty=os.isatty(fd),
    fionread=attempt(lambda: fcntl.ioctl(fd, 0x541b, bytes(4))), unknown=attempt(lambda: fcntl.ioctl(fd, 0x3bff)),
    mmap=attempt(lambda: mmap.mmap(fd, 4096)))
poller = select.poll(); poller.register(fd, select.POLLIN | select.POLLOUT)
show(poll=poller.poll(0) == [(fd, 5)], epoll=attempt(lambda: select.epoll().register(fd)))
`)
    expect(found).toEqual({
      read: 'EINVAL',
      write: 'EINVAL',
      pread: 'EINVAL',
      pwrite: 'EINVAL',
      readv: 'EINVAL',
      writev: 'EINVAL',
      mode: ['EBADF', 'EBADF'],
      lseek: 'ESPIPE',
      fsync: 'EINVAL',
      truncate: 'EINVAL',
      tty: false,
      fionread: 'ENOTTY',
      unknown: 'ENOTTY',
      mmap: 'ENXIO',
      poll: true,
      epoll: 'EPERM',
    })
  })

  test('an event file is exact in read, write, poll and fstat, and never blocks (04 §4.2, E1)', async () => {
    const found = await shown(`
fd = os.open('/dev/iommu', os.O_RDWR)
buffer = bytearray(struct.pack('=IIII', 16, 0, 0, 0))
fcntl.ioctl(fd, 0x3b8e, buffer)
_, _, queue, q = struct.unpack('=IIII', buffer)
def destroy(): return attempt(lambda: fcntl.ioctl(fd, DESTROY, bytearray(struct.pack('=II', 8, queue))))
show(lowest=q == fd + 1, flags=[fcntl.fcntl(q, fcntl.F_GETFD), fcntl.fcntl(q, fcntl.F_GETFL) & 3],
    link=os.readlink('/proc/self/fd/%d' % q), mode=os.fstat(q).st_mode,
    reads=[attempt(lambda: len(os.read(q, n))) for n in (40, 0, 39, 41)],
    writes=[attempt(lambda: os.write(q, d)) for d in (b'', struct.pack('=II', 1, 0), bytes(12))],
    seek=attempt(lambda: os.lseek(q, 0, 1)), pread=attempt(lambda: os.pread(q, 40, 0)),
    mmap=attempt(lambda: mmap.mmap(q, 4096)), ioctl=attempt(lambda: fcntl.ioctl(q, 0x3b81, bytes(12))))
poller = select.poll(); poller.register(q, select.POLLIN | select.POLLOUT)
epoll = select.epoll(); epoll.register(q, select.EPOLLIN | select.EPOLLOUT)
show(poll=[e for _, e in poller.poll(0)], epoll=[e for _, e in epoll.poll(0)])
busy = destroy(); os.close(q)
show(destroy=[busy, destroy()])
`)
    expect(found).toEqual({
      lowest: true,
      flags: [1, 2],
      link: 'anon_inode:[iommufd-pgfault]',
      mode: 0o600,
      reads: [0, 0, 'ESPIPE', 'ESPIPE'],
      writes: [0, 'EINVAL', 'ESPIPE'],
      seek: 'ESPIPE',
      pread: 'ESPIPE',
      mmap: 'ENODEV',
      ioctl: 'ENOTTY',
      poll: [4],
      epoll: [4],
      destroy: ['EBUSY', 0],
    })
  })
})
