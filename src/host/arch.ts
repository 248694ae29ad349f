/**
 * What differs between processor architectures: system call numbers, and the layout of struct stat.
 * Everything else that host/ reads or writes is the same on both.
 */

export interface Arch {
  readonly name: 'x64' | 'arm64'
  /** AUDIT_ARCH_*, as seccomp reports it. */
  readonly audit: number
  /** Numbers of this architecture; a call that it lacks (open, on arm64) is absent. */
  readonly nr: Readonly<Partial<Record<SyscallName, number>>>
  readonly stat: StatLayout
}

/** Offsets in bytes. `nlinkBytes` is the width of st_nlink; the other members have one width everywhere. */
export interface StatLayout {
  readonly size: number
  readonly dev: number
  readonly ino: number
  readonly mode: number
  readonly nlink: number
  readonly nlinkBytes: 4 | 8
  readonly uid: number
  readonly gid: number
  readonly rdev: number
  readonly fileSize: number
  readonly blockSize: number
  readonly blocks: number
  /** Seconds; nanoseconds follow 8 bytes later. */
  readonly atime: number
  readonly mtime: number
  readonly ctime: number
}

// name: [x86-64, arm64]; -1 where the architecture has no such call.
const numbers = {
  read: [0, 63],
  write: [1, 64],
  open: [2, -1],
  close: [3, 57],
  stat: [4, -1],
  fstat: [5, 80],
  lstat: [6, -1],
  poll: [7, -1],
  lseek: [8, 62],
  mmap: [9, 222],
  mprotect: [10, 226],
  munmap: [11, 215],
  ioctl: [16, 29],
  pread64: [17, 67],
  pwrite64: [18, 68],
  readv: [19, 65],
  writev: [20, 66],
  access: [21, -1],
  mremap: [25, 216],
  madvise: [28, 233],
  getpid: [39, 172],
  socketpair: [53, 199],
  clone: [56, 220],
  execve: [59, 221],
  exit: [60, 93],
  kill: [62, 129],
  fcntl: [72, 25],
  fsync: [74, 82],
  fdatasync: [75, 83],
  truncate: [76, 45],
  ftruncate: [77, 46],
  getdents: [78, -1],
  getcwd: [79, 17],
  chdir: [80, 49],
  fchdir: [81, 50],
  creat: [85, -1],
  chmod: [90, -1],
  fchmod: [91, 52],
  chown: [92, -1],
  fchown: [93, 55],
  lchown: [94, -1],
  readlink: [89, -1],
  setpgid: [109, 154],
  ptrace: [101, 117],
  capget: [125, 90],
  setuid: [105, 146],
  setreuid: [113, 145],
  setresuid: [117, 147],
  capset: [126, 91],
  statfs: [137, 43],
  fstatfs: [138, 44],
  pivot_root: [155, 41],
  prctl: [157, 167],
  chroot: [161, 51],
  gettid: [186, 178],
  getxattr: [191, 8],
  lgetxattr: [192, 9],
  listxattr: [194, 11],
  llistxattr: [195, 12],
  getdents64: [217, 61],
  pipe2: [293, 59],
  exit_group: [231, 94],
  waitid: [247, 95],
  inotify_add_watch: [254, 27],
  inotify_rm_watch: [255, 28],
  openat: [257, 56],
  newfstatat: [262, 79],
  fchownat: [260, 54],
  readlinkat: [267, 78],
  fchmodat: [268, 53],
  faccessat: [269, 48],
  ppoll: [271, 73],
  unshare: [272, 97],
  timerfd_create: [283, 85],
  fallocate: [285, 47],
  timerfd_settime: [286, 86],
  eventfd2: [290, 19],
  eventfd: [284, -1],
  epoll_create1: [291, 20],
  epoll_ctl: [233, 21],
  epoll_pwait: [281, 22],
  pidfd_open: [434, 434],
  pidfd_getfd: [438, 438],
  inotify_init1: [294, 26],
  preadv: [295, 69],
  pwritev: [296, 70],
  prlimit64: [302, 261],
  setns: [308, 268],
  process_vm_readv: [310, 270],
  process_vm_writev: [311, 271],
  kcmp: [312, 272],
  seccomp: [317, 277],
  memfd_create: [319, 279],
  execveat: [322, 281],
  preadv2: [327, 286],
  pwritev2: [328, 287],
  statx: [332, 291],
  openat2: [437, 437],
  faccessat2: [439, 439],
  fchmodat2: [452, 452],
} as const

export type SyscallName = keyof typeof numbers

const numbersOf = (column: 0 | 1): Partial<Record<SyscallName, number>> =>
  Object.fromEntries(
    Object.entries(numbers).flatMap(([name, row]) =>
      row[column] < 0 ? [] : [[name, row[column]]],
    ),
  )

export const x64: Arch = {
  name: 'x64',
  audit: 0xc000_003e,
  nr: numbersOf(0),
  stat: {
    size: 144,
    dev: 0,
    ino: 8,
    nlink: 16,
    nlinkBytes: 8,
    mode: 24,
    uid: 28,
    gid: 32,
    rdev: 40,
    fileSize: 48,
    blockSize: 56,
    blocks: 64,
    atime: 72,
    mtime: 88,
    ctime: 104,
  },
}

export const arm64: Arch = {
  name: 'arm64',
  audit: 0xc000_00b7,
  nr: numbersOf(1),
  stat: {
    size: 128,
    dev: 0,
    ino: 8,
    mode: 16,
    nlink: 20,
    nlinkBytes: 4,
    uid: 24,
    gid: 28,
    rdev: 32,
    fileSize: 48,
    blockSize: 56,
    blocks: 64,
    atime: 72,
    mtime: 88,
    ctime: 104,
  },
}

/** The architecture that we run on, or undefined if it is not supported. */
export const thisArch = (): Arch | undefined =>
  process.arch === 'x64' ? x64 : process.arch === 'arm64' ? arm64 : undefined
