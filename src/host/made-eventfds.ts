/** Eventfds that were made for clients here, because they cannot be taken out of them. */
import { readdirSync } from 'node:fs'
import { eventfdId, eventfdsOf } from './eventfd-ids.ts'
import { EFD_CLOEXEC } from './kernel.ts'
import type { Sys } from './sys.ts'

const F_DUPFD_CLOEXEC = 1030
/** As many are kept before those are looked for that no process has any more. */
const FEW = 512

export class MadeEventfds {
  readonly #sys: Sys
  /** Descriptors of ours by the kernel's number of the eventfd, which is free again only when all are closed. */
  readonly #made = new Map<string, number>()
  #enough = FEW

  constructor(sys: Sys) {
    this.#sys = sys
  }

  /** A descriptor of ours for a new eventfd, or an errno negated. */
  make(count: number, flags: number): number {
    if (this.#made.size >= this.#enough) this.#letGo()
    const fd = this.#sys.call('eventfd2', count, flags | EFD_CLOEXEC)
    if (fd < 0) return fd
    const id = eventfdId('self', fd)
    // An old kernel gives no numbers: then it is the client's alone.
    if (id !== undefined) this.#made.set(id, fd)
    return fd
  }

  /** A further descriptor for what is `fd` in process `pid`; undefined for one that was not made here. */
  find(pid: number, fd: number): number | undefined {
    const id = eventfdId(pid, fd)
    const made = id === undefined ? undefined : this.#made.get(id)
    if (made === undefined) return undefined
    const held = this.#sys.call('fcntl', made, F_DUPFD_CLOEXEC, 0)
    return held < 0 ? undefined : held
  }

  /** The client did not get it after all. */
  discard(fd: number): void {
    for (const [id, made] of this.#made) if (made === fd) this.#made.delete(id)
    this.#sys.call('close', fd)
  }

  /**
   * Lets go of those that no process has open. One that is on its way from one process to another over a
   * socket at this moment is let go of too, and is then of no use to a device.
   */
  #letGo(): void {
    const open = new Set(processes().flatMap((pid) => [...eventfdsOf(pid)]))
    for (const [id, fd] of this.#made)
      if (!open.has(id)) {
        this.#made.delete(id)
        this.#sys.call('close', fd)
      }
    this.#enough = Math.max(FEW, 2 * this.#made.size)
  }
}

const processes = (): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== process.pid)
