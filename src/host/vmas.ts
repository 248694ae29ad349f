/** What a process has mapped where: one query per mapping where the kernel offers it (6.11), else by reading its maps. */
import { readFileSync } from 'node:fs'
import { openPath } from './client-memory.ts'
import { O } from './kernel.ts'
import type { Block, Sys } from './sys.ts'

/** One virtual memory area. Addresses are below 2^53. */
export interface Vma {
  readonly start: number
  /** First address behind it. */
  readonly end: number
  readonly readable: boolean
  readonly writable: boolean
  readonly shared: boolean
  /** Offset in the file of its first byte. */
  readonly offset: number
  /** Device number (major * 2^20 + minor) and inode of its file; inode 0 for anonymous memory. */
  readonly device: number
  readonly inode: number
  /** Bytes: 4096, or the size of its huge pages. */
  readonly pageSize: number
  readonly name: string
}

const PROCMAP_QUERY = 0xc068_6611
const QUERY_SIZE = 104
const NAME_SIZE = 512
const COVERING_OR_NEXT = 0x10

export class Vmas {
  readonly #sys: Sys
  readonly #pid: number
  readonly #maps: number
  readonly #query: Block
  static #canQuery = true

  constructor(sys: Sys, pid: number) {
    this.#sys = sys
    this.#pid = pid
    this.#maps = openPath(sys, `/proc/${pid}/maps`, O.RDONLY)
    this.#query = sys.scratch
  }

  close(): void {
    if (this.#maps >= 0) this.#sys.call('close', this.#maps)
  }

  /** The areas that overlap [start, end), in ascending order. */
  within(start: number, end: number): Vma[] {
    if (!Vmas.#canQuery)
      return areasOf(this.#pid).filter((vma) => vma.end > start && vma.start < end)
    const found: Vma[] = []
    for (let at = start; at < end; ) {
      const vma = this.#ask(at)
      if (vma === 'unsupported') {
        Vmas.#canQuery = false
        return this.within(start, end)
      }
      if (vma === undefined || vma.start >= end) break
      found.push(vma)
      at = vma.end
    }
    return found
  }

  #ask(address: number): Vma | undefined | 'unsupported' {
    const { view, bytes } = this.#query
    bytes.fill(0, 0, QUERY_SIZE)
    view.setBigUint64(0, BigInt(QUERY_SIZE), true)
    view.setBigUint64(8, BigInt(COVERING_OR_NEXT), true)
    view.setBigUint64(16, BigInt(address), true)
    view.setUint32(80, NAME_SIZE, true)
    view.setBigUint64(88, BigInt(this.#query.address + QUERY_SIZE), true)
    const result = this.#sys.call('ioctl', this.#maps, PROCMAP_QUERY, this.#query.address)
    if (result === -2 || result === -3) return undefined
    if (result < 0) return 'unsupported'
    const word = (offset: number): number => Number(view.getBigUint64(offset, true))
    const flags = view.getUint32(40, true)
    const nameLength = view.getUint32(80, true)
    return {
      start: word(24),
      end: word(32),
      readable: (flags & 1) !== 0,
      writable: (flags & 2) !== 0,
      shared: (flags & 8) !== 0,
      offset: word(56),
      device: view.getUint32(72, true) * 0x10_0000 + view.getUint32(76, true),
      inode: word(64),
      pageSize: word(48),
      name: text(bytes.subarray(QUERY_SIZE, QUERY_SIZE + Math.max(0, nameLength - 1))),
    }
  }
}

/** All areas of a process, by reading its maps. */
export const areasOf = (pid: number): Vma[] => {
  let maps: string
  try {
    maps = readFileSync(`/proc/${pid}/maps`, 'latin1')
  } catch {
    return []
  }
  return maps.split('\n').flatMap(parseLine)
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')

const LINE = /^([0-9a-f]+)-([0-9a-f]+) (.)(.).(.) ([0-9a-f]+) ([0-9a-f]+):([0-9a-f]+) (\d+) *(.*)$/

const parseLine = (line: string): Vma[] => {
  const match = LINE.exec(line)
  if (match === null) return []
  const [, start = '', end = '', r, w, s, offset = '', major = '', minor = '', inode, name = ''] =
    match
  return [
    {
      start: Number.parseInt(start, 16),
      end: Number.parseInt(end, 16),
      readable: r === 'r',
      writable: w === 'w',
      shared: s === 's',
      offset: Number.parseInt(offset, 16),
      device: Number.parseInt(major, 16) * 0x10_0000 + Number.parseInt(minor, 16),
      inode: Number(inode),
      // The file does not tell the page size; only huge pages' own names do.
      pageSize: name.includes('anon_hugepage') ? 0x20_0000 : 4096,
      name,
    },
  ]
}
