/**
 * The memory behind mappings (01 §1 "page source", 04 §3 "backing object"): where its pages come
 * from, which are held, by how many, and who is charged.
 *
 * Slots are numbered from the page that contains the first byte. A slot is pinned exactly while an
 * area in an IOAS with a domain or a pin by an access covers it (01 §17.1); it is pinned once however
 * many do. Everything is kept per run of slots.
 */
import { hex } from '../abi/brands.ts'
import type { ChargedOwner, ChargeMode } from './accounting.ts'
import type { Context } from './context.ts'
import type { DmaBufAttachment } from './dma-buf.ts'
import type { FrameTable } from './frames.ts'
import { type Interval, IntervalMap } from './interval-map.ts'
import type { Machine } from './machine.ts'
import type { Caller } from './objects.ts'
import { addressOf } from './page-address.ts'
import { PageCounts, type PageRange } from './page-counts.ts'
import type { HeldFile, PageRun, Process } from './ports.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'

export const PinFails = reasonKind({
  code: 'pin-fails',
  errno: 'EFAULT',
  cite: '05 §A.11',
  say: () => 'pinning pages was made to fail (injected failure)',
  advice:
    'This failure was injected: make sure that the program frees what it has and passes the error on.',
})

export const ChargeFails = reasonKind({
  code: 'charge-fails',
  errno: 'ENOMEM',
  cite: '05 §A.11',
  say: () => 'charging pages was made to fail (injected failure)',
  advice:
    'This failure was injected: make sure that the program treats it as it would a locked-memory limit.',
})

export const BatchFails = reasonKind({
  code: 'batch-fails',
  errno: 'ENOMEM',
  cite: '05 §A.11',
  say: () => 'no memory for a temporary buffer (injected failure)',
  advice:
    'This failure was injected: make sure that the program frees what it has and passes the error on.',
})

export const AddressSpaceGone = reasonKind<{ pid: number; name: string; va: bigint }>({
  code: 'address-space-gone',
  errno: 'EFAULT',
  cite: '01 §17.2, §18',
  say: ({ pid, name, va }) =>
    `the memory at ${hex(va)} belongs to process ${pid} (${name}), which has exited or called exec`,
  advice:
    'Only pages that were pinned before stay usable; map the memory again from a live process.',
})

/** What is remembered of a source while any of its slots is held. */
class Held {
  readonly holders = new PageCounts()
  /** Slots to the pages taken for them. */
  readonly taken = new IntervalMap<PageRun>()
  pinned = 0
  /** Pages whose charge CHANGE_PROCESS lost: not uncharged when unpinned (01 §16). */
  lost = 0
}

export class PageSource {
  /** Who is charged; CHANGE_PROCESS replaces it. For a VA source also whose memory it is. */
  owner: ChargedOwner
  /** Absent: memory of the owner's address space. */
  readonly backing: HeldFile | DmaBufBacking | undefined
  /** Page of the address space or file that is slot 0. */
  readonly firstPage: number
  /** Mapped with WRITEABLE: pages are taken for writing. */
  readonly writable: boolean
  /** Areas that refer to it. */
  areas = 0
  #held: Held | undefined

  constructor(
    owner: ChargedOwner,
    backing: HeldFile | DmaBufBacking | undefined,
    firstPage: number,
    writable: boolean,
  ) {
    this.owner = owner
    this.backing = backing
    this.firstPage = firstPage
    this.writable = writable
  }

  /** The backing, if this is a dma-buf: never pinned, charged or reached by accesses (01 §13.2). */
  get dmaBuf(): DmaBufBacking | undefined {
    return this.backing instanceof DmaBufBacking ? this.backing : undefined
  }

  get file(): HeldFile | undefined {
    return this.backing instanceof DmaBufBacking ? undefined : this.backing
  }

  /** Number of slots that are pinned. */
  get pinned(): number {
    return this.#held?.pinned ?? 0
  }

