/** Reading a recording from a file, in pieces: it may be larger than memory. */
import { closeSync, openSync, readSync } from 'node:fs'
import { RecordingError, type RecordingHeader, type RecordingItem } from '../watch/recording.ts'
import { RecordingReader } from '../watch/recording-reader.ts'
import { UsageError } from './usage-error.ts'

const PIECE = 1 << 20

export class RecordingInput {
  readonly #file: string
  readonly #reader: RecordingReader

  /** `-` is standard input. `served`: with what only replay needs. */
  constructor(file: string, options: { readonly served?: boolean } = {}) {
    this.#file = file
    this.#reader = new RecordingReader(options)
  }

  /** Known with the first item, and when there are no more. */
  get header(): RecordingHeader {
    const { header } = this.#reader
    if (header === undefined) throw new Error('nothing of the recording has been read')
    return header
  }

  /** What is missing or spoilt, as a sentence, once all items have come. */
  get damage(): string | undefined {
    return this.#reader.damage()
  }

  /**
   * What is in it, to its end or to where it is spoilt. Throws UsageError, with a sentence, for what
   * cannot be read at all.
   */
  *items(): Generator<RecordingItem> {
    try {
      yield* this.#read()
    } catch (error) {
      throw asUsageError(this.#file, error)
    }
  }

  *#read(): Generator<RecordingItem> {
    const fd = this.#file === '-' ? 0 : openSync(this.#file, 'r')
    try {
      const piece = new Uint8Array(PIECE)
      for (let length = readSync(fd, piece); length > 0; length = readSync(fd, piece))
        yield* this.#reader.push(piece.subarray(0, length))
      // Without any bytes nothing was refused yet.
      if (this.#reader.header === undefined) throw new RecordingError(this.damage)
    } finally {
      if (fd !== 0) closeSync(fd)
    }
  }
}

const asUsageError = (file: string, error: unknown): unknown => {
  if (error instanceof RecordingError) return new UsageError(`${file}: ${error.message}`)
  if (error instanceof Error && 'syscall' in error)
    return new UsageError(`The recording cannot be read: ${error.message}.`)
  return error
}

/** Throws UsageError for a file that is no recording. */
export const expectRecording = (file: string): void => {
  for (const _ of new RecordingInput(file).items()) return
}
