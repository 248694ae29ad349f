/** Files of the caller that are not ours, as IOAS_MAP_FILE takes them (01 §13). */
import {
  closeSync,
  fstatSync,
  openSync,
  readFileSync,
  readlinkSync,
  readSync,
  statfsSync,
  writeSync,
} from 'node:fs'
import { Errno } from '../abi/errno.ts'
import type { ForeignFile, HeldFile, PageRun } from '../engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../engine/reason.ts'
import type { Eventfds } from './eventfds.ts'
import { PAGE_SIZE } from './kernel.ts'
import type { SharedMemory } from './shared-memory.ts'
import type { Sys } from './sys.ts'

const TMPFS_MAGIC = 0x0102_1994
const HUGETLBFS_MAGIC = 0x9584_58f6

const NotMemoryFile = reasonKind<{ name: string }>({
  code: 'file-is-not-memory',
  errno: 'EINVAL',
  cite: '01 §13.1',
  say: ({ name }) => `${name} is not a file in memory (memfd, tmpfs or hugetlbfs)`,
  advice: 'Use memfd_create, or a file in /dev/shm.',
})
const BeyondEnd = reasonKind<{ name: string; page: number; size: number }>({
  code: 'file-too-short',
  errno: 'EINVAL',
  cite: '01 §13.1',
  say: ({ name, page, size }) => `page ${page} of ${name} is beyond its end: it has ${size} bytes`,
  advice: 'Give the file its full size with ftruncate before a device needs the memory.',
})

const NoRoom = reasonKind<{ name: string }>({
  code: 'file-system-full',
  errno: 'ENOSPC',
  cite: '01 §13.1',
  say: ({ name }) => `the holes of ${name} cannot be filled: its file system is full`,
  advice: 'Make room in the file system, or fill the file (fallocate) before it is mapped.',
})
const NoPages = reasonKind<{ name: string }>({
  code: 'file-no-memory',
  errno: 'ENOMEM',
  cite: '01 §13.1',
  say: ({ name }) => `the holes of ${name} cannot be filled: there are not enough free pages`,
  advice: 'Reserve enough huge pages (vm.nr_hugepages), or use a smaller file.',
})

export const foreignFile = (
  sys: Sys,
  caller: { readonly pid: number; readonly tid: number },
  fd: number,
  shared: SharedMemory,
  eventfds: Eventfds,
): ForeignFile | undefined => {
  const { pid, tid } = caller
  const path = `/proc/${tid}/fd/${fd}`
  let name: string
  try {
    name = readlinkSync(path)
    // An O_PATH descriptor is as good as none.
    const flags = /^flags:\t(\d+)/m.exec(readFileSync(`/proc/${tid}/fdinfo/${fd}`, 'latin1'))?.[1]
    if (flags === undefined || (Number.parseInt(flags, 8) & 0o10000000) !== 0) return undefined
  } catch {
    return undefined
  }
  return {
    foreign: true,
    name,
    dup: () => holdFile(sys, path, name, shared),
    eventfd: () => (name === 'anon_inode:[eventfd]' ? eventfds.hold(pid, fd) : undefined),
  }
}

const openAgain = (path: string): number | undefined => {
  for (const flags of ['r+', 'r'])
    try {
      return openSync(path, flags)
    } catch {
      // Not for writing, perhaps: reading may do.
    }
  return undefined
}

const holdFile = (sys: Sys, path: string, name: string, shared: SharedMemory): HeldFile => {
  const { type } = statfsOf(path)
  const isMemory = type === TMPFS_MAGIC || type === HUGETLBFS_MAGIC
  const fd = isMemory ? openAgain(path) : undefined
  if (fd === undefined)
    return { name, take: () => refuse(NotMemoryFile, { name }), close: () => {} }
  const { dev, ino, blksize } = fstatSync(fd)
  const pageSize = type === HUGETLBFS_MAGIC ? blksize : PAGE_SIZE
  const object = shared.byInode(deviceNumber(dev), ino, name, pageSize)
  const reach = {
    read: (page: number, offset: number, into: Uint8Array) =>
      readSync(fd, into, 0, into.length, page * PAGE_SIZE + offset) === into.length,
    write: (page: number, offset: number, bytes: Uint8Array) =>
      writeSync(fd, bytes, 0, bytes.length, page * PAGE_SIZE + offset) === bytes.length,
  }
  object.reachedBy(reach)
  let open = true
  return {
    name,
    take: (firstPage, count): Result<PageRun[]> => {
      const { size } = fstatSync(fd)
      if ((firstPage + count) * PAGE_SIZE > roundUp(size, pageSize))
        return refuse(BeyondEnd, { name, page: Math.trunc(size / PAGE_SIZE), size })
      const filled = fillHoles(sys, { fd, name, pageSize, firstPage, count })
      if (filled instanceof Refusal) return filled
      return [{ object, page: firstPage, count }]
    },
    close: () => {
      if (!open) return
      open = false
      object.lose(reach)
      closeSync(fd)
    },
  }
}

/** The pages are needed now, so they come to be, as with a write to the file (01 §13.1). */
const fillHoles = (
  sys: Sys,
  file: { fd: number; name: string; pageSize: number; firstPage: number; count: number },
): Result<void> => {
  const { fd, name, pageSize, firstPage, count } = file
  const offset = Math.floor((firstPage * PAGE_SIZE) / pageSize) * pageSize
  const end = Math.ceil(((firstPage + count) * PAGE_SIZE) / pageSize) * pageSize
  const result = sys.call('fallocate', fd, 0, offset, end - offset)
  if (result !== -Errno.ENOSPC && result !== -Errno.ENOMEM) return
  return refuse(pageSize === PAGE_SIZE && result === -Errno.ENOSPC ? NoRoom : NoPages, { name })
}

/** Only whole pages below the size can be had of shmem (01 §22.17 row 12); huge pages are whole anyway. */
const roundUp = (size: number, pageSize: number): number =>
  pageSize === PAGE_SIZE ? Math.trunc(size / PAGE_SIZE) * PAGE_SIZE : size

/** From Node's encoding of a device number (glibc's makedev) to ours. */
const deviceNumber = (dev: number): number => {
  const low = dev % 0x1_0000_0000
  const high = Math.trunc(dev / 0x1_0000_0000)
  const major = ((low >>> 8) & 0xfff) + (high & 0xffff_f000)
  const minor = (low & 0xff) + ((low >>> 12) & 0xfff00)
  return major * 0x10_0000 + minor
}

const statfsOf = (path: string): { type: number } => {
  try {
    return statfsSync(path)
  } catch {
    return { type: 0 }
  }
}
