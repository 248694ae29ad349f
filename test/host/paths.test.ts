/** Every way of naming a node, against what Linux says of a character device (01 §2, §3; path_resolution(7)). */
import { describe, expect, test } from 'vitest'
import { PYTHON, RUNS, scratchPath, shown, unless } from './programs.ts'

const CHAR_660 = 0o020660

describe.skipIf(!RUNS[0] || !PYTHON[0])(`paths${unless(RUNS, PYTHON)}`, () => {
  test('stat, lstat, fstat and access show a character device', async () => {
    const found = await shown(`
fd = os.open('/dev/iommu', os.O_RDWR)
for name, s in dict(stat=os.stat('/dev/iommu'), lstat=os.lstat('/dev/iommu'), fstat=os.fstat(fd)).items():
    show(**{name: [s.st_mode, os.major(s.st_rdev), os.minor(s.st_rdev), s.st_nlink, s.st_size]})
v = os.stat('/dev/vfio/vfio')
show(vfio=[v.st_mode, os.major(v.st_rdev), os.minor(v.st_rdev)])
show(access=[os.access('/dev/iommu', m) for m in (os.F_OK, os.R_OK | os.W_OK, os.X_OK)])
show(absent=[os.access('/dev/vfio/77', os.F_OK), attempt(lambda: os.stat('/dev/vfio/77'))])
`)
    const device = [CHAR_660, 10, 256, 1, 0]
    expect(found).toMatchObject({ stat: device, lstat: device, fstat: device })
    expect(found['vfio']).toEqual([0o020666, 10, 196])
    expect(found['access']).toEqual([true, true, false])
    expect(found['absent']).toEqual([false, 'ENOENT'])
  })

  test('relative paths, descriptors of directories, dots and slashes lead to the same node', async () => {
    const found = await shown(`
dev = os.open('/dev', os.O_RDONLY | os.O_DIRECTORY)
vfio = os.open('/dev/vfio', os.O_RDONLY | os.O_DIRECTORY)
os.chdir('/dev')
def rdev(fd): return os.fstat(fd).st_rdev
show(paths=[rdev(os.open(path, os.O_RDWR)) for path in
    ('/dev/iommu', '//dev///iommu', '/dev/./iommu', '/dev/vfio/../iommu', 'iommu', './iommu', '../dev/iommu')])
show(at=[rdev(os.open('iommu', os.O_RDWR, dir_fd=dev)), rdev(os.open('../iommu', os.O_RDWR, dir_fd=vfio)),
    rdev(os.open('/dev/iommu', os.O_RDWR, dir_fd=vfio))])
show(vfio=[os.stat('vfio', dir_fd=vfio).st_rdev, os.stat('vfio/vfio').st_rdev])
`)
    const iommu = 10 * 256 + 0x100000
    expect(found['paths']).toEqual(Array(7).fill(iommu))
    expect(found['at']).toEqual(Array(3).fill(iommu))
    expect(found['vfio']).toEqual([10 * 256 + 196, 10 * 256 + 196])
  })

  test('symbolic links are followed, or not', async () => {
    const link = scratchPath('link')
    const directory = scratchPath('devices')
    const found = await shown(`
os.symlink('/dev/iommu', ${JSON.stringify(link)})
os.symlink('/dev', ${JSON.stringify(directory)})
link, directory = ${JSON.stringify(link)}, ${JSON.stringify(directory)}
show(stat=os.stat(link).st_mode, lstat=stat.S_ISLNK(os.lstat(link).st_mode), through=os.stat(directory + '/iommu').st_mode)
show(nofollow=attempt(lambda: os.open(link, os.O_RDWR | os.O_NOFOLLOW)), real=os.path.realpath(link))
show(opened=ioas(os.open(link, os.O_RDWR)))
`)
    expect(found).toEqual({
      stat: CHAR_660,
      lstat: true,
      through: CHAR_660,
      nofollow: 'ELOOP',
      real: '/dev/iommu',
      opened: 1,
    })
  })

  test('open answers every flag as for a device', async () => {
    const found = await shown(`
def flags(f): return attempt(lambda: oct(fcntl.fcntl(os.open('/dev/iommu', f), fcntl.F_GETFL) & ~0o100000))
show(access=[flags(os.O_RDONLY), flags(os.O_WRONLY), flags(os.O_RDWR)])
show(status=[flags(os.O_RDWR | os.O_NONBLOCK), flags(os.O_RDWR | os.O_APPEND), flags(os.O_RDWR | os.O_TRUNC)])
show(creat=[flags(os.O_RDWR | os.O_CREAT), flags(os.O_RDWR | os.O_CREAT | os.O_EXCL)])
show(directory=flags(os.O_RDWR | os.O_DIRECTORY), slash=attempt(lambda: os.open('/dev/iommu/', os.O_RDWR)),
    beyond=attempt(lambda: os.open('/dev/iommu/x', os.O_RDWR)))
libc = ctypes.CDLL(None)
show(cloexec=[fcntl.fcntl(libc.open(b'/dev/iommu', os.O_RDWR | f), fcntl.F_GETFD) for f in (0, os.O_CLOEXEC)])
path = os.open('/dev/iommu', os.O_PATH)
show(path=[os.fstat(path).st_mode, attempt(lambda: fcntl.ioctl(path, 0x3b64)), attempt(lambda: os.read(path, 1))])
show(reopened=ioas(os.open('/proc/self/fd/%d' % path, os.O_RDWR)))
`)
    expect(found).toMatchObject({
      access: ['0o0', '0o1', '0o2'],
      status: ['0o4002', '0o2002', '0o2'],
      creat: ['0o2', 'EEXIST'],
      directory: 'ENOTDIR',
      slash: 'ENOTDIR',
      beyond: 'ENOTDIR',
      cloexec: [0, 1],
      path: [CHAR_660, 'EBADF', 'EBADF'],
      reopened: 1,
    })
  })

  test('openat2 keeps its restrictions', async () => {
    const found = await shown(`
libc = ctypes.CDLL(None, use_errno=True)
def openat2(directory, path, resolve, flags=os.O_RDWR, size=24, extra=0):
    how = ctypes.create_string_buffer(struct.pack('=QQQQ', flags, 0, resolve, extra))
    fd = libc.syscall(437, ctypes.c_int(directory), path.encode(), how, ctypes.c_size_t(size))
    return 'ok' if fd >= 0 else errno.errorcode[ctypes.get_errno()]
dev = os.open('/dev', os.O_RDONLY | os.O_DIRECTORY)
show(plain=openat2(-100, '/dev/iommu', 0), beneath=openat2(dev, 'iommu', 8), absolute=openat2(dev, '/dev/iommu', 8),
    escapes=openat2(dev, '../dev/iommu', 8), root=openat2(dev, '/iommu', 16), links=openat2(-100, '/dev/fd/%d' % dev, 4),
    unknown=openat2(-100, '/dev/iommu', 1 << 40), small=openat2(-100, '/dev/iommu', 0, size=16),
    large=[openat2(-100, '/dev/iommu', 0, size=32), openat2(-100, '/dev/iommu', 0, size=32, extra=1)])
`)
    expect(found).toEqual({
      plain: 'ok',
      beneath: 'ok',
      absolute: 'EXDEV',
      escapes: 'EXDEV',
      root: 'ok',
      links: 'ELOOP',
      unknown: 'EINVAL',
      small: 'EINVAL',
      large: ['ok', 'E2BIG'],
    })
  })

  test('directories list the nodes among what is really there', async () => {
    const found = await shown(
      `
names = os.listdir('/dev')
show(dev=[name in names for name in ('iommu', 'vfio', 'null')], twice=len(names) - len(set(names)))
show(vfio=sorted(os.listdir('/dev/vfio')), devices=os.listdir('/dev/vfio/devices'))
show(types=sorted((e.name, e.is_dir(follow_symlinks=False)) for e in os.scandir('/dev/vfio')))
fd = os.open('/dev/vfio', os.O_RDONLY)
show(descriptor=[sorted(os.listdir(fd)), sorted(os.listdir(fd)), stat.S_ISDIR(os.fstat(fd).st_mode)])
`,
      ['--device', 'scratch'],
    )
    expect(found['dev']).toEqual([true, true, true])
    expect(found['twice']).toBe(0)
    expect(found['devices']).toEqual(['vfio0'])
    const entries = found['vfio'] as string[]
    expect(entries).toEqual(expect.arrayContaining(['devices', 'vfio']))
    expect(found['descriptor']).toEqual([entries, entries, true])
    expect(found['types']).toEqual(
      expect.arrayContaining([
        ['devices', true],
        ['vfio', false],
      ]),
    )
  })

  test('chmod and chown give a node to somebody else', async () => {
    const root = process.getuid?.() === 0
    const found = await shown(
      `
def look(): return os.stat('/dev/vfio/0')[0:1] + os.stat('/dev/vfio/0')[4:6]
os.chmod('/dev/vfio/0', 0o660); show(chmod=oct(look()[0]))
fd = os.open('/dev/vfio/0', os.O_RDWR); os.fchmod(fd, 0o640); show(fchmod=oct(look()[0])); os.close(fd)
if os.getuid() == 0:
    os.chown('/dev/vfio/0', 12, -1); os.lchown('/dev/vfio/0', -1, 34); show(chown=look()[1:])
    pid = os.fork()
    if pid == 0:
        os.setgroups([]); os.setgid(56); os.setuid(12)
        os.close(os.open('/dev/vfio/0', os.O_RDWR))
        refused = [attempt(lambda: os.chown('/dev/vfio/0', 0, -1)), attempt(lambda: os.open('/dev/vfio/devices/vfio0', os.O_RDWR)), attempt(lambda: os.chmod('/dev/iommu', 0o666))]
        show(refused=refused); os._exit(0)
    os.waitpid(pid, 0)
else: show(refused=attempt(lambda: os.chown('/dev/vfio/0', 0, -1)))
`,
      ['--device', 'scratch'],
    )
    expect(found).toEqual({
      chmod: '0o20660',
      fchmod: '0o20640',
      ...(root ? { chown: [12, 34], refused: ['EPERM', 'EACCES', 'EPERM'] } : { refused: 'EPERM' }),
    })
  })

  test('/proc/self/fd names the file, and opening that opens the node anew', async () => {
    const found = await shown(`
fd = os.open('/dev/iommu', os.O_RDWR)
link = '/proc/self/fd/%d' % fd
ioas(fd)
show(link=os.readlink(link), isLink=stat.S_ISLNK(os.lstat(link).st_mode), stat=os.stat(link).st_mode)
show(anew=ioas(os.open(link, os.O_RDWR)), same=ioas(fd), dev=os.stat('/dev/fd/%d' % fd).st_mode)
`)
    expect(found).toEqual({
      link: '/dev/iommu',
      isLink: true,
      stat: CHAR_660,
      anew: 1,
      same: 2,
      dev: CHAR_660,
    })
  })
})
