/** An image in a file, sparse or not. What is written is in the file when the command completes. */
import {
  closeSync,
  constants,
  fdatasyncSync,
  fstatSync,
  openSync,
  readSync,
  statSync,
  writeSync,
} from 'node:fs'
import { BLOCK_SIZE, type Image, type ImageFailure } from './image.ts'

/**
 * The fallocate system call: 0, or an errno negated. `mode` as in <linux/falloc.h>.
 */
export type Fallocate = (fd: number, mode: number, position: number, length: number) => number

const KEEP_SIZE = 0x01
const PUNCH_HOLE = 0x02
const ZERO_RANGE = 0x10
/** Zeroes are written in pieces of this many bytes where the file system has nothing better. */
const ZEROES = 1 << 20
const NO_SPACE = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])

/** An image that a thread of this process has opened; any can use it. */
export interface OpenImage {
  readonly fd: number
  readonly blocks: number
  readonly readOnly: boolean
}

/** Why an image cannot be used: the end of a sentence. */
export class ImageError extends Error {
  override readonly name = 'ImageError'
}

export class ImageFile implements Image {
  readonly blocks: number
  readonly readOnly: boolean
  readonly #fd: number
  readonly #fallocate: Fallocate

  constructor({ fd, blocks, readOnly }: OpenImage, fallocate: Fallocate) {
    this.#fd = fd
    this.blocks = blocks
    this.readOnly = readOnly
    this.#fallocate = fallocate
  }

  read(position: number, into: Uint8Array): ImageFailure | undefined {
    return attempt(() => {
      for (let done = 0; done < into.length; ) {
        const count = readSync(this.#fd, into, done, into.length - done, position + done)
        // The file has become shorter than it was.
        if (count === 0) return 'input-output'
        done += count
      }
      return undefined
    })
  }

  write(position: number, bytes: Uint8Array): ImageFailure | undefined {
    if (this.readOnly) return 'read-only'
    return attempt(() => {
      for (let done = 0; done < bytes.length; )
        done += writeSync(this.#fd, bytes, done, bytes.length - done, position + done)
      return undefined
    })
  }

  zero(position: number, length: number, deallocate: boolean): ImageFailure | undefined {
    if (this.readOnly) return 'read-only'
    const mode = KEEP_SIZE | (deallocate ? PUNCH_HOLE : ZERO_RANGE)
    if (this.#fallocate(this.#fd, mode, position, length) === 0) return undefined
    const zeroes = new Uint8Array(Math.min(length, ZEROES))
    for (let done = 0; done < length; done += ZEROES) {
      const part = zeroes.subarray(0, Math.min(ZEROES, length - done))
      const failure = this.write(position + done, part)
      if (failure !== undefined) return failure
    }
    return undefined
  }

  flush(): ImageFailure | undefined {
    if (this.readOnly) return undefined
    return attempt(() => {
      fdatasyncSync(this.#fd)
      return undefined
    })
  }

  close(): void {
    closeSync(this.#fd)
  }
}

/** Throws ImageError for what cannot be an image. */
export const openImage = (path: string, readOnly: boolean): OpenImage => {
  try {
    if (!statSync(path).isFile()) throw new ImageError(`the image ${path} is not a regular file`)
    const fd = openSync(path, readOnly ? constants.O_RDONLY : constants.O_RDWR)
    const blocks = Math.floor(fstatSync(fd).size / BLOCK_SIZE)
    if (blocks > 0) return { fd, blocks, readOnly }
    closeSync(fd)
    throw new ImageError(
      `the image ${path} is too small, it must hold at least one block of ${BLOCK_SIZE} bytes; "truncate -s 64M ${path}" makes it larger`,
    )
  } catch (error) {
    throw error instanceof ImageError ? error : new ImageError(whyNotOpened(path, codeOf(error)))
  }
}

const whyNotOpened = (path: string, code: string): string => {
  switch (code) {
    case 'ENOENT':
      return `there is no image ${path}; "truncate -s 64M ${path}" makes one`
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return `the image ${path} cannot be opened for writing (${code}); change its permissions, or add readonly=on`
    default:
      return `the image ${path} cannot be opened (${code})`
  }
}

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : String(error)

const attempt = (run: () => ImageFailure | undefined): ImageFailure | undefined => {
  try {
    return run()
  } catch (error) {
    return NO_SPACE.has(codeOf(error)) ? 'no-space' : 'input-output'
  }
}
