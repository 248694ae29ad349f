/** Locked memory: what is charged to whom, and the limits (01 §17.3, §17.4). */
import type { AddressSpace, Process } from './ports.ts'
import { type Result, reasonKind, refuse } from './reason.ts'

/** How a page source is charged, fixed when it is mapped (01 §17.3). */
export type ChargeMode = 'none' | 'user' | 'process'

/** Who is charged for a page source. */
export interface ChargedOwner {
  readonly process: Process
  readonly space: AddressSpace
  readonly uid: number
  readonly mode: ChargeMode
  /** Mapped BARs are taken like any other memory. */
  readonly deviceMemory: boolean
}

export const OverMemlockLimit = reasonKind<{
  pid: number
  mode: ChargeMode
  charged: number
  wanted: number
  limit: number
}>({
  code: 'over-memlock-limit',
  errno: 'ENOMEM',
  cite: '01 §17.4',
  say: ({ pid, mode, charged, wanted, limit }) =>
    `pinning ${wanted} pages more would exceed RLIMIT_MEMLOCK of process ${pid} (${limit} pages): ${charged} are charged ${mode === 'user' ? 'to its user' : 'to its address space'} already`,
  advice: 'Raise the limit (ulimit -l), unmap something, or give the program CAP_IPC_LOCK.',
})

/** The charges on one address space, in pages: what VmPin and VmLck of /proc/PID/status show. */
export interface SpaceLedger {
  /** Can go wrong, even below zero, as it does on Linux after CHANGE_PROCESS (01 §16, §17.4). */
  readonly pinned: number
  /** The engine's part; what mlock locked comes on top. */
  readonly locked: number
}

/** What counts against a limit, with the limit, in pages. */
export interface Standing {
  readonly charged: number
  readonly limit: number
}

interface Ledger {
  pinned: number
  locked: number
}

export class LockedMemory {
  readonly #users = new Map<number, number>()
  readonly #spaces = new WeakMap<AddressSpace, Ledger>()

  /** Pages charged to a real user ID. */
  ofUser(uid: number): number {
    return this.#users.get(uid) ?? 0
  }

  /** The ledger of an address space; kept up to date, for the host to show. */
  ofSpace(space: AddressSpace): SpaceLedger {
    return this.#ledger(space)
  }

  /**
   * Charges pages, or refuses when the owner's limit, read now, would be exceeded. Returns what counts
   * against the limit then; undefined for an owner whom no limit binds.
   */
  charge(owner: ChargedOwner, pages: number): Result<Standing | undefined> {
    if (pages === 0) return
    const { mode, process } = owner
    const ledger = this.#ledger(owner.space)
    let standing: Standing | undefined
    if (mode !== 'none') {
      const limit = Number(process.memlockLimit() / 4096n)
      const charged =
        mode === 'user'
          ? this.ofUser(owner.uid)
          : ledger.locked + Number(process.lockedBytes() / 4096n)
      if (charged + pages > limit)
        return refuse(OverMemlockLimit, { pid: process.pid, mode, charged, wanted: pages, limit })
      if (mode === 'user') this.#users.set(owner.uid, this.ofUser(owner.uid) + pages)
      else ledger.locked += pages
      standing = { charged: charged + pages, limit }
    }
    ledger.pinned += pages
    return standing
  }

  uncharge(owner: ChargedOwner, pages: number): void {
    if (pages === 0) return
    const ledger = this.#ledger(owner.space)
    ledger.pinned -= pages
    if (owner.mode === 'process') ledger.locked -= pages
    else if (owner.mode === 'user') {
      const left = this.ofUser(owner.uid) - pages
      if (left === 0) this.#users.delete(owner.uid)
      else this.#users.set(owner.uid, left)
    }
  }

  /** No user is charged for anything. */
  get isEmpty(): boolean {
    return this.#users.size === 0
  }

  #ledger(space: AddressSpace): Ledger {
    let ledger = this.#spaces.get(space)
    if (ledger === undefined) {
      ledger = { pinned: 0, locked: 0 }
      this.#spaces.set(space, ledger)
    }
    return ledger
  }
}
