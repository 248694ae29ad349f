/**
 * The IOAS as the specification tells it, page by page and without any cleverness: areas in a list,
 * holders counted per slot, pages looked up one by one (01 §6, §12 to §17, §20; 04 §2, §3).
 */
import type { ErrnoName } from '../../../src/abi/errno.ts'

const P = 4096n
const MAX = 0xffff_ffff_ffff_ffffn

export type Outcome = ErrnoName | 'ok'

/** What a page is: any value that is === for the same page. */
export type Page = object

export interface ModelSource {
  /** Byte address of slot 0, byte 0 (page aligned). */
  readonly origin: bigint
  readonly writable: boolean
  readonly holders: Map<bigint, number>
  readonly recorded: Map<bigint, Page>
}

export interface ModelArea {
  first: bigint
  last: bigint
  readonly source: ModelSource
  /** Byte of the source where it starts, from slot 0. */
  readonly offset: bigint
  readonly readable: boolean
  readonly writable: boolean
  pins: number
}

export interface ModelDomain {
  readonly smallest: bigint
  readonly start: bigint
  readonly end: bigint
}

export interface ModelPin {
  readonly iova: bigint
  readonly length: bigint
}

/** Stops an operation; what it did so far is undone by the caller. */
class Stop extends Error {
  readonly errno: ErrnoName
  constructor(errno: ErrnoName) {
    super(errno)
    this.errno = errno
  }
}

/** The memory of the one process, and what is charged to its user. */
export class ModelMachine {
  /** Virtual page to page. */
  readonly memory = new Map<bigint, Page>()
  limit = 1n << 40n
  charged = 0n

  /** Takes what nobody holds; returns the slots taken. */
  hold(source: ModelSource, slots: readonly bigint[]): bigint[] {
    const fresh = slots.filter((slot) => (source.holders.get(slot) ?? 0) === 0)
    for (const slot of fresh)
      if (!this.memory.has(source.origin / P + slot)) throw new Stop('EFAULT')
    for (const slot of slots) source.holders.set(slot, (source.holders.get(slot) ?? 0) + 1)
    for (const slot of fresh)
      source.recorded.set(slot, this.memory.get(source.origin / P + slot) as Page)
    if (fresh.length > 0 && this.charged + BigInt(fresh.length) > this.limit) {
      this.charged += BigInt(fresh.length)
      this.release(source, slots)
      throw new Stop('ENOMEM')
    }
    this.charged += BigInt(fresh.length)
    return fresh
  }

  release(source: ModelSource, slots: readonly bigint[]): void {
    for (const slot of slots) {
      const left = (source.holders.get(slot) ?? 0) - 1
      if (left < 0) throw new Error('the model let go of what nobody held')
      if (left > 0) source.holders.set(slot, left)
      else {
        source.holders.delete(slot)
        source.recorded.delete(slot)
        this.charged -= 1n
      }
    }
  }
}

const slotsOf = (offset: bigint, length: bigint): bigint[] => {
  const slots: bigint[] = []
  for (let slot = offset / P; slot <= (offset + length - 1n) / P; slot += 1n) slots.push(slot)
  return slots
}

const lengthOf = (area: ModelArea): bigint => area.last - area.first + 1n
const slotsOfArea = (area: ModelArea): bigint[] => slotsOf(area.offset, lengthOf(area))

export class ModelIoas {
  readonly machine: ModelMachine
  areas: ModelArea[] = []
  readonly domains: ModelDomain[] = []
  readonly reserved: { owner: object; first: bigint; last: bigint }[] = []
  allowed: { first: bigint; last: bigint }[] = []
  largePages = true
  /** Alignments of the attached accesses. */
  readonly accesses: bigint[] = []
  pins: ModelPin[] = []

  constructor(machine: ModelMachine) {
    this.machine = machine
  }

  get alignment(): bigint {
    return [
      this.largePages ? 1n : P,
      ...this.domains.map(({ smallest }) => smallest),
      ...this.accesses,
    ].reduce((a, b) => (a > b ? a : b))
  }

