/**
 * What replay lives on: each way into the machine (a call on a file, a timer, the last close) is noted
 * as one record, with everything that the machine asked of the world on the way and what the answer was.
 * The same machine, entered in the same ways and given the same answers, does the same.
 *
 * A record is a flat list: entry, which system call was being served (counted from 1; 0 for none), the
 * entry's arguments, and the answers, each a code and as many values as its arity says. Processes, address spaces, memory
 * objects, files and the like are numbered, each kind from 0, as they first appear.
 */
import type { ValueEncoder } from '../watch/recording-encoder.ts'

/** Ways into the machine. */
export const Entry = {
  /** process, path, mode -> file */
  OPEN: 0,
  /** process, tid, file, request, argument -> number */
  IOCTL: 1,
  /** process, tid, file, address of the buffer, count -> number */
  READ: 2,
  WRITE: 3,
  /** The same, and the offset. */
  PREAD: 4,
  PWRITE: 5,
  /** process, tid, file, length, prot, flags, offset -> [region, its offset, its length] */
  MMAP: 6,
  /** file: its last reference is gone */
  RELEASE: 7,
  /** file, offset, number of mappings */
  MAPPINGS: 8,
  /** timer: it is due */
  TIMER: 9,
  /** listener: its eventfd was signalled */
  SIGNAL: 10,
  /** region: clients have mapped it, its content is theirs from now on */
  BACKED: 11,
  /** region: nobody can map it any more, its content is the machine's again */
  UNBACKED: 12,
} as const

export type EntryCode = (typeof Entry)[keyof typeof Entry]

export const ENTRY_ARITY: Readonly<Record<number, number>> = {
  [Entry.OPEN]: 3,
  [Entry.IOCTL]: 5,
  [Entry.READ]: 5,
  [Entry.WRITE]: 5,
  [Entry.PREAD]: 6,
  [Entry.PWRITE]: 6,
  [Entry.MMAP]: 7,
  [Entry.RELEASE]: 1,
  [Entry.MAPPINGS]: 3,
  [Entry.TIMER]: 1,
  [Entry.SIGNAL]: 1,
  [Entry.BACKED]: 1,
  [Entry.UNBACKED]: 1,
}

/** What the machine asked; behind `->` the answer. */
export const Asked = {
  /** process, what -> value, said when it is another than before */
  FACT: 0,
  /** address space: its id */
  SPACE: 1,
  /** address space -> is it gone? said when it is another than before */
  GONE: 2,
  /** memory object: its name, its contiguity */
  PAGES: 3,
  /** address, length -> bytes, as `Content`; memory of the calling thread */
  READ: 4,
  /** address, length, content as `Written` -> how many bytes were written */
  WRITE: 5,
  /** The same for an address space, whose number comes first. */
  SPACE_READ: 6,
  SPACE_WRITE: 7,
  /** address space, first page, count, for writing, device memory too -> refusal, or [memory object, page, count, ...] */
  TAKE: 8,
  /** memory object, page, offset, length -> Content, or false where it cannot be reached */
  PAGES_READ: 9,
  /** memory object, page, offset, length, Written -> could it be reached? */
  PAGES_WRITE: 10,
  /** descriptor -> file of ours; -1 where it is none */
  FILE: 11,
  /** descriptor, which is another file: its number and its name */
  FOREIGN: 12,
  /** file -> descriptor or refusal */
  INSTALL: 13,
  /** Which question about a failing step of this entry, from 0, was answered with yes. */
  FAILS: 14,
  /** foreign file -> held file, its name */
  DUP: 15,
  /** held file, first page, count -> as TAKE */
  HELD_TAKE: 16,
  /** foreign file -> eventfd; -1 where it is none */
  EVENTFD: 17,
  /** eventfd -> counter */
  DRAIN: 18,
  /** eventfd -> does nobody have it any more? */
  ABANDONED: 19,
  /** eventfd, listener -> was it called at once? */
  LISTEN: 20,
  /** region, offset -> bytes there that clients have changed since it was looked at last */
  REGION: 21,
  /** The last one: what the entry ended with. */
  RESULT: 22,
  /** The last one: it ended in a mistake of ours. */
  THROWN: 23,
} as const

export type AskedCode = (typeof Asked)[keyof typeof Asked]

export const ASKED_ARITY: Readonly<Record<number, number>> = {
  [Asked.FACT]: 3,
  [Asked.SPACE]: 2,
  [Asked.GONE]: 2,
  [Asked.PAGES]: 3,
  [Asked.READ]: 3,
  [Asked.WRITE]: 4,
  [Asked.SPACE_READ]: 4,
  [Asked.SPACE_WRITE]: 5,
  [Asked.TAKE]: 6,
  [Asked.PAGES_READ]: 5,
  [Asked.PAGES_WRITE]: 6,
  [Asked.FILE]: 2,
  [Asked.FOREIGN]: 3,
  [Asked.INSTALL]: 2,
  [Asked.FAILS]: 1,
  [Asked.DUP]: 3,
  [Asked.HELD_TAKE]: 4,
  [Asked.EVENTFD]: 2,
  [Asked.DRAIN]: 2,
  [Asked.ABANDONED]: 2,
  [Asked.LISTEN]: 3,
  [Asked.REGION]: 3,
  [Asked.RESULT]: 1,
  [Asked.THROWN]: 0,
}

/** Entry, system call. */
export const HEAD = 2

/** What was read: the bytes; how many, where all are zero; how many, negative, where they were too many to keep. */
export type Content = Uint8Array | number

/** DMA of more bytes than this is noted without them: what devices compute from is shorter. */
const KEPT_OF_DMA = 1 << 16

export const contentOf = (bytes: Uint8Array, isDma = false): Content => {
  if (isDma && bytes.length > KEPT_OF_DMA) return -bytes.length
  return isZero(bytes) ? bytes.length : bytes.slice()
}

/** Writes what `contentOf` is, without making it. */
export const putContent = (values: ValueEncoder, bytes: Uint8Array): void => {
  if (isZero(bytes)) values.number(bytes.length)
  else values.bytes(bytes)
}

/** The bytes again; zeros where they were not kept. */
export const bytesOf = (content: Content): Uint8Array =>
  typeof content === 'number' ? new Uint8Array(Math.abs(content)) : content

const isZero = (bytes: Uint8Array): boolean => {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== 0) return false
  return true
}

/** What was written: the bytes, or a checksum of many. */
export type Written = Uint8Array | number

const KEPT_OF_WRITES = 512

export const writtenOf = (bytes: Uint8Array): Written =>
  bytes.length <= KEPT_OF_WRITES ? bytes.slice() : checksum(bytes)

/** Writes what `writtenOf` is, without making it. */
export const putWritten = (values: ValueEncoder, bytes: Uint8Array): void => {
  if (bytes.length <= KEPT_OF_WRITES) values.bytes(bytes)
  else values.number(checksum(bytes))
}

export const sameWritten = (one: Written, other: Written): boolean =>
  typeof one === 'number' || typeof other === 'number'
    ? one === other
    : one.length === other.length && one.every((byte, i) => byte === other[i])

/** FNV-1a. */
const checksum = (bytes: Uint8Array): number => {
  let hash = 0x811c_9dc5
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x0100_0193)
  return hash >>> 0
}
