/**
 * Where in a program a call was made: the function that called the C library's, on x86-64. That function's
 * frame is known from its first instructions, and so is where it returns to; nothing is guessed from what
 * else lies on the stack.
 */
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { userVa } from '../abi/brands.ts'
import type { CodePlace } from '../engine/events.ts'
import type { UserMemory } from '../engine/ports.ts'
import { ElfSymbols } from './elf-symbols.ts'

/** Code of a file, as it is mapped. */
interface Code {
  readonly start: number
  readonly end: number
  readonly offset: number
  readonly file: string
}

/** Bytes of a function that are looked at for the size of its frame. */
const PROLOGUE = 32
/** Bytes of the longest call instruction. */
const LONGEST_CALL = 7

/** Files whose functions only pass calls on. */
const isLibrary = (file: string): boolean =>
  /^(libc|libpthread|ld-linux|ld-musl|ld|libffi)[-.\d]/.test(basename(file)) || file.startsWith('[')

export class CallerPlaces {
  readonly #code = new Map<number, readonly Code[]>()
  readonly #symbols = new Map<string, ElfSymbols | undefined>()
  /** The same place is the same object. */
  readonly #places = new Map<string, CodePlace>()

  /** Undefined where the thread cannot be looked at, or its frame is not understood. */
  of(pid: number, tid: number, memory: UserMemory): CodePlace | undefined {
    const registers = registersOf(tid)
    if (registers === undefined) return undefined
    const { pc, stack } = registers
    const here = this.#codeAt(pid, pc)
    if (here === undefined) return undefined
    if (!isLibrary(here.file)) return this.#place(here, pc)
    const within = this.#symbolsOf(here.file)?.at(pc - here.start + here.offset)
    if (within === undefined) return undefined
    const address = wordAt(memory, stack + frameOf(memory, pc - within.offset))
    const caller = address === undefined ? undefined : this.#codeAt(pid, address)
    if (address === undefined || caller === undefined || isLibrary(caller.file)) return undefined
    return followsCall(memory, address) ? this.#place(caller, address) : undefined
  }

  /** The maps are read again where nothing is known to be there. */
  #codeAt(pid: number, address: number): Code | undefined {
    const find = (code: readonly Code[] | undefined) =>
      code?.find(({ start, end }) => address >= start && address < end)
    const known = find(this.#code.get(pid))
    if (known !== undefined) return known
    this.#code.set(pid, codeOf(pid))
    return find(this.#code.get(pid))
  }

  #symbolsOf(file: string): ElfSymbols | undefined {
    if (!this.#symbols.has(file)) this.#symbols.set(file, ElfSymbols.of(file))
    return this.#symbols.get(file)
  }

  /** The address behind a call belongs to the function that made it, also when that was its last. */
  #place({ start, offset, file }: Code, address: number): CodePlace {
    const fileOffset = address - 1 - start + offset
    const key = `${file}\0${fileOffset}`
    const known = this.#places.get(key)
    if (known !== undefined) return known
    const symbol = this.#symbolsOf(file)?.at(fileOffset)
    const place: CodePlace =
      symbol === undefined
        ? { module: file, offset: fileOffset + 1 }
        : { module: file, symbol: symbol.name, offset: symbol.offset + 1 }
    this.#places.set(key, place)
    return place
  }
}

/** Bytes that a function has put on the stack: what it pushes, and what it subtracts, at its beginning. */
const frameOf = (memory: UserMemory, start: number): number => {
  const code = memory.read(userVa(BigInt(start)), PROLOGUE)
  const view = new DataView(code.buffer, code.byteOffset, code.length)
  const is = (at: number, ...bytes: number[]): boolean =>
    bytes.every((byte, i) => code[at + i] === byte)
  const isPush = (at: number): boolean => ((code[at] ?? 0) & 0xf8) === 0x50
  let at = is(0, 0xf3, 0x0f, 0x1e, 0xfa) ? 4 : 0
  let frame = 0
  for (;;) {
    if (isPush(at)) at += 1
    else if (is(at, 0x41) && isPush(at + 1)) at += 2
    else break
    frame += 8
  }
  if (is(at, 0x48, 0x83, 0xec)) return frame + view.getUint8(at + 3)
  if (is(at, 0x48, 0x81, 0xec)) return frame + view.getUint32(at + 3, true)
  return frame
}

const wordAt = (memory: UserMemory, address: number): number | undefined => {
  const bytes = memory.read(userVa(BigInt(address)), 8)
  if (bytes.length < 8) return undefined
  const word = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true)
  return word >= 0x1000n && word < 1n << 47n ? Number(word) : undefined
}

/** Does a call instruction end there: E8, or FF /2 with an operand of any length? */
const followsCall = (memory: UserMemory, address: number): boolean => {
  const code = memory.read(userVa(BigInt(address - LONGEST_CALL)), LONGEST_CALL)
  if (code.length < LONGEST_CALL) return false
  const before = (distance: number): number => code[LONGEST_CALL - distance] ?? 0
  if (before(5) === 0xe8) return true
  return [2, 3, 4, 6, 7].some(
    (length) => before(length) === 0xff && (before(length - 1) & 0x38) === 0x10,
  )
}

/** Of a thread that waits in a system call. */
const registersOf = (tid: number): { readonly pc: number; readonly stack: number } | undefined => {
  try {
    const words = readFileSync(`/proc/${tid}/syscall`, 'latin1').trim().split(' ')
    const [stack, pc] = words.slice(-2).map(Number)
    return words.length < 9 || stack === undefined || pc === undefined ? undefined : { stack, pc }
  } catch {
    return undefined
  }
}

const codeOf = (pid: number): readonly Code[] => {
  let maps: string
  try {
    maps = readFileSync(`/proc/${pid}/maps`, 'latin1')
  } catch {
    return []
  }
  return [...maps.matchAll(/^([0-9a-f]+)-([0-9a-f]+) ..x. ([0-9a-f]+) \S+ \d+ +(\S.*)$/gm)].map(
    ([, start = '', end = '', offset = '', file = '']) => ({
      start: Number.parseInt(start, 16),
      end: Number.parseInt(end, 16),
      offset: Number.parseInt(offset, 16),
      file,
    }),
  )
}
