/**
 * Structures of the uAPI: declared once, laid out by C's rules (little-endian, 64-bit), from which
 * reading, writing and printing follow.
 *
 *     const IoasUnmap = struct('iommu_ioas_unmap', {
 *       size: sizeWord(),
 *       ioas_id: id32('in', 'The IOAS to unmap from.'),
 *       ...
 *     })
 *     type IoasUnmapValue = Decoded<typeof IoasUnmap>
 *
 * Reading and writing run at every ioctl: no view and no closure is made per call (each structure
 * keeps one buffer that is filled and emptied within the call), and the two commonest kinds are read
 * without indirection.
 */
import type { Direction, Field } from './fields.ts'

export type Fields = Readonly<Record<string, Field<unknown>>>

/** A field at its place. */
export interface PlacedField extends Field<unknown> {
  readonly name: string
  /** Bytes from the start of the structure. */
  readonly offset: number
}

type Writable<F extends Fields> = {
  [Name in keyof F]: F[Name]['direction'] extends 'in' ? never : Name
}[keyof F]

type ValueOf<F> = F extends Field<infer Value, Direction> ? Value : never

type Flatten<T> = { [Name in keyof T]: T[Name] }

/** The members of a structure as a plain object; those that the kernel only reads are read-only. */
export type DecodedFields<F extends Fields> = Flatten<
  { readonly [Name in Exclude<keyof F, Writable<F>>]: ValueOf<F[Name]> } & {
    [Name in Writable<F>]: ValueOf<F[Name]>
  }
>

/** `Decoded<typeof SomeStruct>`: the type of its values. */
export type Decoded<S> = S extends Struct<infer F> ? DecodedFields<F> : never

export interface Struct<F extends Fields = Fields> {
  /** As in the header, without `struct`. */
  readonly name: string
  /** sizeof; without the elements of a flexible array. */
  readonly size: number
  readonly align: number
  /** In order of declaration. */
  readonly fields: readonly PlacedField[]
  /** The field of that name at its place. */
  place(name: keyof F & string): PlacedField
  readAt(view: DataView, offset: number, end: number): DecodedFields<F>
  writeAt(view: DataView, offset: number, value: Partial<DecodedFields<F>>): void
  decode(bytes: Uint8Array): DecodedFields<F>
  encode(value: Partial<DecodedFields<F>>, into?: Uint8Array): Uint8Array
}

const roundUp = (value: number, to: number): number => Math.ceil(value / to) * to

const placeFields = (structName: string, fields: Fields): PlacedField[] => {
  const placed = new Map<string, PlacedField>()
  let next = 0
  for (const [name, field] of Object.entries(fields)) {
    let offset = field.at ?? roundUp(next, field.align)
    if (field.overlays !== undefined) {
      const under = placed.get(field.overlays)
      if (under === undefined)
        throw new Error(`${structName}.${name} overlays ${field.overlays}, which is not before it`)
      offset = under.offset
    }
    placed.set(name, { ...field, name, offset })
    next = Math.max(next, offset + field.size)
  }
  return [...placed.values()]
}

const OTHER = 0
const U32 = 1
const U64 = 2

