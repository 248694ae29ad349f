/** Writes values as recording-value.ts has them. */
import { type ReasonKind, Refusal } from '../engine/reason.ts'
import type { ByteBuffer } from './recording-bytes.ts'
import {
  MAX_DEPTH,
  MAX_SHAPES,
  MAX_TEXTS,
  NUMBERED_TEXT,
  SHORT_SHAPES,
  Tag,
} from './recording-value.ts'

export interface Shape {
  readonly names: readonly string[]
  /** -1 while it has none. */
  number: number
}

/** A place in the tree of shapes: the names so far. */
interface ShapeNode {
  readonly next: Map<string, ShapeNode>
  shape: Shape | undefined
}

export class ValueEncoder {
  readonly #to: ByteBuffer
  readonly #texts = new Map<string, number>()
  readonly #shapes: ShapeNode = { next: new Map(), shape: undefined }
  /** The shape last seen, by type of event. */
  readonly #likely = new Map<string, Shape>()
  #shapeCount = 0
  readonly #kinds = new Map<ReasonKind<unknown>, number>()
  #depth = 0

  constructor(to: ByteBuffer) {
    this.#to = to
  }

  /**
   * Any value made of primitives, bytes, lists, plain objects and refusals. What is none of these is
   * written as the text that it prints as; what lies too deep is left out.
   */
  value(value: unknown): void {
    if (typeof value === 'string') this.text(value)
    else if (typeof value === 'number') this.number(value)
    else if (typeof value === 'bigint') this.bigint(value)
    else if (typeof value === 'boolean') this.#to.byte(value ? Tag.TRUE : Tag.FALSE)
    else if (typeof value !== 'object') this.#to.byte(Tag.UNDEFINED)
    else if (value === null) this.#to.byte(Tag.NULL)
    else this.#object(value)
  }

  number(value: number): void {
    const to = this.#to
    const small = value | 0
    if (small === value && small >= 0 && small < Tag.SMALL_END && !Object.is(value, -0))
      to.byte(small)
    else if (!Number.isSafeInteger(value) || value === 0) {
      to.byte(Tag.FLOAT)
      to.float(value)
    } else {
      to.byte(value > 0 ? Tag.NUMBER : Tag.NEGATIVE)
      to.varint(Math.abs(value))
    }
  }

  text(text: string): void {
    const to = this.#to
    const short = text.length <= NUMBERED_TEXT
    const known = short ? this.#texts.get(text) : undefined
    if (known !== undefined) {
      to.byte(Tag.KNOWN_TEXT)
      to.varint(known)
      return
    }
    const numbered = short && this.#texts.size < MAX_TEXTS
    if (numbered) this.#texts.set(text, this.#texts.size)
    to.byte(numbered ? Tag.NEW_TEXT : Tag.TEXT)
    to.text(text)
  }

  bytes(bytes: Uint8Array): void {
    this.#to.byte(Tag.BYTES)
    this.#to.block(bytes)
  }

  bigint(value: bigint): void {
    if (BigInt.asUintN(64, value) === value) this.#to.word(Tag.WORD, value)
    else {
      this.#to.byte(Tag.BIG)
      this.#to.text(value.toString())
    }
  }

  #object(value: object): void {
    this.#depth += 1
    if (value instanceof Uint8Array) this.bytes(value)
    else if (this.#depth > MAX_DEPTH) this.text('…')
    else if (Array.isArray(value)) this.#list(value)
    else if (value instanceof Refusal) this.#refusal(value)
    else if (isPlain(value)) this.#members(value)
    else this.text(String(value))
    this.#depth -= 1
  }

  #list(list: readonly unknown[]): void {
    this.#to.byte(Tag.LIST)
    this.#to.varint(list.length)
    for (const element of list) this.value(element)
  }

  #members(object: Readonly<Record<string, unknown>>): void {
    this.shape(this.#shapeOfObject(object))
    for (const name in object) this.value(object[name])
  }

  #shapeOfObject(object: Readonly<Record<string, unknown>>): Shape {
    // Events of one type mostly have one shape, and so have objects without a type that come often:
    // comparing is faster than walking the tree.
    const type = typeof object['type'] === 'string' ? object['type'] : ''
    const likely = this.#likely.get(type)
    if (likely !== undefined && hasNames(object, likely.names)) return likely
    const shape = this.shapeOf(Object.keys(object))
    this.#likely.set(type, shape)
    return shape
  }

  /** The shape with these names. */
  shapeOf(names: readonly string[]): Shape {
    let node = this.#shapes
    for (const name of names) {
      let next = node.next.get(name)
      if (next === undefined) {
        next = { next: new Map(), shape: undefined }
        node.next.set(name, next)
      }
      node = next
    }
    node.shape ??= { names, number: -1 }
    return node.shape
  }

  /** Begins an object; its members follow. */
  shape(shape: Shape): void {
    const to = this.#to
    if (shape.number < 0) {
      to.byte(Tag.NEW_SHAPE)
      to.varint(shape.names.length)
      for (const name of shape.names) to.text(name)
      if (this.#shapeCount < MAX_SHAPES) shape.number = this.#shapeCount++
    } else if (shape.number < SHORT_SHAPES) to.byte(Tag.SHAPE + shape.number)
    else {
      to.byte(Tag.KNOWN_SHAPE)
      to.varint(shape.number)
    }
  }

  #refusal(refusal: Refusal): void {
    const { kind } = refusal
    const known = this.#kinds.get(kind)
    if (known === undefined) {
      this.#to.byte(Tag.NEW_REFUSAL)
      for (const text of [kind.code, kind.errno, kind.cite, kind.advice ?? '']) this.#to.text(text)
      if (this.#kinds.size < MAX_SHAPES) this.#kinds.set(kind, this.#kinds.size)
    } else {
      this.#to.byte(Tag.KNOWN_REFUSAL)
      this.#to.varint(known)
    }
    this.#to.text(refusal.say())
    this.value(refusal.fields)
  }
}

const hasNames = (object: object, names: readonly string[]): boolean => {
  let i = 0
  for (const name in object) if (name !== names[i++]) return false
  return i === names.length
}

const isPlain = (value: object): value is Record<string, unknown> => {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
