/** Linux errno values (asm-generic, as on x86-64 and arm64) that this interface can return. */
export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ENOTTY: 25,
  ENOSPC: 28,
  ESPIPE: 29,
  EROFS: 30,
  ERANGE: 34,
  EDEADLK: 35,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  ELOOP: 40,
  EBADE: 52,
  EOVERFLOW: 75,
  EBADFD: 77,
  EMSGSIZE: 90,
  EOPNOTSUPP: 95,
  EADDRINUSE: 98,
} as const

export type ErrnoName = keyof typeof Errno
export type ErrnoValue = (typeof Errno)[ErrnoName]

const names = new Map<number, ErrnoName>()
for (const [name, value] of Object.entries(Errno)) names.set(value, name as ErrnoName)

/** `EINVAL` for 22; the number itself where this interface never returns it. */
export const errnoName = (value: number): string => names.get(value) ?? String(value)