  /**
   * One more holder of these slots. Slots that nobody held are taken from the origin and pinned; the
   * number of those is returned, for the caller to `charge` or to take back with `release`.
   */
  hold(caller: Caller, frames: FrameTable, start: number, end: number): Result<number> {
    const held = this.#held ?? new Held()
    const missing = held.holders.free(start, end)
    const fresh: Interval<PageRun>[] = []
    let count = 0
    for (const [from, to] of missing) {
      const runs = this.take(caller, from, to)
      if (runs instanceof Refusal) return runs
      let slot = from
      for (const run of runs) {
        fresh.push({ start: slot, end: slot + run.count, value: run })
        slot += run.count
      }
      count += to - from
    }
    // Nothing can fail from here on.
    this.#held = held
    held.holders.add(start, end)
    for (const { start: from, end: to, value } of fresh) {
      held.taken.insert(from, to, value)
      frames.pin(value)
    }
    if (this.backing === undefined && fresh.length > 0)
      this.owner.space.hold?.(fresh.map(({ value }) => value))
    held.pinned += count
    return count
  }

  /** Charges pages that `hold` pinned; on refusal the caller lets go of them again. */
  charge(caller: Caller, machine: Machine, pages: number): Refusal | undefined {
    if (pages === 0) return
    if (caller.fails('charge-pages')) return refuse(ChargeFails, {})
    const { owner } = this
    const standing = machine.lockedMemory.charge(owner, pages)
    if (standing instanceof Refusal) return standing
    if (standing !== undefined && machine.memoryObserver !== undefined && owner.mode !== 'none')
      machine.memoryObserver.event({
        type: 'memory-charged',
        call: machine.currentCall,
        pid: owner.process.pid,
        mode: owner.mode,
        pages,
        ...standing,
      })
    return undefined
  }

  /** One holder of these slots less; what nobody holds is unpinned and (if `charged`) uncharged. */
  release(machine: Machine, start: number, end: number, charged = true): void {
    const held = this.#held
    if (held === undefined) throw new Error(`${this} holds nothing to release`)
    for (const [from, to] of held.holders.remove(start, end))
      this.#letGo(machine, held, from, to, charged)
    if (held.holders.isEmpty) this.#held = undefined
  }

  /** Adds a holder to slots that are held already, as a second area over the same page does. */
  holdAgain(start: number, end: number): void {
    this.#held?.holders.add(start, end)
  }

  /** The pages recorded for slots, ascending; slots that nobody holds are left out. */
  recorded(start: number, end: number): { slot: number; run: PageRun }[] {
    const found: { slot: number; run: PageRun }[] = []
    for (const { start: from, end: to, value } of this.#held?.taken.overlapping(start, end) ?? []) {
      const first = Math.max(from, start)
      const count = Math.min(to, end) - first
      found.push({
        slot: first,
        run: { object: value.object, page: value.page + first - from, count },
      })
    }
    return found
  }

  /** Slots without a recorded page. */
  unrecorded(start: number, end: number): PageRange[] {
    return this.#held?.holders.free(start, end) ?? [[start, end]]
  }

  /** Takes pages from the origin as it is now (04 §3.3), without recording them. */
  take(caller: Caller, start: number, end: number): Result<readonly PageRun[]> {
    if (caller.fails('allocate-batch')) return refuse(BatchFails, {})
    if (caller.fails('pin-pages')) return refuse(PinFails, {})
    const first = this.firstPage + start
    if (this.backing instanceof DmaBufBacking) throw new Error('pages of a dma-buf are not taken')
    if (this.backing !== undefined) return this.backing.take(first, end - start)
    const { space, process, deviceMemory } = this.owner
    if (space.gone)
      return refuse(AddressSpaceGone, {
        pid: process.pid,
        name: process.name,
        va: addressOf(first, 0),
      })
    return space.take(first, end - start, this.writable, caller.process, deviceMemory)
  }

