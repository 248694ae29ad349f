/** Locked memory: what is charged to whom, and the limits (01 §17.3, §17.4). */
import type { AddressSpace } from './ports.ts'

/** The charges on one address space, in pages: what VmPin and VmLck of /proc/PID/status add. */
export interface SpaceLedger {
  /** May be wrong in the way Linux is wrong after CHANGE_PROCESS of an uncharged source (01 §17.4). */
  pinned: number
  locked: number
}

export class LockedMemory {
  readonly #users = new Map<number, number>()
  readonly #spaces = new WeakMap<AddressSpace, SpaceLedger>()

  /** Pages charged to a real user ID. */
  ofUser(uid: number): number {
    return this.#users.get(uid) ?? 0
  }

  /** The ledger of an address space; kept up to date, for the host to show. */
  ofSpace(space: AddressSpace): Readonly<SpaceLedger> {
    return this.ledger(space)
  }

  protected ledger(space: AddressSpace): SpaceLedger {
    let ledger = this.#spaces.get(space)
    if (ledger === undefined) {
      ledger = { pinned: 0, locked: 0 }
      this.#spaces.set(space, ledger)
    }
    return ledger
  }
}
