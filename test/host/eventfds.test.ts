/** Interrupts where eventfds cannot be taken out of a client (pidfd_getfd refused), as in Docker. */
import { spawnSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { binary } from '../cli/program.ts'
import { COMPILER, compile, PYTHON, RUNS, unless } from './programs.ts'

/** Runs a command to which pidfd_getfd is refused with EPERM. */
const REFUSE = `
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv) {
  struct sock_filter code[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_getfd, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {4, code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) return 99;
  execvp(argv[1], argv + 1);
  return 98;
}`

const PRELUDE = `
import array, ctypes, errno, fcntl, json, os, select, socket, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def eventfd(count=0, flags=0):
    fd = libc.eventfd(count, flags)
    return fd if fd >= 0 else errno.errorcode[ctypes.get_errno()]
NONBLOCK, CLOEXEC, SEMAPHORE = 0o4000, 0o2000000, 1
(cdev,) = os.listdir('/sys/bus/pci/devices/0000:00:05.0/vfio-dev')
device = os.open('/dev/vfio/devices/' + cdev, os.O_RDWR)
iommu = os.open('/dev/iommu', os.O_RDWR)
fcntl.ioctl(device, 0x3b76, bytearray(struct.pack('=IIiIQ', 24, 0, iommu, 0, 0)))
os.pwrite(device, struct.pack('<H', 6), (7 << 40) + 4)
def irq(fd): fcntl.ioctl(device, 0x3b6e, bytearray(struct.pack('=IIIIIi', 24, 0x24, 1, 0, 1, fd)))
def interrupt():
    os.pwrite(device, struct.pack('<I', 1), 0x60)
def count(fd): return struct.unpack('<Q', os.read(fd, 8))[0]
def ready(fd): return bool(select.select([fd], [], [], 0)[0])
def show(**values): print(json.dumps(values))
`

const refusing = (program: string) => {
  const wrapper = compile('refuse', REFUSE)
  const command = [binary, 'run', '--device=edu,addr=0000:00:05.0', '--', 'python3', '-c']
  const { stdout, stderr, status } = spawnSync(wrapper, [...command, PRELUDE + program], {
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(`the program ended with ${status}: ${stderr}`)
  return JSON.parse(stdout) as Record<string, unknown>
}

describe.skipIf(!RUNS[0] || !COMPILER[0] || !PYTHON[0])(
  `where pidfd_getfd is refused${unless(RUNS, COMPILER, PYTHON)}`,
  () => {
    test('an interrupt arrives, and eventfds are as they are otherwise', () => {
      const shown = refusing(`
e = eventfd(0, NONBLOCK)
irq(e); interrupt()
arrived = [ready(e), count(e), ready(e)]
plain = eventfd(7)
semaphore = eventfd(3, SEMAPHORE)
show(arrived=arrived, initial=count(plain), one=count(semaphore), wrong=eventfd(0, 0x40),
     cloexec=[fcntl.fcntl(eventfd(), fcntl.F_GETFD), fcntl.fcntl(eventfd(0, CLOEXEC), fcntl.F_GETFD)],
     nonblock=fcntl.fcntl(e, fcntl.F_GETFL) & os.O_NONBLOCK != 0,
     link=os.readlink('/proc/self/fd/%d' % e))`)
      expect(shown).toEqual({
        arrived: [true, 1, false],
        initial: 7,
        one: 1,
        wrong: 'EINVAL',
        cloexec: [0, 1],
        nonblock: true,
        link: 'anon_inode:[eventfd]',
      })
    })

    test('the one that is meant is signalled, whatever became of its descriptor', () => {
      const shown = refusing(`
a, b = eventfd(), eventfd()
copy = os.dup(a)
irq(copy)
os.close(copy)
interrupt()
first = [ready(a), ready(b)]
ours, theirs = socket.socketpair()
if os.fork() == 0:
    c = eventfd()
    socket.send_fds(theirs, [b'c'], [c])
    os._exit(0)
os.wait()
_, (c,), _, _ = socket.recv_fds(ours, 1, 1)
irq(c); interrupt()
show(first=first, passed=[count(a), ready(a), ready(c)])`)
      expect(shown).toEqual({ first: [true, false], passed: [1, false, true] })
    })

    test('what is no eventfd is refused as ever', () => {
      const shown = refusing(`
answers = []
for fd in (os.open('/dev/null', os.O_RDWR), 999):
    try: irq(fd); answers.append(0)
    except OSError as error: answers.append(errno.errorcode[error.errno])
show(answers=answers)`)
      expect(shown).toEqual({ answers: ['EINVAL', 'EBADF'] })
    })

    test('many that are made and closed do not use up descriptors', () => {
      const shown = refusing(`
kept = eventfd()
for i in range(3000): os.close(eventfd())
supervisor = os.getppid()
irq(kept); interrupt()
show(signalled=ready(kept), few=len(os.listdir('/proc/%d/fd' % supervisor)) < 1200)`)
      expect(shown).toEqual({ signalled: true, few: true })
    })
  },
)
