/** Reading a recording from a file, in pieces: it may be larger than memory. */
import { closeSync, openSync, readSync } from 'node:fs'
import { RecordingError, type RecordingHeader, type RecordingItem } from '../watch/recording.ts'
import { RecordingReader } from '../watch/recording-reader.ts'
import { UsageError } from './usage-error.ts'

const PIECE = 1 << 20

export interface ReadRecording {
  readonly header: RecordingHeader
  /** What is missing or spoilt, as a sentence. */
  readonly damage: string | undefined
}

/**
 * Reads the recording to its end, or to where it is spoilt; `take` gets each item and the header, and
 * returns false to stop. Throws UsageError, with a sentence, for what cannot be read at all.
 */
export const readRecordingFile = (
  file: string,
  take: (item: RecordingItem, header: RecordingHeader) => boolean | undefined,
): ReadRecording => {
  try {
    return readAll(file, take)
  } catch (error) {
    if (error instanceof RecordingError) throw new UsageError(`${file}: ${error.message}`)
    if (!(error instanceof Error && 'syscall' in error)) throw error
    throw new UsageError(`The recording cannot be read: ${error.message}.`)
  }
}

const readAll = (
  file: string,
  take: (item: RecordingItem, header: RecordingHeader) => boolean | undefined,
): ReadRecording => {
  const fd = file === '-' ? 0 : openSync(file, 'r')
  try {
    const reader = new RecordingReader()
    const piece = new Uint8Array(PIECE)
    for (let length = readSync(fd, piece); length > 0; length = readSync(fd, piece))
      for (const item of reader.push(piece.subarray(0, length)))
        if (reader.header !== undefined && take(item, reader.header) === false)
          return { header: reader.header, damage: undefined }
    const damage = reader.damage()
    // Without any bytes nothing was refused yet.
    if (reader.header === undefined) throw new RecordingError(damage ?? 'It has no header.')
    return { header: reader.header, damage }
  } finally {
    if (fd !== 0) closeSync(fd)
  }
}
