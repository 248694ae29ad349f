/** Files and links under /sys, as data. */
import type { Later } from '../../engine/later.ts'
import type { Result } from '../../engine/reason.ts'

export type SysfsNode =
  | {
      readonly kind: 'text'
      readonly permissions: number
      /** The content changes while the file is open. */
      readonly live?: boolean
      content(): string | Uint8Array
      /** What is written to it, in one piece; absent for a read-only file. */
      write?(bytes: Uint8Array): Result<number> | Later<Result<number>>
    }
  | { readonly kind: 'link'; readonly target: string }

export interface SysfsEntry {
  readonly path: string
  readonly node: SysfsNode
}

/** A file that is only read; text gets its newline. */
export const text = (
  path: string,
  content: string | (() => string | Uint8Array),
  permissions = 0o444,
): SysfsEntry => ({
  path,
  node: {
    kind: 'text',
    permissions,
    content: typeof content === 'string' ? () => `${content}\n` : content,
  },
})

export const link = (path: string, target: string): SysfsEntry => ({
  path,
  node: { kind: 'link', target },
})
