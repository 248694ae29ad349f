/** Memory objects that several processes can map: shared anonymous memory, memfds, tmpfs and hugetlb files, other files. */
import { statfsSync } from 'node:fs'
import { PAGE_SIZE } from './kernel.ts'
import { MemoryObject, type Reach } from './page-objects.ts'
import type { Block, Sys } from './sys.ts'
import type { Vma } from './vmas.ts'

const TMPFS_MAGIC = 0x0102_1994
const HUGETLBFS_MAGIC = 0x9584_58f6
const WINDOW = 1 << 20

/** Reads and writes at an address of one address space. */
export interface Mapper {
  readAt(address: number, into: Uint8Array): boolean
  writeAt(address: number, bytes: Uint8Array): boolean
}

interface MappedRange {
  readonly mapper: Mapper
  readonly start: number
  readonly end: number
  /** Page of the object at `start`. */
  readonly page: number
  readonly reach: Reach
}

export class SharedMemory {
  readonly window: Block
  readonly #objects = new Map<string, MemoryObject>()
  readonly #ranges = new Map<MemoryObject, MappedRange[]>()
  /** Device number of the kernel's internal tmpfs, where memfds and shared anonymous memory live. */
  readonly #internalDevice: number
  /** Whether an inode of the internal tmpfs is a file of ours. */
  readonly #ours: (device: number, inode: number) => boolean

  constructor(sys: Sys, internalDevice: number, ours: (device: number, inode: number) => boolean) {
    this.window = sys.alloc(WINDOW)
    this.#internalDevice = internalDevice
    this.#ours = ours
  }

  isOurs(vma: Vma): boolean {
    return vma.inode !== 0 && this.#ours(vma.device, vma.inode)
  }

  /** False for a file whose file system tracks dirty pages. */
  isMemoryFile(vma: Vma, pid: number): boolean {
    if (vma.inode === 0 || vma.device === this.#internalDevice || vma.pageSize > PAGE_SIZE)
      return true
    if (!vma.name.startsWith('/') || vma.name.endsWith(' (deleted)')) return true
    try {
      const { type } = statfsSync(`/proc/${pid}/root${vma.name}`)
      return type === TMPFS_MAGIC || type === HUGETLBFS_MAGIC
    } catch {
      return true
    }
  }

  /** The object that `vma` maps, now also reached through it. */
  object(vma: Vma, mapper: Mapper): MemoryObject {
    const object = this.byInode(vma.device, vma.inode, vma.name, vma.pageSize)
    const ranges = this.#ranges.get(object) ?? []
    this.#ranges.set(object, ranges)
    const known = ranges.some(
      (range) => range.mapper === mapper && range.start <= vma.start && range.end >= vma.end,
    )
    if (!known) {
      const range = mappedRange(vma, mapper)
      ranges.push(range)
      object.reachedBy(range.reach)
    }
    return object
  }

  byInode(device: number, inode: number, name: string, pageSize: number): MemoryObject {
    const key = `${device}:${inode}`
    let object = this.#objects.get(key)
    if (object === undefined) {
      object = new MemoryObject(name, pageSize / PAGE_SIZE)
      this.#objects.set(key, object)
    }
    return object
  }
}

const mappedRange = (vma: Vma, mapper: Mapper): MappedRange => {
  const page = vma.offset / PAGE_SIZE
  const address = (at: number, offset: number, length: number): number | undefined => {
    const start = vma.start + (at - page) * PAGE_SIZE + offset
    return start >= vma.start && start + length <= vma.end ? start : undefined
  }
  const reach: Reach = {
    read: (at, offset, into) => {
      const start = address(at, offset, into.length)
      return start !== undefined && mapper.readAt(start, into)
    },
    write: (at, offset, bytes) => {
      const start = address(at, offset, bytes.length)
      return start !== undefined && mapper.writeAt(start, bytes)
    },
  }
  return { mapper, start: vma.start, end: vma.end, page, reach }
}
