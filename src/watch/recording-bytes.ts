/** A buffer that values are put into: it grows, and is emptied into a sink. */

const encoder = new TextEncoder()

/** Strings up to this length are written letter by letter, which is faster than a TextEncoder. */
const SHORT = 64

export class ByteBuffer {
  bytes: Uint8Array
  view: DataView
  #room: number
  /** Bytes in use. */
  length = 0

  constructor(capacity: number) {
    this.bytes = new Uint8Array(capacity)
    this.#room = capacity
    this.view = new DataView(this.bytes.buffer)
  }

  /** Makes room for `more` bytes at the end. */
  reserve(more: number): void {
    if (this.length + more > this.#room) this.#grow(more)
  }

  #grow(more: number): void {
    const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.length + more))
    grown.set(this.bytes.subarray(0, this.length))
    this.bytes = grown
    this.#room = grown.length
    this.view = new DataView(grown.buffer)
  }

  byte(value: number): void {
    this.reserve(1)
    this.bytes[this.length++] = value
  }

  /** A whole number from 0 to 2^53-1, seven bits a byte, the lowest first. */
  varint(value: number): void {
    this.reserve(8)
    const { bytes } = this
    let at = this.length
    let rest = value
    // Beyond 31 bits only arithmetic of doubles is exact.
    for (; rest > 0x7fff_ffff; rest = Math.floor(rest / 0x80)) bytes[at++] = (rest % 0x80) | 0x80
    let small = rest | 0
    for (; small >= 0x80; small >>>= 7) bytes[at++] = (small & 0x7f) | 0x80
    bytes[at] = small
    this.length = at + 1
  }

  float(value: number): void {
    this.reserve(8)
    this.view.setFloat64(this.length, value, true)
    this.length += 8
  }

  /** A byte and the low 64 bits of a number. */
  word(tag: number, value: bigint): void {
    this.reserve(9)
    const { length } = this
    this.bytes[length] = tag
    this.view.setBigUint64(length + 1, value, true)
    this.length = length + 9
  }

  /** What is in another one, from one place to another. */
  append(other: ByteBuffer, from = 0, to = other.length): void {
    const { bytes } = other
    this.reserve(to - from)
    this.bytes.set(bytes.subarray(from, to), this.length)
    this.length += to - from
  }

  dropFirst(count: number): void {
    this.bytes.copyWithin(0, count, this.length)
    this.length -= count
  }

  /** With its length in front. */
  block(bytes: Uint8Array): void {
    this.varint(bytes.length)
    this.reserve(bytes.length)
    this.bytes.set(bytes, this.length)
    this.length += bytes.length
  }

  /** UTF-8, with its length in front. */
  text(text: string): void {
    if (text.length > SHORT || !this.#letters(text)) this.block(encoder.encode(text))
  }

  /** Letter by letter; false where one is beyond ASCII. */
  #letters(text: string): boolean {
    const { length } = text
    this.reserve(length + 1)
    const { bytes } = this
    let at = this.length
    bytes[at++] = length
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i)
      if (code >= 0x80) return false
      bytes[at++] = code
    }
    this.length = at
    return true
  }
}
