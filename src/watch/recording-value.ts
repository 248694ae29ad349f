/**
 * How one value stands in a recording: a tag, then what belongs to it. Values describe themselves, so
 * that a new event, or a new field of one, needs nothing here.
 *
 * An object is written as its shape (the names of its members, in order), which is spelled out the first
 * time and numbered from then on, and its members. Short strings and the kinds of refusals are numbered
 * in the same way. Each kind of record has its own numbers, so that a reader may pass over the kinds that
 * it does not know or want.
 */
export const Tag = {
  /** 0 to 0x7f are the numbers themselves. */
  SMALL_END: 0x80,
  UNDEFINED: 0x80,
  NULL: 0x81,
  FALSE: 0x82,
  TRUE: 0x83,
  /** Varint. */
  NUMBER: 0x84,
  /** Varint of the number negated. */
  NEGATIVE: 0x85,
  /** Eight bytes, IEEE 754, little-endian like everything here. */
  FLOAT: 0x86,
  /** A bigint from 0 to 2^64-1: eight bytes. */
  WORD: 0x87,
  /** Any other bigint: its decimal digits as text. */
  BIG: 0x88,
  TEXT: 0x89,
  /** A text that gets the next number. */
  NEW_TEXT: 0x8a,
  /** Varint: the number of a text. */
  KNOWN_TEXT: 0x8b,
  BYTES: 0x8c,
  /** Varint: how many; the elements. */
  LIST: 0x8d,
  /** A shape, which gets the next number (varint: how many names; texts), and the members. */
  NEW_SHAPE: 0x8e,
  /** Varint: the number of a shape; the members. */
  KNOWN_SHAPE: 0x8f,
  /** A kind, which gets the next number (code, errno, cite, advice), and a refusal of it. */
  NEW_REFUSAL: 0x90,
  /** Varint: the number of a kind; what the refusal says and its fields. */
  KNOWN_REFUSAL: 0x91,
  /** A shape with a number up to 0x5f, in one byte; the members. */
  SHAPE: 0xa0,
} as const

/** Shapes with numbers below it take one byte. */
export const SHORT_SHAPES = 0x100 - Tag.SHAPE

/** Texts up to this many UTF-16 units are numbered, until there are so many: names are short. */
export const NUMBERED_TEXT = 32
export const MAX_TEXTS = 4096
/** Shapes and kinds are numbered until there are so many. */
export const MAX_SHAPES = 4096
/** Values nest no deeper. */
export const MAX_DEPTH = 32
