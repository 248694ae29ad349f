/** The medium: blocks of an image. Positions and lengths are in bytes. */

export const BLOCK_SIZE = 512

/** Why an operation on the image failed. */
export type ImageFailure =
  /** The image cannot be written at all. */
  | 'read-only'
  /** No room is left below it. */
  | 'no-space'
  /** Anything else: an error of the disk below, or the file has become shorter. */
  | 'input-output'

export interface Image {
  /** Whole blocks; does not change. */
  readonly blocks: number
  readonly readOnly: boolean
  read(position: number, into: Uint8Array): ImageFailure | undefined
  write(position: number, bytes: Uint8Array): ImageFailure | undefined
  /** The range reads as zeroes afterwards; with `deallocate` it need not occupy room. */
  zero(position: number, length: number, deallocate: boolean): ImageFailure | undefined
  /** All that was written survives a loss of power. */
  flush(): ImageFailure | undefined
}
