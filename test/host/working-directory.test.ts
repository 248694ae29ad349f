/** Changing into directories that only the simulation has, and what is relative to them. */
import { spawnSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { iommufdUser } from '../cli/program.ts'
import { COMPILER, compile, PYTHON, RUNS, shown, unless } from './programs.ts'

const DEVICE = '--device=edu,addr=0000:7f:05.0,group=7'
const FUNCTION = '/sys/bus/pci/devices/0000:7f:05.0'
const REAL = '/sys/devices/pci0000:00/0000:00:1c.0/0000:7f:05.0'
const X64 = [process.arch === 'x64', 'x86-64'] as const

const sh = async (command: string, shell = 'sh'): Promise<string> => {
  const { stdout, stderr } = await iommufdUser(['run', DEVICE, shell, '-c', command])
  return stdout + stderr
}

describe.skipIf(!RUNS[0] || !X64[0])(`a working directory${unless(RUNS, X64)}`, () => {
  test('a shell goes there, its commands are there, and it comes back', async () => {
    expect(await sh(`cd ${FUNCTION} && cat vendor device && pwd && /bin/pwd`)).toBe(
      `0x1234\n0x11e8\n${FUNCTION}\n${REAL}\n`,
    )
    expect(
      await sh(`cd ${FUNCTION}/iommu_group && ls && cd devices && ls && cd / && ls -d dev`),
    ).toBe('devices\nreserved_regions\ntype\n0000:7f:05.0\ndev\n')
    expect(await sh(`cd /dev/vfio && test -c vfio && test -c 7 && cd devices && ls`)).toBe(
      'vfio0\n',
    )
    expect(await sh(`cd ${FUNCTION}/nothing || cd ${FUNCTION}/vendor || echo no`)).toContain('no\n')
  })

  test('nothing can be made there, and nothing stays of it', async () => {
    const found = `cd ${FUNCTION}; mkdir x 2>/dev/null || echo no; ls "\${TMPDIR:-/tmp}"`
    const output = await sh(found)
    expect(output).toMatch(/^no\n/)
    expect(output).not.toContain('iommufd-user-directory-')
  })

  test.skipIf(!PYTHON[0])(`chdir, fchdir, getcwd and /proc/self/cwd${unless(PYTHON)}`, async () => {
    const found = await shown(
      `
def here(): return [os.getcwd(), os.readlink('/proc/self/cwd'), open('vendor').read()]
os.chdir('${FUNCTION}'); show(chdir=here(), listed='vendor' in os.listdir('.'), stat=os.path.samefile('.', '${FUNCTION}'))
os.chdir('subsystem'); show(link=os.getcwd(), real='drivers' in os.listdir())
fd = os.open('${FUNCTION}', os.O_RDONLY); os.fchdir(fd); show(fchdir=here())
os.chdir('..'); show(up=os.getcwd(), down=os.path.isfile('0000:7f:05.0/vendor'), far=os.path.isdir('../../../bus/pci'))
os.chdir('/dev/vfio/devices'); show(cdev=stat.S_ISCHR(os.stat('vfio0').st_mode), above=stat.S_ISCHR(os.stat('../vfio').st_mode))
show(refused=[attempt(lambda: os.chdir(path)) for path in ('${FUNCTION}/vendor', '${FUNCTION}/nothing', '/dev/iommu')])
show(small=attempt(lambda: ctypes.CDLL(None, use_errno=True).syscall(79, ctypes.create_string_buffer(4), 4)))
`,
      [DEVICE],
    )
    const here = [REAL, REAL, '0x1234\n']
    expect(found).toMatchObject({
      chdir: here,
      listed: true,
      stat: true,
      link: '/sys/bus/pci',
      real: true,
      fchdir: here,
      up: '/sys/devices/pci0000:00/0000:00:1c.0',
      down: true,
      far: true,
      cdev: true,
      above: true,
      refused: ['ENOTDIR', 'ENOENT', 'ENOTDIR'],
      small: -1,
    })
  })

  test.skipIf(!COMPILER[0])(`signals do not disturb it${unless(COMPILER)}`, async () => {
    const program = compile('change-directory', SIGNALLED)
    const { stdout } = await iommufdUser(['run', DEVICE, program, FUNCTION])
    expect(stdout).toBe('0 of 300 failed\n')
  })

  const anotherUser = process.getuid?.() === 0 && spawnSync('setpriv', ['--version']).status === 0
  test.skipIf(!anotherUser)('another user goes there as well', async () => {
    const asNobody = ['setpriv', '--reuid=65534', '--clear-groups']
    const command = `cd ${FUNCTION} && cat vendor`
    const { stdout } = await iommufdUser(['run', DEVICE, ...asNobody, 'sh', '-c', command])
    expect(stdout).toBe('0x1234\n')
  })
})

/** Changes back and forth while signals arrive, from a timer and from another thread. */
const SIGNALLED = `
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

static pthread_t target;
static volatile int done;
static void nothing(int signal) { (void)signal; }
static void *kick(void *unused)
{
    for (; !done; usleep(200))
        pthread_kill(target, SIGUSR1);
    return unused;
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = nothing, .sa_flags = SA_RESTART};
    struct itimerval often = {{0, 700}, {0, 700}};
    pthread_t kicker;
    int failed = 0;
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    target = pthread_self();
    pthread_create(&kicker, NULL, kick, NULL);
    for (int i = 0; i < 300; i++) {
        char text[8] = "";
        int fd = chdir(argv[argc - 1]) ? -1 : open("vendor", O_RDONLY);
        if (fd < 0 || read(fd, text, 7) != 7 || strcmp(text, "0x1234\\n") || chdir("/"))
            failed++;
        close(fd);
    }
    done = 1;
    pthread_join(kicker, NULL);
    printf("%d of 300 failed\\n", failed);
    return 0;
}
`
