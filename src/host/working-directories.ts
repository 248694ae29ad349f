/**
 * Working directories of ours. A process needs a real directory to be in: for each of ours that is nowhere
 * else, an empty one that has been removed again, in which nothing can be made. Where it is, as
 * /proc/PID/cwd shows it, tells which one is meant; relative paths begin there (paths.ts).
 */
import { chmodSync, mkdtempSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openPath } from './client-memory.ts'
import { O, openFlags } from './kernel.ts'
import type { Sys } from './sys.ts'

export class WorkingDirectories {
  readonly #sys: Sys
  /** Descriptors of the real directories, by the path that they stand for. */
  readonly #standIns = new Map<string, number>()
  /** What is meant, by what /proc shows. */
  readonly #meant = new Map<string, string>()

  constructor(sys: Sys) {
    this.#sys = sys
  }

  /** Whether any process may be in one. */
  get inUse(): boolean {
    return this.#meant.size > 0
  }

  /** The path that a real working directory stands for, if it is one of these. */
  meaning(shown: string): string | undefined {
    return this.#meant.get(shown)
  }

  /** A descriptor of ours for the real directory that stands for this path; negative if none can be made. */
  standIn(path: string, readLink: (path: string) => string | undefined): number {
    const known = this.#standIns.get(path)
    if (known !== undefined) return known
    const fd = this.#removedDirectory()
    const shown = fd < 0 ? undefined : readLink(`/proc/self/fd/${fd}`)
    if (shown === undefined) return -1
    this.#standIns.set(path, fd)
    this.#meant.set(shown, path)
    return fd
  }

  #removedDirectory(): number {
    try {
      const directory = mkdtempSync(join(tmpdir(), 'iommufd-user-directory-'))
      // As directories of /sys are: for everybody to enter.
      chmodSync(directory, 0o755)
      const { DIRECTORY } = openFlags(this.#sys.arch.name)
      const fd = openPath(this.#sys, directory, O.RDONLY | DIRECTORY)
      rmdirSync(directory)
      return fd
    } catch {
      return -1
    }
  }
}
