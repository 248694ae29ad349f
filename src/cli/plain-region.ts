import type { SharedRegion } from '../engine/file.ts'

/** Memory of a BAR behind which nobody does anything. */
export const plainRegion = (length: number): SharedRegion => {
  let content: Pick<SharedRegion, 'read' | 'write'> = new Content(length)
  return {
    length,
    read: (offset, into) => content.read(offset, into),
    write: (offset, bytes) => content.write(offset, bytes),
    backBy: (pages) => {
      content = pages
    },
    pagesGo: () => {
      content = new Content(length)
    },
  }
}

class Content {
  readonly #bytes: Uint8Array

  constructor(length: number) {
    this.#bytes = new Uint8Array(length)
  }

  read(offset: number, into: Uint8Array): void {
    into.set(this.#bytes.subarray(offset, offset + into.length))
  }

  write(offset: number, bytes: Uint8Array): void {
    this.#bytes.set(bytes, offset)
  }
}
