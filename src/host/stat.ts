/** struct stat and struct statx of our files. */
import type { UserVa } from '../abi/brands.ts'
import { Errno } from '../abi/errno.ts'
import { S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG } from './kernel.ts'
import type { HostedFile } from './open-files.ts'
import type { Server } from './server.ts'
import type { Directory, SyntheticNode } from './tree.ts'

export interface Stat {
  /** File type and permissions. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly inode: number
  readonly links: number
  readonly rdev: { readonly major: number; readonly minor: number }
  readonly size: number
}

const PERMISSIONS = 0o7777
const NO_DEVICE = { major: 0, minor: 0 }
/** The device number that our nodes seem to be on: that of a file system nobody has mounted. */
const DEVICE = { major: 0, minor: 0x3b }
const BLOCK_SIZE = 4096
/** When the run began: the time of every node. */
const STARTED = Math.trunc(Date.now() / 1000)
/** Nodes belong to whoever started the run, at first. */
const OWNER = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }

const inodes = new Map<unknown, number>()
let lastInode = 0x3b00

/** Nodes are made anew when the machine changes; what they stand for is not. */
const inodeOf = (node: SyntheticNode): number => {
  const key =
    node.kind === 'device' ? node.device.path : node.kind === 'directory' ? node.path : node
  let inode = inodes.get(key)
  if (inode === undefined) {
    lastInode += 1
    inode = lastInode
    inodes.set(key, inode)
  }
  return inode
}

/** Permission bits and owners as chmod and chown have left them. */
export interface Ownership {
  readonly permissions?: number
  readonly uid?: number
  readonly gid?: number
}

const changes = new Map<number, Ownership>()

export const changeOwnership = (node: SyntheticNode, change: Ownership): void => {
  const inode = inodeOf(node)
  changes.set(inode, { ...changes.get(inode), ...change })
}

export const nodeStat = (node: SyntheticNode): Stat => {
  const inode = inodeOf(node)
  const made = { ...originalStat(node, inode), ...OWNER }
  const change = changes.get(inode)
  if (change === undefined) return made
  const { permissions = made.mode & PERMISSIONS, ...owners } = change
  return { ...made, ...owners, mode: (made.mode & ~PERMISSIONS) | permissions }
}

const originalStat = (node: SyntheticNode, inode: number): Omit<Stat, 'uid' | 'gid'> => {
  switch (node.kind) {
    case 'device':
      return { mode: S_IFCHR | node.device.permissions, inode, links: 1, rdev: node, size: 0 }
    case 'directory':
      return { mode: S_IFDIR | 0o755, inode, links: linksOf(node), rdev: NO_DEVICE, size: 0 }
    case 'link':
      return { mode: S_IFLNK | 0o777, inode, links: 1, rdev: NO_DEVICE, size: node.target.length }
    case 'text':
      return {
        mode: S_IFREG | node.permissions,
        inode,
        links: 1,
        rdev: NO_DEVICE,
        size: BLOCK_SIZE,
      }
  }
}

/** One for each directory in it, its name, and its `.`: programs that search trees count on it. */
const linksOf = ({ entries }: Directory): number =>
  2 + [...entries.values()].filter(({ kind }) => kind === 'directory').length

/** An anonymous file has no type (04 §4.2). */
export const hostedStat = ({ node, inode }: HostedFile): Stat =>
  node === undefined
    ? { mode: 0o600, inode, links: 1, rdev: NO_DEVICE, size: 0, ...OWNER }
    : nodeStat(node)

/** What Linux's makedev gives for numbers of this size. */
const encodeDevice = ({ major, minor }: { major: number; minor: number }): bigint =>
  BigInt(((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xfff00) << 12)) >>> 0)

/** Answers stat, lstat, fstat or newfstatat. */
export const writeStat = (server: Server, address: bigint, stat: Stat): void => {
  const layout = server.sys.arch.stat
  const bytes = new Uint8Array(layout.size)
  const view = new DataView(bytes.buffer)
  view.setBigUint64(layout.dev, encodeDevice(DEVICE), true)
  view.setBigUint64(layout.ino, BigInt(stat.inode), true)
  view.setUint32(layout.mode, stat.mode, true)
  view.setUint32(layout.nlink, stat.links, true)
  view.setUint32(layout.uid, stat.uid, true)
  view.setUint32(layout.gid, stat.gid, true)
  view.setBigUint64(layout.rdev, encodeDevice(stat.rdev), true)
  view.setBigUint64(layout.fileSize, BigInt(stat.size), true)
  view.setUint32(layout.blockSize, BLOCK_SIZE, true)
  for (const time of [layout.atime, layout.mtime, layout.ctime])
    view.setBigUint64(time, BigInt(STARTED), true)
  answerWith(server, address, bytes)
}

const STATX_BASIC_STATS = 0x7ff
const STATX_SIZE = 256

/** Answers statx. */
export const writeStatx = (server: Server, address: bigint, stat: Stat): void => {
  const bytes = new Uint8Array(STATX_SIZE)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, STATX_BASIC_STATS, true)
  view.setUint32(4, BLOCK_SIZE, true)
  view.setUint32(16, stat.links, true)
  view.setUint32(20, stat.uid, true)
  view.setUint32(24, stat.gid, true)
  view.setUint16(28, stat.mode, true)
  view.setBigUint64(32, BigInt(stat.inode), true)
  view.setBigUint64(40, BigInt(stat.size), true)
  for (const time of [64, 96, 112]) view.setBigUint64(time, BigInt(STARTED), true)
  view.setUint32(128, stat.rdev.major, true)
  view.setUint32(132, stat.rdev.minor, true)
  view.setUint32(136, DEVICE.major, true)
  view.setUint32(140, DEVICE.minor, true)
  answerWith(server, address, bytes)
}

const answerWith = (
  { memory, notifications }: Server,
  address: bigint,
  bytes: Uint8Array,
): void => {
  if (memory.write(address as UserVa, bytes) === bytes.length) notifications.succeed(0)
  else notifications.fail(Errno.EFAULT)
}