  #try(operation: () => void): Outcome {
    try {
      operation()
      return 'ok'
    } catch (error) {
      if (error instanceof Stop) return error.errno
      throw error
    }
  }

  #overlapping(first: bigint, last: bigint): ModelArea[] {
    return this.areas
      .filter((area) => area.first <= last && area.last >= first)
      .sort((a, b) => (a.first < b.first ? -1 : 1))
  }

  #conforms(alignment: bigint): boolean {
    return this.areas.every(
      (area) => (area.first | lengthOf(area) | (area.offset % P)) % alignment === 0n,
    )
  }

  // --- 01 §12

  map(
    va: bigint,
    length: bigint,
    iova: bigint | undefined,
    readable: boolean,
    writable: boolean,
  ): { outcome: Outcome; iova?: bigint } {
    let used: bigint | undefined
    const outcome = this.#try(() => {
      if (length === 0n) throw new Stop('EINVAL')
      if (length % this.alignment !== 0n) throw new Stop('EINVAL')
      used = this.#place(va, length, iova)
      if ((va % P) % this.alignment !== 0n) throw new Stop('EINVAL')
      const source: ModelSource = {
        origin: va - (va % P),
        writable,
        holders: new Map(),
        recorded: new Map(),
      }
      const area = {
        first: used,
        last: used + length - 1n,
        source,
        offset: va % P,
        readable,
        writable,
        pins: 0,
      }
      if (this.domains.length > 0) this.machine.hold(source, slotsOfArea(area))
      this.areas.push(area)
    })
    return outcome === 'ok' && used !== undefined ? { outcome, iova: used } : { outcome }
  }

  #place(address: bigint, length: bigint, iova: bigint | undefined): bigint {
    if (iova === undefined) return this.#choose(address, length)
    if (iova % this.alignment !== 0n) throw new Stop('EINVAL')
    const last = iova + length - 1n
    if (last > MAX) throw new Stop('EOVERFLOW')
    if (this.reserved.some((one) => one.first <= last && one.last >= iova)) throw new Stop('EINVAL')
    if (this.#overlapping(iova, last).length > 0) throw new Stop('EEXIST')
    return iova
  }

  /** 01 §12.3, step by step. */
  #choose(address: bigint, length: bigint): bigint {
    const off = address % P
    let align = 1n
    while (align < length) align *= 2n
    if (address !== 0n) {
      const low = address & -address
      if (low < align) align = low
    }
    if (align > 0x20_0000n) align = 0x20_0000n
    if (align < this.alignment) throw new Stop('EINVAL')
    const place = (first: bigint, last: bigint): bigint | undefined => {
      const t = (((first + align - 1n) / align) * align) | off
      return t < last && last - t >= length - 1n ? t : undefined
    }
    for (const { first, last } of this.#windows()) {
      const start = place(first, last)
      if (start === undefined) continue
      const taken = [...this.areas, ...this.reserved].sort((a, b) => (a.first < b.first ? -1 : 1))
      let from = start
      for (const one of [...taken, { first: last + 1n, last: last + 1n }]) {
        if (one.last < from) continue
        if (one.first > from) {
          const t = place(from, one.first - 1n < last ? one.first - 1n : last)
          if (t !== undefined) return t
        }
        from = one.last + 1n
        if (from > last) break
      }
    }
    throw new Stop('ENOSPC')
  }

  #windows(): { first: bigint; last: bigint }[] {
    const low = P
    const high = MAX - P
    if (this.allowed.length === 0) return [{ first: low, last: high }]
    const sorted = [...this.allowed].sort((a, b) => (a.first < b.first ? -1 : 1))
    const merged: { first: bigint; last: bigint }[] = []
    for (const { first, last } of sorted) {
      const before = merged.at(-1)
      if (before !== undefined && before.last + 1n === first) before.last = last
      else merged.push({ first, last })
    }
    return merged
      .map(({ first, last }) => ({
        first: first < low ? low : first,
        last: last > high ? high : last,
      }))
      .filter(({ first, last }) => first <= last)
  }

  // --- 01 §14

  copy(
    from: ModelIoas,
    sourceIova: bigint,
    length: bigint,
    iova: bigint | undefined,
    readable: boolean,
    writable: boolean,
  ): { outcome: Outcome; iova?: bigint } {
    let used: bigint | undefined
    const placed: ModelArea[] = []
    const outcome = this.#try(() => {
      if (length === 0n) throw new Stop('EINVAL')
      const last = sourceIova + length - 1n
      const pieces: { area: ModelArea; offset: bigint; length: bigint }[] = []
      for (let at = sourceIova; at <= last; ) {
        const area = from.areas.find((one) => one.first <= at && one.last >= at)
        if (area === undefined) throw new Stop('ENOENT')
        const end = area.last < last ? area.last : last
        pieces.push({ area, offset: area.offset + at - area.first, length: end - at + 1n })
        at = end + 1n
      }
      if (length % this.alignment !== 0n) throw new Stop('EINVAL')
      const [first] = pieces as [(typeof pieces)[0]]
      used = this.#place(first.area.source.origin + first.offset, length, iova)
      for (const { area, offset } of pieces) {
        if (writable && !area.source.writable) throw new Stop('EPERM')
        if ((offset % P) % this.alignment !== 0n) throw new Stop('EINVAL')
      }
      let at = used
      for (const { area, offset, length: bytes } of pieces) {
        const { source } = area
        const made = {
          first: at,
          last: at + bytes - 1n,
          source,
          offset,
          readable,
          writable,
          pins: 0,
        }
        if (this.domains.length > 0) this.machine.hold(source, slotsOfArea(made))
        placed.push(made)
        at += bytes
      }
      this.areas.push(...placed)
    })
    if (outcome !== 'ok' && this.domains.length > 0)
      for (const area of placed) this.machine.release(area.source, slotsOfArea(area))
    return outcome === 'ok' && used !== undefined ? { outcome, iova: used } : { outcome }
  }

  // --- 01 §15.1, with accesses that let go at once

  unmap(first: bigint, last: bigint): { outcome: Outcome; removed: bigint } {
    let removed = 0n
    const outcome = this.#try(() => {
      for (const area of this.#overlapping(first, last)) {
        if (area.first < first || area.last > last) throw new Stop('ENOENT')
        if (area.pins > 0)
          for (const pin of [...this.pins])
            if (pin.iova <= area.last && pin.iova + pin.length - 1n >= area.first) this.unpin(pin)
        if (this.domains.length > 0) this.machine.release(area.source, slotsOfArea(area))
        this.areas.splice(this.areas.indexOf(area), 1)
        removed += lengthOf(area)
      }
    })
    return { outcome, removed }
  }

  // --- 01 §20.2

  cut(after: bigint): Outcome {
    return this.#try(() => {
      const area = this.areas.find((one) => one.first <= after && one.last >= after)
      if (area === undefined || area.first === after || area.last === after) return
      const offset = area.offset + after + 1n - area.first
      if ((after + 1n) % this.alignment !== 0n || offset % this.alignment !== 0n)
        throw new Stop('EINVAL')
      if (area.pins > 0) throw new Stop('EINVAL')
      if (this.domains.length > 0 && this.largePages) throw new Stop('EINVAL')
      const second = { ...area, first: after + 1n, offset }
      area.last = after
      this.areas.push(second)
      if (this.domains.length > 0 && offset % P !== 0n)
        area.source.holders.set(offset / P, (area.source.holders.get(offset / P) ?? 0) + 1)
    })
  }

  // --- 01 §7

  addDomain(domain: ModelDomain): Outcome {
    const outside = [
      { first: 0n, last: domain.start - 1n },
      { first: domain.end + 1n, last: MAX },
    ].filter(({ first, last }) => first <= last)
    const filled: ModelArea[] = []
    const outcome = this.#try(() => {
      const { alignment } = this
      if (domain.smallest > alignment && !this.#conforms(domain.smallest))
        throw new Stop('EADDRINUSE')
      for (const { first, last } of outside) {
        if (this.#overlapping(first, last).length > 0) throw new Stop('EADDRINUSE')
        if (this.allowed.some((one) => one.first <= last && one.last >= first))
          throw new Stop('EADDRINUSE')
      }
      if (this.domains.length === 0)
        for (const area of this.#overlapping(0n, MAX)) {
          this.machine.hold(area.source, slotsOfArea(area))
          filled.push(area)
        }
    })
    if (outcome === 'ok') {
      this.domains.push(domain)
      for (const { first, last } of outside) this.reserved.push({ owner: domain, first, last })
    } else for (const area of filled) this.machine.release(area.source, slotsOfArea(area))
    return outcome
  }

  removeDomain(domain: ModelDomain): void {
    this.domains.splice(this.domains.indexOf(domain), 1)
    if (this.domains.length === 0)
      for (const area of this.areas) this.machine.release(area.source, slotsOfArea(area))
    for (const one of [...this.reserved])
      if (one.owner === domain) this.reserved.splice(this.reserved.indexOf(one), 1)
  }

  setLargePages(enabled: boolean): Outcome {
    return this.#try(() => {
      if (!enabled) {
        if (!this.largePages) return
        if (this.domains.length > 0 && this.areas.length > 0) throw new Stop('EINVAL')
        if (!this.#conforms(P)) throw new Stop('EADDRINUSE')
      }
      this.largePages = enabled
    })
  }

  allow(ranges: readonly { first: bigint; last: bigint }[]): Outcome {
    return this.#try(() => {
      for (const { first, last } of ranges)
        if (this.reserved.some((one) => one.first <= last && one.last >= first))
          throw new Stop('EADDRINUSE')
      this.allowed = ranges.map((range) => ({ ...range }))
    })
  }

  // --- 04 §2

  attachAccess(alignment: bigint): Outcome {
    return this.#try(() => {
      if (!this.#conforms(alignment)) throw new Stop('EADDRINUSE')
      this.accesses.push(alignment)
    })
  }

  detachAccess(alignment: bigint): void {
    // Only the access with alignment P pins.
    if (alignment === P) for (const pin of [...this.pins]) this.unpin(pin)
    this.accesses.splice(this.accesses.indexOf(alignment), 1)
  }

  pin(iova: bigint, length: bigint, write: boolean): Outcome {
    const held: { area: ModelArea; slots: bigint[] }[] = []
    const outcome = this.#try(() => {
      if (length === 0n) throw new Stop('EINVAL')
      this.#walkPin(iova, length, (area, from, to) => {
        const offset = area.offset + from - area.first
        if (offset % P !== 0n) throw new Stop('EINVAL')
        const end = area.offset + to - area.first + 1n
        if (to < iova + length - 1n && end % P !== 0n) throw new Stop('EINVAL')
        if (write ? !area.writable : !area.readable) throw new Stop('EPERM')
        const slots = slotsOf(offset, to - from + 1n)
        this.machine.hold(area.source, slots)
        held.push({ area, slots })
      })
      for (const { area } of held) area.pins += 1
      this.pins.push({ iova, length })
    })
    if (outcome !== 'ok')
      for (const { area, slots } of held) this.machine.release(area.source, slots)
    return outcome
  }

  unpin(pin: ModelPin): void {
    this.pins.splice(
      this.pins.findIndex(({ iova, length }) => iova === pin.iova && length === pin.length),
      1,
    )
    this.#walkPin(pin.iova, pin.length, (area, from, to) => {
      area.pins -= 1
      this.machine.release(area.source, slotsOf(area.offset + from - area.first, to - from + 1n))
    })
  }

  #walkPin(
    iova: bigint,
    length: bigint,
    visit: (area: ModelArea, from: bigint, to: bigint) => void,
  ): void {
    const last = iova + length - 1n
    for (let at = iova; at <= last; ) {
      const area = this.areas.find((one) => one.first <= at && one.last >= at)
      if (area === undefined) throw new Stop('ENOENT')
      const to = area.last < last ? area.last : last
      visit(area, at, to)
      at = to + 1n
    }
  }
}