/** Declares a structure. */
export const struct = <F extends Fields>(name: string, declared: F): Struct<F> => {
  const fields = placeFields(name, declared)
  const align = Math.max(...fields.map((field) => field.align))
  const size = roundUp(Math.max(...fields.map((field) => field.offset + field.size)), align)
  const tail = fields.find((field) => field.extra !== undefined)

  const plan = fields.map((field) => ({
    name: field.name,
    offset: field.offset,
    op: field.wire === 'u32' ? U32 : field.wire === 'u64' ? U64 : OTHER,
    field,
  }))

  const readAt = (view: DataView, base: number, end: number): DecodedFields<F> => {
    const out: Record<string, unknown> = {}
    for (const { name, offset, op, field } of plan)
      out[name] =
        op === U32
          ? view.getUint32(base + offset, true)
          : op === U64
            ? view.getBigUint64(base + offset, true)
            : field.read(view, base + offset, end)
    // Built from the same declaration as the type.
    return out as DecodedFields<F>
  }

  const writeAt = (view: DataView, base: number, value: Partial<DecodedFields<F>>): void => {
    const source: Readonly<Record<string, unknown>> = value
    for (const { name, offset, op, field } of plan) {
      const member = source[name]
      if (member === undefined) continue
      if (op === U32 && typeof member === 'number') view.setUint32(base + offset, member, true)
      else if (op === U64 && typeof member === 'bigint')
        view.setBigUint64(base + offset, member, true)
      else field.write(view, base + offset, member)
    }
  }

  const own = new Uint8Array(size)
  const ownView = new DataView(own.buffer)

  const decode = (bytes: Uint8Array): DecodedFields<F> => {
    if (tail !== undefined && bytes.length > size)
      return readAt(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0, bytes.length)
    if (bytes.length > size) own.set(bytes.subarray(0, size))
    else {
      own.set(bytes)
      if (bytes.length < size) own.fill(0, bytes.length)
    }
    return readAt(ownView, 0, size)
  }

  const encode = (value: Partial<DecodedFields<F>>, into?: Uint8Array): Uint8Array => {
    const wanted: Readonly<Record<string, unknown>> = value
    const members = tail === undefined ? undefined : wanted[tail.name]
    const extra = members === undefined ? 0 : (tail?.extra?.(members) ?? 0)
    if (into === undefined || extra > 0) {
      // The elements of a flexible array may begin before the structure's padded end.
      const needed = Math.max(size, (tail?.offset ?? 0) + extra)
      const fresh = new Uint8Array(needed)
      if (into !== undefined) fresh.set(into.subarray(0, needed))
      writeAt(new DataView(fresh.buffer), 0, value)
      if (into === undefined) return fresh
      into.set(fresh.subarray(0, into.length))
      return into
    }
    own.set(into.length > size ? into.subarray(0, size) : into)
    writeAt(ownView, 0, value)
    into.set(into.length < size ? own.subarray(0, into.length) : own)
    return into
  }

  return {
    name,
    size,
    align,
    fields,
    place: (wanted) => {
      const field = fields.find((candidate) => candidate.name === wanted)
      if (field === undefined) throw new Error(`${name} has no field ${wanted}`)
      return field
    },
    readAt,
    writeAt,
    decode,
    encode,
  }
}

/**
 * The members of a structure, from bytes. Bytes that are missing count as zero (01 §4.1 step 6);
 * bytes beyond the structure belong to its flexible array, if it has one, and are else not looked at.
 */
export const decode = <F extends Fields>(of: Struct<F>, bytes: Uint8Array): DecodedFields<F> =>
  of.decode(bytes)

/**
 * The bytes of a structure. Without `into`: new bytes, zero where `value` has no member. With `into`:
 * written there as far as it reaches, and what `value` does not have stays as it is. Of the members
 * of a union the last one present counts. Values wider than their field lose their upper bits.
 */
export const encode = <F extends Fields>(
  of: Struct<F>,
  value: Partial<DecodedFields<F>>,
  into?: Uint8Array,
): Uint8Array => of.encode(value, into)

/** A structure as a member of another. */
export const nested = <F extends Fields, Dir extends Direction>(
  of: Struct<F>,
  direction: Dir,
  meaning: string,
): Field<DecodedFields<F>, Dir> => ({
  direction,
  meaning,
  wire: 'struct',
  size: of.size,
  align: of.align,
  read: (view, offset, end) => of.readAt(view, offset, end),
  write: (view, offset, value) => of.writeAt(view, offset, value),
  format: (value) => formatStruct(of, value),
})

export interface FormatOptions {
  /** Only what the caller passed, or only what it got back. Default: everything. */
  readonly show?: 'in' | 'out'
  /** Also the size word and reserved fields that are zero. */
  readonly complete?: boolean
}

const isZero = (value: unknown): boolean =>
  value === 0 || value === 0n || (Array.isArray(value) && value.every(isZero))

const isShown = (field: PlacedField, value: unknown, options: FormatOptions): boolean => {
  if (options.show !== undefined && field.direction !== 'inout' && field.direction !== options.show)
    return false
  if (options.complete) return true
  return field.role !== 'size' && !(field.role === 'reserved' && isZero(value))
}

/**
 * A structure as people read it: `{flags=IOMMU_IOAS_MAP_READABLE, ioas_id=1, length=0x1000}`. Flags
 * and enumerations by name, unknown bits and addresses in hex.
 */
export const formatStruct = <F extends Fields>(
  of: Struct<F>,
  value: Partial<DecodedFields<F>>,
  options: FormatOptions = {},
): string => {
  const members: Readonly<Record<string, unknown>> = value
  const parts: string[] = []
  for (const field of of.fields) {
    const member = members[field.name]
    if (member === undefined || !isShown(field, member, options)) continue
    parts.push(`${field.name}=${field.format(member)}`)
  }
  return `{${parts.join(', ')}}`
}