  /** CHANGE_PROCESS of a source whose old charge cannot be returned (01 §16). */
  loseCharge(): void {
    if (this.#held !== undefined) this.#held.lost = this.#held.pinned
  }

  /** The last area is gone. */
  dispose(): void {
    this.backing?.close()
  }

  toString(): string {
    const at = hex(addressOf(this.firstPage, 0))
    if (this.backing !== undefined) return `${this.backing.name} at ${at}`
    const { process } = this.owner
    return `memory of process ${process.pid} (${process.name}) at ${at}`
  }

  #letGo(machine: Machine, held: Held, from: number, to: number, charged: boolean): void {
    for (const { start, end, value } of held.taken.overlapping(from, to)) {
      const first = Math.max(start, from)
      const last = Math.min(end, to)
      held.taken.delete(start)
      // What is held on either side stays recorded.
      if (start < first) held.taken.insert(start, first, { ...value, count: first - start })
      if (last < end)
        held.taken.insert(last, end, {
          object: value.object,
          page: value.page + last - start,
          count: end - last,
        })
      const run = { object: value.object, page: value.page + first - start, count: last - first }
      machine.frames.unpin(run)
      if (this.backing === undefined) this.owner.space.release?.([run])
    }
    const pages = to - from
    held.pinned -= pages
    if (!charged) return
    const lost = Math.min(held.lost, pages)
    held.lost -= lost
    machine.lockedMemory.uncharge(this.owner, pages - lost)
  }
}

/** An IOAS, as a dma-buf sees it. */
export interface ShowsDmaBuf {
  dmaBufRevoked(backing: DmaBufBacking): void
}

/** A dma-buf as backing: attached as long as the source lives. */
export class DmaBufBacking {
  readonly name: string
  readonly attachment: DmaBufAttachment
  /** Its translations are gone for good (01 §13.2). */
  revoked = false
  /** Which IOASes have areas of it, and how many. */
  readonly #shownBy = new Map<ShowsDmaBuf, number>()

  readonly #frames: FrameTable

  constructor(name: string, attachment: DmaBufAttachment, frames: FrameTable) {
    this.name = name
    this.attachment = attachment
    this.#frames = frames
    // Its pages have physical addresses, but no pins.
    frames.pin(attachment.pages, 'mmio')
  }

  /** The last area is gone. */
  close(): void {
    this.#frames.unpin(this.attachment.pages)
    this.attachment.detach()
  }

  revoke(): void {
    if (this.revoked) return
    this.revoked = true
    for (const ioas of this.#shownBy.keys()) ioas.dmaBufRevoked(this)
  }

  shown(by: ShowsDmaBuf): void {
    this.#shownBy.set(by, (this.#shownBy.get(by) ?? 0) + 1)
  }

  hidden(by: ShowsDmaBuf): void {
    const areas = (this.#shownBy.get(by) ?? 0) - 1
    if (areas > 0) this.#shownBy.set(by, areas)
    else this.#shownBy.delete(by)
  }
}

/** Makes the owners of new page sources; sources of one process share one. */
export class SourceOwners {
  readonly #context: Context
  #last: ChargedOwner | undefined

  constructor(context: Context) {
    this.#context = context
  }

  /** The owner of what this process maps now, with the mode of 01 §17.3. */
  of(process: Process): ChargedOwner {
    const mode: ChargeMode = process.capable('CAP_IPC_LOCK') ? 'none' : this.#context.accounting
    return this.withMode(process, mode)
  }

  /** The owner of what this process takes over: the mode stays (01 §16). */
  withMode(process: Process, mode: ChargeMode): ChargedOwner {
    const { addressSpace: space, uid } = process
    const last = this.#last
    if (
      last !== undefined &&
      last.process === process &&
      last.space === space &&
      last.uid === uid &&
      last.mode === mode
    )
      return last
    this.#last = { process, space, uid, mode, deviceMemory: this.#context.takesDeviceMemory }
    return this.#last
  }
}
