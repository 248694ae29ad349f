/** Constants of Linux's own interfaces that host/ uses, the same on all architectures that we support. */

export const O = {
  ACCMODE: 0o3,
  RDONLY: 0,
  WRONLY: 1,
  RDWR: 2,
  CREAT: 0o100,
  EXCL: 0o200,
  TRUNC: 0o1000,
  NONBLOCK: 0o4000,
  CLOEXEC: 0o2000000,
} as const

/** Open flags whose value differs between architectures. */
export const openFlags = (arch: 'x64' | 'arm64') =>
  arch === 'x64'
    ? {
        DIRECTORY: 0o200000,
        NOFOLLOW: 0o400000,
        DIRECT: 0o40000,
        PATH: 0o10000000,
        TMPFILE: 0o20000000,
      }
    : {
        DIRECTORY: 0o40000,
        NOFOLLOW: 0o100000,
        DIRECT: 0o200000,
        PATH: 0o10000000,
        TMPFILE: 0o20000000,
      }

export const AT_FDCWD = -100
export const AT_SYMLINK_NOFOLLOW = 0x100
export const AT_SYMLINK_FOLLOW = 0x400
export const AT_EACCESS = 0x200
export const AT_EMPTY_PATH = 0x1000

export const S_IFCHR = 0o020000
export const S_IFDIR = 0o040000
export const S_IFREG = 0o100000
export const S_IFLNK = 0o120000

export const POLLIN = 0x1
export const POLLERR = 0x8
export const POLLHUP = 0x10

export const MFD_CLOEXEC = 1
export const IN_NONBLOCK = 0o4000
export const IN_CLOEXEC = 0o2000000
/** Last close of an open file, written to or not. */
export const IN_CLOSE = 0x18
export const EFD_CLOEXEC = 0o2000000
export const EFD_NONBLOCK = 0o4000
export const EPOLL_CLOEXEC = 0o2000000
export const EPOLL_CTL_ADD = 1
export const EPOLL_CTL_DEL = 2
export const TFD_CLOEXEC = 0o2000000
export const TFD_NONBLOCK = 0o4000

export const SECCOMP_SET_MODE_FILTER = 1
export const SECCOMP_GET_NOTIF_SIZES = 3
export const SECCOMP_FILTER_FLAG_NEW_LISTENER = 8
export const SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = 32
export const SECCOMP_IOCTL_NOTIF_RECV = 0xc050_2100
export const SECCOMP_IOCTL_NOTIF_SEND = 0xc018_2101
export const SECCOMP_IOCTL_NOTIF_ID_VALID = 0x4008_2102
export const SECCOMP_IOCTL_NOTIF_ADDFD = 0x4018_2103
export const SECCOMP_IOCTL_NOTIF_SET_FLAGS = 0x4008_2104
export const SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP = 1
export const SECCOMP_USER_NOTIF_FLAG_CONTINUE = 1
export const SECCOMP_ADDFD_FLAG_SEND = 2

export const PR_SET_PDEATHSIG = 1
export const PR_SET_NO_NEW_PRIVS = 38
export const PR_SET_CHILD_SUBREAPER = 36
export const RLIMIT_CORE = 4
export const RLIMIT_NOFILE = 7
export const RLIMIT_MEMLOCK = 8

export const P_PID = 1
export const WNOHANG = 1
export const WSTOPPED = 2
export const WEXITED = 4
export const WNOWAIT = 0x0100_0000
export const CLD_EXITED = 1
export const CLD_TRAPPED = 4
export const CLD_STOPPED = 5

export const SIGHUP = 1
export const SIGINT = 2
export const SIGQUIT = 3
export const SIGKILL = 9
export const SIGPIPE = 13
export const SIGTERM = 15
export const SIGCHLD = 17
export const SIGTSTP = 20
export const SIGTTIN = 21
export const SIGTTOU = 22

export const PAGE_SIZE = 4096
export const S_IFMT = 0o170000
