/**
 * Which system calls are handed to the supervisor. Each costs the program some ten microseconds, so the
 * filter looks at arguments where that can tell.
 */
import type { Trap } from './bpf.ts'

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
]

/** Request types of iommufd and VFIO (';'). */
const files: readonly Trap[] = [
  {
    call: 'ioctl',
    when: [[{ argument: 1, mask: 0xff00, is: 'equal', value: 0x3b00 }]],
  },
  { call: 'fstat' },
  {
    call: 'mmap',
    when: [[{ argument: 3, mask: MAP_ANONYMOUS, is: 'equal', value: 0 }]],
  },
]

/** Calls after which what we know of a process does not hold. */
const processes: readonly Trap[] = [{ call: 'execve' }, { call: 'execveat' }]

export const traps = (): readonly Trap[] => [...files, ...paths, ...processes]
