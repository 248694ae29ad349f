/** Reads values as recording-value.ts has them. What is wrong throws RecordingError. */
import { Errno, type ErrnoName } from '../abi/errno.ts'
import { type ReasonKind, Refusal } from '../engine/reason.ts'
import { RecordingError } from './recording.ts'
import { MAX_DEPTH, MAX_SHAPES, MAX_TEXTS, Tag } from './recording-value.ts'

const decoder = new TextDecoder()
const SHORT = 32

/** A kind without what its refusals say, which each refusal brings. */
type KindOfRecording = Omit<ReasonKind<unknown>, 'say'>

export class ValueDecoder {
  #bytes: Uint8Array = new Uint8Array()
  #view = new DataView(this.#bytes.buffer)
  #at = 0
  #depth = 0
  readonly #texts: string[] = []
  readonly #shapes: (readonly string[])[] = []
  readonly #kinds: KindOfRecording[] = []

  /** What is read from now on: one record. Numbers given in earlier ones stay. */
  begin(record: Uint8Array): void {
    this.#bytes = record
    this.#view = new DataView(record.buffer, record.byteOffset, record.byteLength)
    this.#at = 0
    this.#depth = 0
  }

  get atEnd(): boolean {
    return this.#at >= this.#bytes.length
  }

  value(): unknown {
    const tag = this.byte()
    if (tag < Tag.SMALL_END) return tag
    if (tag >= Tag.SHAPE) return this.#members(this.#shape(tag - Tag.SHAPE))
    switch (tag) {
      case Tag.UNDEFINED:
        return undefined
      case Tag.NULL:
        return null
      case Tag.FALSE:
        return false
      case Tag.TRUE:
        return true
      case Tag.NUMBER:
        return this.#varint()
      case Tag.NEGATIVE:
        return -this.#varint()
      case Tag.FLOAT:
        return this.#view.getFloat64(this.#take(8), true)
      case Tag.WORD:
        return this.#view.getBigUint64(this.#take(8), true)
      case Tag.BIG:
        return big(this.#text())
      case Tag.TEXT:
        return this.#text()
      case Tag.NEW_TEXT:
        return this.#newText()
      case Tag.KNOWN_TEXT:
        return known(this.#texts, this.#varint(), 'text')
      case Tag.BYTES:
        return this.#block().slice()
      case Tag.LIST:
        return this.#list()
      case Tag.NEW_SHAPE:
        return this.#members(this.#newShape())
      case Tag.KNOWN_SHAPE:
        return this.#members(this.#shape(this.#varint()))
      case Tag.NEW_REFUSAL:
        return this.#refusal(this.#newKind())
      case Tag.KNOWN_REFUSAL:
        return this.#refusal(known(this.#kinds, this.#varint(), 'reason'))
      default:
        throw new RecordingError(`there is no tag 0x${tag.toString(16)}`)
    }
  }

  byte(): number {
    return this.#bytes[this.#take(1)] ?? 0
  }

  /** Where the next `length` bytes begin, which are passed over. */
  #take(length: number): number {
    const at = this.#at
    if (at + length > this.#bytes.length)
      throw new RecordingError('a value goes beyond the end of its record')
    this.#at = at + length
    return at
  }

  #varint(): number {
    let value = 0
    for (let scale = 1; scale <= 2 ** 49; scale *= 0x80) {
      const byte = this.byte()
      value += (byte & 0x7f) * scale
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) break
        return value
      }
    }
    throw new RecordingError('a number is too large')
  }

  #block(): Uint8Array {
    const length = this.#varint()
    const at = this.#take(length)
    return this.#bytes.subarray(at, at + length)
  }

  #text(): string {
    const block = this.#block()
    if (block.length > SHORT) return decoder.decode(block)
    let text = ''
    for (const byte of block) {
      if (byte >= 0x80) return decoder.decode(block)
      text += String.fromCharCode(byte)
    }
    return text
  }

  #newText(): string {
    const text = this.#text()
    if (this.#texts.length < MAX_TEXTS) this.#texts.push(text)
    return text
  }

  #list(): unknown[] {
    const length = this.#varint()
    // Each element takes a byte at least.
    if (length > this.#bytes.length - this.#at)
      throw new RecordingError('a list goes beyond the end of its record')
    this.#deeper()
    const list: unknown[] = []
    for (let i = 0; i < length; i++) list.push(this.value())
    this.#depth -= 1
    return list
  }

  #newShape(): readonly string[] {
    const names = Array.from({ length: this.#count() }, () => this.#text())
    if (this.#shapes.length < MAX_SHAPES) this.#shapes.push(names)
    return names
  }

  #count(): number {
    const count = this.#varint()
    if (count > this.#bytes.length - this.#at)
      throw new RecordingError('a shape goes beyond the end of its record')
    return count
  }

  #shape(number: number): readonly string[] {
    return known(this.#shapes, number, 'shape')
  }

  #members(names: readonly string[]): Record<string, unknown> {
    this.#deeper()
    const object: Record<string, unknown> = {}
    for (const name of names) {
      const value = this.value()
      // Assigning that one name would do something else.
      if (name === '__proto__')
        Object.defineProperty(object, name, {
          value,
          enumerable: true,
          configurable: true,
          writable: true,
        })
      else object[name] = value
    }
    this.#depth -= 1
    return object
  }

  #newKind(): KindOfRecording {
    const code = this.#text()
    const errno = this.#text()
    const cite = this.#text()
    const advice = this.#text()
    if (!isErrnoName(errno)) throw new RecordingError(`there is no errno '${errno}'`)
    const kind = { code, errno, cite, ...(advice === '' ? {} : { advice }) }
    if (this.#kinds.length < MAX_SHAPES) this.#kinds.push(kind)
    return kind
  }

  #refusal(kind: KindOfRecording): Refusal {
    const said = this.#text()
    this.#deeper()
    const fields = this.value()
    this.#depth -= 1
    return new Refusal({ ...kind, say: () => said }, fields)
  }

  #deeper(): void {
    this.#depth += 1
    if (this.#depth > MAX_DEPTH + 1) throw new RecordingError('values are nested too deep')
  }
}

const known = <T>(numbered: readonly T[], number: number, what: string): T => {
  const found = numbered[number]
  if (found === undefined) throw new RecordingError(`there is no ${what} number ${number}`)
  return found
}

const isErrnoName = (name: string): name is ErrnoName => Object.hasOwn(Errno, name)

const big = (digits: string): bigint => {
  if (!/^-?\d{1,4096}$/.test(digits)) throw new RecordingError('a number has no digits')
  return BigInt(digits)
}
