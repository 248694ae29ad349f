/**
 * Which system calls are handed to the supervisor. Each costs the program some ten microseconds, so the
 * filter looks at arguments where that can tell.
 */
import type { ArgumentTest, Trap } from './bpf.ts'
import { INJECTED } from './injected-calls.ts'
import { KVM_SET_DEVICE_ATTR } from './kvm.ts'

const MAP_FIXED = 0x10
const MAP_ANONYMOUS = 0x20

/** Calls on a path. */
const paths: readonly Trap[] = [
  { call: 'open' },
  { call: 'openat' },
  { call: 'openat2' },
  { call: 'creat' },
  { call: 'stat' },
  { call: 'lstat' },
  { call: 'newfstatat' },
  { call: 'statx' },
  { call: 'access' },
  { call: 'faccessat' },
  { call: 'faccessat2' },
  { call: 'readlink' },
  { call: 'readlinkat' },
  { call: 'getxattr' },
  { call: 'lgetxattr' },
  { call: 'listxattr' },
  { call: 'llistxattr' },
  { call: 'statfs' },
  { call: 'chmod' },
  { call: 'fchmodat' },
  { call: 'fchmodat2' },
  { call: 'chown' },
  { call: 'lchown' },
  { call: 'fchownat' },
  { call: 'chdir' },
  { call: 'getcwd' },
]

/** Calls on descriptors. */
const files: readonly Trap[] = [
  {
    // Request type ';', and the generic requests that our files answer unlike a memfd: FIONREAD, FIOQSIZE, FIOASYNC.
    call: 'ioctl',
    when: [
      [{ argument: 1, mask: 0xff00, is: 'equal', value: 0x3b00 }],
      [{ argument: 1, is: 'equal', value: 0x541b }],
      [{ argument: 1, is: 'equal', value: 0x5460 }],
      [{ argument: 1, is: 'equal', value: 0x5452 }],
      [{ argument: 1, is: 'equal', value: KVM_SET_DEVICE_ATTR }],
    ],
  },
  { call: 'fstat' },
  { call: 'fstatfs' },
  { call: 'fchmod' },
  { call: 'fchown' },
  { call: 'fchdir', when: [[{ argument: 1, is: 'unequal', value: INJECTED }]] },
  {
    call: 'mmap',
    when: [
      [{ argument: 3, mask: MAP_ANONYMOUS, is: 'equal', value: 0 }],
      [{ argument: 3, mask: MAP_FIXED, is: 'equal', value: MAP_FIXED }],
    ],
  },
  { call: 'getdents64' },
  { call: 'fsync' },
  { call: 'fdatasync' },
  { call: 'ftruncate' },
  { call: 'fallocate' },
]

/**
 * Reads and writes cost the program dear if each is trapped, since the filter cannot tell whose they are.
 *
 * `all`: those on descriptors from 3 on are trapped, and event files and device files answer exactly. On
 * standard input, output and error they never are: where most of a program's writing goes, and where no
 * program puts an event file.
 *
 * `registers`: only reads and writes with an offset, of the size of a register, or at the high offsets of
 * VFIO regions; larger ones in region 0 act on the pages that clients map. For programs that move much
 * data by read and write and use no event files: those cannot be read then (EAGAIN).
 */
export type Transfers = 'all' | 'registers'

const STANDARD = 3
const REGISTER_SIZE = 64
/** High half of 2^40: VFIO's region n begins at n << 40 (06 §3). */
const REGION_HIGH = 0x100

/** As a shell writes to a file of /sys: on standard output, and no more than such a file takes. */
const shortOnOutput: readonly ArgumentTest[] = [
  { argument: 0, is: 'equal', value: 1 },
  { argument: 2, is: 'at-most', value: 64 },
]

const transfers = (which: Transfers, hasControls: boolean): readonly Trap[] => {
  const written = hasControls ? [shortOnOutput] : []
  const onFile = [[{ argument: 0, is: 'at-least', value: STANDARD }]] as const
  if (which === 'all')
    return [
      { call: 'read', when: onFile },
      { call: 'write', when: [...onFile, ...written] },
      { call: 'readv', when: onFile },
      { call: 'writev', when: onFile },
      { call: 'pread64', when: onFile },
      { call: 'pwrite64', when: onFile },
      { call: 'preadv', when: onFile },
      { call: 'pwritev', when: onFile },
      { call: 'preadv2', when: onFile },
      { call: 'pwritev2', when: onFile },
      { call: 'lseek', when: onFile },
    ]
  const registers = [
    [{ argument: 3, half: 'high', is: 'at-least', value: REGION_HIGH }],
    [
      { argument: 2, is: 'at-most', value: REGISTER_SIZE },
      { argument: 3, half: 'high', is: 'equal', value: 0 },
    ],
  ] as const
  return [
    ...(hasControls ? [{ call: 'write', when: written } as const] : []),
    { call: 'pread64', when: registers },
    { call: 'pwrite64', when: registers },
    // Programs ask whether a file can be sought in with an offset of 0, and rewind directories so.
    { call: 'lseek', when: [[{ argument: 1, is: 'equal', value: 0 }]] },
  ]
}

const CLONE_NEWUSER = 0x1000_0000
const MADV_DONTNEED = 4
const MADV_REMOVE = 9
const MADV_DONTNEED_LOCKED = 24

/** Calls that replace a process's memory, or parts of it: what the engine holds of it is saved before. */
const processes: readonly Trap[] = [
  { call: 'execve' },
  { call: 'execveat' },
  { call: 'exit_group' },
  { call: 'capset' },
  { call: 'setuid' },
  { call: 'setreuid' },
  { call: 'setresuid' },
  {
    call: 'unshare',
    when: [[{ argument: 0, mask: CLONE_NEWUSER, is: 'equal', value: CLONE_NEWUSER }]],
  },
  { call: 'chroot' },
  { call: 'pivot_root' },
  { call: 'setns' },
  { call: 'munmap' },
  { call: 'mremap' },
  {
    call: 'madvise',
    when: [
      [{ argument: 2, is: 'equal', value: MADV_DONTNEED }],
      [{ argument: 2, is: 'equal', value: MADV_REMOVE }],
      [{ argument: 2, is: 'equal', value: MADV_DONTNEED_LOCKED }],
    ],
  },
]

/** Only where they have to be made here (eventfd-access.ts). */
const eventfds: readonly Trap[] = [{ call: 'eventfd2' }, { call: 'eventfd' }]

export const traps = (
  which: Transfers,
  {
    makesEventfds,
    hasControls,
  }: { readonly makesEventfds: boolean; readonly hasControls: boolean },
): readonly Trap[] => [
  ...(makesEventfds ? eventfds : []),
  ...files,
  ...transfers(which, hasControls),
  ...paths,
  ...processes,
]
