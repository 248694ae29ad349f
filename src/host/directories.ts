/** Listing directories: ours, and real ones that nodes of ours lie in. */
import { readdirSync } from 'node:fs'
import type { UserVa } from '../abi/brands.ts'
import { Errno } from '../abi/errno.ts'
import type { SyscallName } from './arch.ts'
import { S_IFMT } from './kernel.ts'
import type { Handler, Server } from './server.ts'
import { nodeStat } from './stat.ts'
import type { Directory } from './tree.ts'

interface Entry {
  readonly name: Uint8Array
  readonly inode: bigint
  /** DT_*. */
  readonly type: number
}

/** How far a descriptor's listing has come. */
interface Listing {
  readonly entries: readonly Entry[]
  next: number
}

const NAME_OFFSET = 19
const DT_DIR = 4

/**
 * A listing is remembered by process and descriptor, from its first call to the one that finds the end,
 * since we cannot move the position of a real directory's open file.
 */
export class Listings {
  readonly #open = new Map<string, Listing>()

  /** The listing in progress for this descriptor, or a new one. */
  of(key: string, start: () => readonly Entry[]): Listing {
    let listing = this.#open.get(key)
    if (listing === undefined) {
      listing = { entries: start(), next: 0 }
      this.#open.set(key, listing)
    }
    return listing
  }

  end(key: string): void {
    this.#open.delete(key)
  }
}

const getdents64: Handler = (server) => {
  const { notifications, tasks, files, paths } = server
  const fd = notifications.int(0)
  const found = tasks.descriptor(notifications.tid, fd)
  const hosted = found && files.find(found.device, found.inode)
  const directory =
    hosted === undefined
      ? found && paths.overlaid(found.device, found.inode)
      : hosted.node?.kind === 'directory'
        ? hosted.node
        : undefined
  if (found === undefined || directory === undefined) {
    notifications.proceed()
    return
  }
  const key = `${found.task.process.pid}:${fd}:${found.inode}`
  const listing = server.listings.of(key, () => entriesOf(server, directory))
  const limit = Number(notifications.argument(2) & 0xffff_ffffn)
  const bytes = pack(listing, limit)
  if (bytes === undefined) notifications.fail(Errno.EINVAL)
  else if (server.memory.write(notifications.argument(1) as UserVa, bytes) < bytes.length)
    notifications.fail(Errno.EFAULT)
  else {
    if (bytes.length === 0) server.listings.end(key)
    notifications.succeed(bytes.length)
  }
}

/** lseek to the start begins the listing anew; other positions are not ours to give. */
export const rewind = (server: Server, fd: number): void => {
  const found = server.tasks.descriptor(server.notifications.tid, fd)
  if (found !== undefined) server.listings.end(`${found.task.process.pid}:${fd}:${found.inode}`)
}

const entriesOf = ({ paths }: Server, directory: Directory): Entry[] => {
  const entries = new Map<string, Entry>()
  const add = (name: string, inode: bigint, type: number): void => {
    entries.set(name, { name: Buffer.from(name, 'latin1'), inode, type })
  }
  add('.', BigInt(nodeStat(directory).inode), DT_DIR)
  add('..', 1n, DT_DIR)
  if (paths.isReal(directory))
    for (const entry of readdirSync(directory.path === '' ? '/' : directory.path, {
      withFileTypes: true,
      encoding: 'latin1',
    }))
      add(entry.name, 1n, direntType(entry))
  for (const [name, node] of directory.entries) {
    const { inode, mode } = nodeStat(node)
    add(name, BigInt(inode), (mode & S_IFMT) >> 12)
  }
  return [...entries.values()]
}

const direntType = (entry: {
  isFIFO(): boolean
  isCharacterDevice(): boolean
  isDirectory(): boolean
  isBlockDevice(): boolean
  isFile(): boolean
  isSymbolicLink(): boolean
  isSocket(): boolean
}): number => {
  if (entry.isFIFO()) return 1
  if (entry.isCharacterDevice()) return 2
  if (entry.isDirectory()) return DT_DIR
  if (entry.isBlockDevice()) return 6
  if (entry.isFile()) return 8
  if (entry.isSymbolicLink()) return 10
  return entry.isSocket() ? 12 : 0
}

/** struct linux_dirent64, as many as fit; undefined if not even one does. */
const pack = (listing: Listing, limit: number): Uint8Array | undefined => {
  const bytes = new Uint8Array(Math.min(limit, 1 << 16))
  const view = new DataView(bytes.buffer)
  let at = 0
  while (listing.next < listing.entries.length) {
    const entry = listing.entries[listing.next]
    if (entry === undefined) break
    const length = (NAME_OFFSET + entry.name.length + 1 + 7) & ~7
    if (at + length > bytes.length) return at === 0 ? undefined : bytes.subarray(0, at)
    listing.next += 1
    view.setBigUint64(at, entry.inode, true)
    view.setBigInt64(at + 8, BigInt(listing.next), true)
    view.setUint16(at + 16, length, true)
    view.setUint8(at + 18, entry.type)
    bytes.set(entry.name, at + NAME_OFFSET)
    at += length
  }
  return bytes.subarray(0, at)
}

export const directoryCalls: Partial<Record<SyscallName, Handler>> = { getdents64 }
