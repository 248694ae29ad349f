/**
 * The open file descriptions that the engine and vfio/ offer and that host/ serves: a context, an
 * event queue, a group, a device. One object per open(); duplicates and forks share it; `release`
 * runs once, when the last reference anywhere is gone.
 *
 * A missing operation answers as Linux does for such a file: ioctl ENOTTY, read and write EINVAL,
 * mmap ENODEV, always ready for poll.
 */
import type { ByteLength, FileOffset, UserVa } from '../abi/brands.ts'
import type { Call } from './ports.ts'
import type { Result } from './reason.ts'

export type OpenMode = 'read' | 'write' | 'read-write'

/** poll events, as in <poll.h>. */
export const Poll = { IN: 0x001, OUT: 0x004, RDNORM: 0x040, WRNORM: 0x100 } as const

export interface MmapRequest {
  readonly length: ByteLength
  /** PROT_* bits. */
  readonly prot: number
  /** MAP_* bits. */
  readonly flags: number
  readonly offset: FileOffset
}

/** What an mmap maps: this memory, shared by everybody who maps it. */
export interface MmapRegion {
  readonly offset: FileOffset
  readonly length: ByteLength
  /** Initial and current content; the host backs it with pages of the file at `offset`. */
  readonly memory: SharedRegion
}

/** Pages that clients map and the engine can read and write. */
export interface SharedRegion {
  readonly length: number
  /** Where the pages are mapped in this process, for a thread that reads and writes them on its own. */
  readonly address?: number
  read(offset: number, into: Uint8Array): void
  write(offset: number, bytes: Uint8Array): void
  /**
   * The host mapped `pages` into a client: the content moves there, and reads and writes go there from
   * now on. Called at most once per region.
   */
  backBy?(pages: SharedRegion): void
  /** The last who could touch these pages is gone, and they go too: the content is to be had once more. */
  pagesGo?(pages: SharedRegion): void
  /**
   * May clients touch what they have mapped? While not, their accesses fault with SIGBUS; the mapping
   * and the content stay.
   */
  setAccessible?(accessible: boolean): void
}

export interface OpenFile {
  /** What it is, for people and for traces: `iommufd`, `fault queue`. */
  readonly kind: string
  /** What readlink of /proc/PID/fd/N says on Linux: `/dev/iommu`, `anon_inode:[iommufd-pgfault]`. */
  readonly linkText: string
  readonly mode: OpenMode
  /** True for files that fstat shows as a character device; false for anonymous inodes. */
  readonly isDevice: boolean
  ioctl?(call: Call, request: number, argument: UserVa): Result<number>
  read?(call: Call, buffer: UserVa, count: number): Result<number>
  write?(call: Call, buffer: UserVa, count: number): Result<number>
  pread?(call: Call, buffer: UserVa, count: number, offset: FileOffset): Result<number>
  pwrite?(call: Call, buffer: UserVa, count: number, offset: FileOffset): Result<number>
  /** Events ready now. */
  poll?(): number
  /** Asks to be told when `poll` may answer differently; returns how to stop that. */
  onPollChange?(listener: () => void): () => void
  mmap?(call: Call, request: MmapRequest): Result<MmapRegion>
  /** Current mappings of a region changed (munmap, fork, exit): how many VMAs map it now. */
  mappingsOf?(offset: FileOffset, vmas: number): void
  /** The last reference is gone. */
  release(): void
}
