/** Standard output of commands that print much: written at once, and given up when nobody reads it. */
import { isErrno, writeAll } from './text-sink.ts'

const FULL = 1 << 16

export class Output {
  #text = ''
  #closed = false

  /** False once nobody reads any more: a pipe's reader (`head`, a pager) has gone. */
  write(text: string): boolean {
    this.#text += text
    if (this.#text.length >= FULL) this.flush()
    return !this.#closed
  }

  flush(): void {
    const text = this.#text
    this.#text = ''
    if (this.#closed || text === '') return
    try {
      writeAll(1, text)
    } catch (error) {
      if (!isErrno(error, 'EPIPE')) throw error
      this.#closed = true
    }
  }
}
