/** Names of functions in a loaded file, as its symbol table has them. */
import { readFileSync } from 'node:fs'

/** A function: its first byte and length, as addresses of the file. */
interface FunctionSymbol {
  readonly start: number
  readonly size: number
  readonly name: string
}

interface Section {
  readonly type: number
  readonly offset: number
  readonly size: number
  readonly link: number
}

interface Segment {
  readonly offset: number
  readonly address: number
  readonly size: number
}

const ELF64_LITTLE = 0x0102_464c_457fn
const [SYMTAB, DYNSYM] = [2, 11]
const PT_LOAD = 1
const STT_FUNC = 2
const SYMBOL_SIZE = 24
/** Larger files are not looked into: it would hold the program up. */
const LARGEST = 256 << 20

export class ElfSymbols {
  /** Ascending. */
  readonly #functions: readonly FunctionSymbol[]
  readonly #segments: readonly Segment[]

  private constructor(functions: FunctionSymbol[], segments: Segment[]) {
    this.#functions = functions.sort((one, other) => one.start - other.start)
    this.#segments = segments
  }

  /** Undefined for what cannot be read, or is no ELF file of 64 bits. */
  static of(file: string): ElfSymbols | undefined {
    let bytes: Buffer
    try {
      bytes = readFileSync(file)
    } catch {
      return undefined
    }
    if (bytes.length < 64 || bytes.length > LARGEST) return undefined
    if ((bytes.readBigUInt64LE(0) & 0xffff_ffff_ffffn) !== ELF64_LITTLE) return undefined
    try {
      return new ElfSymbols(functionsOf(bytes), segmentsOf(bytes))
    } catch (error) {
      // A damaged file points beyond its end.
      if (error instanceof RangeError) return undefined
      throw error
    }
  }

  /** The function around an offset in the file, with the distance from its start. */
  at(fileOffset: number): { readonly name: string; readonly offset: number } | undefined {
    const segment = this.#segments.find(
      ({ offset, size }) => fileOffset >= offset && fileOffset < offset + size,
    )
    if (segment === undefined) return undefined
    const address = fileOffset - segment.offset + segment.address
    let low = 0
    let high = this.#functions.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#functions[middle]?.start ?? 0) <= address) low = middle + 1
      else high = middle
    }
    const found = this.#functions[low - 1]
    if (found === undefined || address >= found.start + found.size) return undefined
    return { name: found.name, offset: address - found.start }
  }
}

const word = (bytes: Buffer, at: number): number => Number(bytes.readBigUInt64LE(at))

const segmentsOf = (bytes: Buffer): Segment[] => {
  const table = word(bytes, 32)
  const [entry, count] = [bytes.readUInt16LE(54), bytes.readUInt16LE(56)]
  const segments: Segment[] = []
  for (let i = 0; i < count; i++) {
    const at = table + i * entry
    if (bytes.readUInt32LE(at) === PT_LOAD)
      segments.push({
        offset: word(bytes, at + 8),
        address: word(bytes, at + 16),
        size: word(bytes, at + 32),
      })
  }
  return segments
}

const sectionsOf = (bytes: Buffer): Section[] => {
  const table = word(bytes, 40)
  const [entry, count] = [bytes.readUInt16LE(58), bytes.readUInt16LE(60)]
  return Array.from({ length: count }, (_, i) => {
    const at = table + i * entry
    return {
      type: bytes.readUInt32LE(at + 4),
      offset: word(bytes, at + 24),
      size: word(bytes, at + 32),
      link: bytes.readUInt32LE(at + 40),
    }
  })
}

/** Of the full table, or of the one for dynamic linking where the file is stripped. */
const functionsOf = (bytes: Buffer): FunctionSymbol[] => {
  const sections = sectionsOf(bytes)
  const table =
    sections.find(({ type }) => type === SYMTAB) ?? sections.find(({ type }) => type === DYNSYM)
  const names = table && sections[table.link]
  if (table === undefined || names === undefined) return []
  const functions: FunctionSymbol[] = []
  for (let at = table.offset; at < table.offset + table.size; at += SYMBOL_SIZE) {
    const [start, size] = [word(bytes, at + 8), word(bytes, at + 16)]
    if ((bytes.readUInt8(at + 4) & 0xf) !== STT_FUNC || size === 0) continue
    const name = names.offset + bytes.readUInt32LE(at)
    functions.push({ start, size, name: bytes.toString('latin1', name, bytes.indexOf(0, name)) })
  }
  return functions
}
