/** Writes protocol buffers: as much of the wire format as a trace needs. */
import { ByteBuffer } from './recording-bytes.ts'

const VARINT = 0
const FIXED64 = 1
const BYTES = 2

/** One message. Fields are written in the order of the calls. */
export class ProtobufMessage {
  readonly #buffer = new ByteBuffer(64)

  /** A whole number from 0 to 2^53-1. */
  number(field: number, value: number): this {
    this.#tag(field, VARINT)
    this.#buffer.varint(value)
    return this
  }

  /** An int64: negative ones as their two's complement. */
  signed(field: number, value: number): this {
    return value >= 0 ? this.number(field, value) : this.wide(field, BigInt(value))
  }

  /** 64 bits as a varint. */
  wide(field: number, value: bigint): this {
    this.#tag(field, VARINT)
    let rest = BigInt.asUintN(64, value)
    for (; rest >= 0x80n; rest >>= 7n) this.#buffer.byte(Number(rest & 0x7fn) | 0x80)
    this.#buffer.byte(Number(rest))
    return this
  }

  fixed64(field: number, value: number): this {
    this.#tag(field, FIXED64)
    for (let i = 0, rest = value; i < 8; i++, rest = Math.floor(rest / 0x100))
      this.#buffer.byte(rest % 0x100)
    return this
  }

  text(field: number, value: string): this {
    this.#tag(field, BYTES)
    this.#buffer.block(encoder.encode(value))
    return this
  }

  message(field: number, value: ProtobufMessage): this {
    this.#tag(field, BYTES)
    this.#buffer.varint(value.#buffer.length)
    this.#buffer.append(value.#buffer)
    return this
  }

  bytes(): Uint8Array {
    return this.#buffer.bytes.slice(0, this.#buffer.length)
  }

  #tag(field: number, type: number): void {
    this.#buffer.varint(field * 8 + type)
  }
}

const encoder = new TextEncoder()
