/** Memory objects that several processes can map: shared anonymous memory, memfds, tmpfs and hugetlb files, other files. */
import { statfsSync } from 'node:fs'
import type { UserMemory } from '../engine/ports.ts'
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
  /** Descriptor of its memory, negative when it is gone. */
  readonly memory: number
  /** The process, where its memory may be reached by its ID; else 0. */
  readonly reachable: number
  /** What it maps now. */
  areas(): readonly Vma[]
}

/** A part of an object that an address space maps. */
interface MappedRange {
  readonly object: MemoryObject
  readonly vma: Vma
  readonly reach: Reach
}

export class SharedMemory {
  readonly window: Block
  /** How many pages the engine holds, counted as often as it holds them. While none, nothing that processes do to their memory matters. */
  heldPages = 0
  readonly #objects = new Map<string, MemoryObject>()
  readonly #ranges = new Map<Mapper, MappedRange[]>()
  /** Device number of the kernel's internal tmpfs, where memfds and shared anonymous memory live. */
  readonly #internalDevice: number
  /** Whether an inode is a file of ours. */
  readonly #ours: (device: number, inode: number) => boolean
  /** The process whose call is being served, once it is known, and its memory by the quickest way. */
  caller: { readonly certainAddressSpace: Mapper | undefined } | undefined
  callerMemory: UserMemory | undefined
  /** All address spaces that may map something, whether or not they have ever made a mapping. */
  mappers: () => Iterable<Mapper> = () => []

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

  /** The object that `vma` of `mapper` maps, now also reached through it. */
  object(vma: Vma, mapper: Mapper): MemoryObject {
    const object = this.byInode(vma.device, vma.inode, vma.name, vma.pageSize)
    const ranges = this.#ranges.get(mapper) ?? []
    this.#ranges.set(mapper, ranges)
    const known = ranges.some(
      (range) =>
        range.object === object && range.vma.start <= vma.start && range.vma.end >= vma.end,
    )
    if (!known) {
      const reach = reachThrough(vma, mapper)
      ranges.push({ object, vma, reach })
      object.reachedBy(reach)
    }
    return object
  }

  byInode(device: number, inode: number, name: string, pageSize: number): MemoryObject {
    const key = `${device}:${inode}`
    const known = this.#objects.get(key)
    if (known !== undefined) return known
    const object: MemoryObject = new MemoryObject(name, pageSize / PAGE_SIZE, (page) =>
      this.#search(device, inode, page, undefined),
    )
    this.#objects.set(key, object)
    return object
  }

  /** A way through any process that maps the page, other than `except`. */
  #search(
    device: number,
    inode: number,
    page: number,
    except: Mapper | undefined,
  ): Reach | undefined {
    for (const mapper of this.mappers()) {
      if (mapper === except) continue
      for (const vma of mapper.areas())
        if (vma.inode === inode && vma.device === device && covers(vma, page))
          return reachThrough(vma, mapper)
    }
    return undefined
  }

  /** This machine permits process_vm_readv and its like. */
  byProcess = false

  /** Called before held memory moves, or a way to it ends: whoever uses one on his own must let go of it. */
  moving: () => void = () => {}

  /** Does the engine hold pages that `mapper` maps in [start, end)? */
  holdsWithin(mapper: Mapper, start: number, end: number): boolean {
    return (this.#ranges.get(mapper) ?? []).some(({ object, vma }) => {
      const from = Math.max(start, vma.start)
      const to = Math.min(end, vma.end)
      if (from >= to) return false
      const page = (vma.offset + from - vma.start) / PAGE_SIZE
      return object.heldWithin(page, page + (to - from) / PAGE_SIZE).length > 0
    })
  }

  /** `mapper` is about to unmap [start, end): held pages that nobody else maps are saved. */
  unmapping(mapper: Mapper, start: number, end: number): void {
    const ranges = this.#ranges.get(mapper)
    if (ranges === undefined) return
    const kept: MappedRange[] = []
    for (const range of ranges) {
      const { object, vma, reach } = range
      const from = Math.max(start, vma.start)
      const to = Math.min(end, vma.end)
      if (from >= to) kept.push(range)
      else {
        const page = (vma.offset + from - vma.start) / PAGE_SIZE
        for (const [first, last] of object.heldWithin(page, page + (to - from) / PAGE_SIZE))
          if (this.#search(vma.device, vma.inode, first, mapper) === undefined)
            object.save(first, last)
        object.lose(reach)
        for (const rest of [part(vma, vma.start, from), part(vma, to, vma.end)]) {
          if (rest === undefined) continue
          const restReach = reachThrough(rest, mapper)
          object.reachedBy(restReach)
          kept.push({ object, vma: rest, reach: restReach })
        }
      }
    }
    this.#ranges.set(mapper, kept)
  }

  /** The address space is gone. */
  forget(mapper: Mapper): void {
    for (const { object, reach } of this.#ranges.get(mapper) ?? []) object.lose(reach)
    this.#ranges.delete(mapper)
  }
}

const covers = (vma: Vma, page: number): boolean => {
  const first = vma.offset / PAGE_SIZE
  return page >= first && page < first + (vma.end - vma.start) / PAGE_SIZE
}

const part = (vma: Vma, start: number, end: number): Vma | undefined =>
  start >= end ? undefined : { ...vma, start, end, offset: vma.offset + start - vma.start }

const reachThrough = (vma: Vma, mapper: Mapper): Reach => {
  const address = (page: number, offset: number, length: number): number | undefined => {
    const start = vma.start + page * PAGE_SIZE - vma.offset + offset
    return start >= vma.start && start + length <= vma.end ? start : undefined
  }
  return {
    place: (page) => {
      const first = vma.offset / PAGE_SIZE
      const end = first + (vma.end - vma.start) / PAGE_SIZE
      if (mapper.memory < 0 || page < first || page >= end) return undefined
      return {
        descriptor: mapper.memory,
        address: vma.start,
        firstPage: first,
        endPage: end,
        process: mapper.reachable,
      }
    },
    read: (page, offset, into) => {
      const start = address(page, offset, into.length)
      return start !== undefined && mapper.readAt(start, into)
    },
    write: (page, offset, bytes) => {
      const start = address(page, offset, bytes.length)
      return start !== undefined && mapper.writeAt(start, bytes)
    },
  }
}
