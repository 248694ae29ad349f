import { closeSync, openSync, writeSync } from 'node:fs'
import { STANDARD_ERROR } from './run-options.ts'

/** Where text goes as it comes: each write is done when it returns, so that nothing is lost at a kill. */
export interface TextSink {
  write(text: string | Uint8Array): void
  close(): void
}

/** Milliseconds to wait for a reader that is slower than we are. */
const PAUSE = 1

/**
 * A sink for `-`, standard error, or a file, which is emptied. What cannot be opened throws as
 * `openSync` does. When writing fails later (a full disk, a closed pipe) it says so once and gives up:
 * the program goes on.
 */
export const textSink = (target: string): TextSink => {
  const fd = target === STANDARD_ERROR ? 2 : openSync(target, 'w')
  let failed = false
  return {
    write: (text) => {
      if (failed) return
      try {
        writeAll(fd, text)
      } catch (error) {
        failed = true
        if (fd !== 2)
          process.stderr.write(
            `iommufd-user: Writing ${target} failed (${message(error)}); nothing more is written to it.\n`,
          )
      }
    },
    close: () => {
      if (fd !== 2) closeSync(fd)
    },
  }
}

/** Lets go of standard error: whoever reads its other end must not wait for us. */
export const releaseStandardError = (): void => {
  closeSync(2)
  openSync('/dev/null', 'w')
}

/** Writes all of it, waiting for a slow reader. Throws as `writeSync` does. */
export const writeAll = (fd: number, text: string | Uint8Array): void => {
  let rest: Uint8Array = typeof text === 'string' ? new TextEncoder().encode(text) : text
  while (rest.length > 0)
    try {
      rest = rest.subarray(writeSync(fd, rest))
    } catch (error) {
      // Standard error may be a pipe that somebody made non-blocking.
      if (!isErrno(error, 'EAGAIN')) throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE)
    }
}

export const isErrno = (error: unknown, code: string): boolean =>
  error instanceof Error && 'code' in error && error.code === code

const message = (error: unknown): string => (error instanceof Error ? error.message : String(error))
