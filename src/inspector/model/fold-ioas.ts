/** What events do to one I/O address space. */
import { userVa } from '../../abi/brands.ts'
import type { EngineEvent } from '../../engine/events.ts'
import type { AreaState, ContextState, HeatState, IoasState, PinState } from './moment.ts'
import { type Range, withoutRange, withRange } from './range-set.ts'

type EventOf<Type extends EngineEvent['type']> = EngineEvent & { readonly type: Type }

const PAGE = 4096n
/** DMA that begins at more places than this is counted by 2 MiB. */
const HEAT_PLACES = 20_000
const COARSE = 0x20_0000n

const rangeOf = ({ iova, length }: { iova: bigint; length: bigint }): Range => ({
  start: iova,
  last: iova + length - 1n,
})

export const foldAreas = (
  ioas: IoasState,
  event: EventOf<'area-mapped' | 'area-unmapped' | 'area-split'>,
  { context, number }: { readonly context: ContextState; readonly number: number },
): IoasState => {
  const { areas } = ioas
  switch (event.type) {
    case 'area-mapped':
      return { ...ioas, areas: areas.with(event.iova, mapped(event, context, number)) }
    case 'area-unmapped':
      return {
        ...ioas,
        areas: areas.without(event.iova),
        dirty: ioas.dirty.size === 0 ? ioas.dirty : withoutRange(ioas.dirty, rangeOf(event)),
      }
    case 'area-split': {
      const area = areas.atOrBefore(event.after)
      if (area === undefined || area.last <= event.after) return ioas
      const next = event.after + 1n
      return {
        ...ioas,
        areas: areas
          .with(area.start, { ...area, last: event.after })
          .with(next, secondPart(area, next)),
      }
    }
  }
}

const secondPart = (area: AreaState, start: bigint): AreaState => {
  const { memory } = area
  if (memory === undefined) return { ...area, start }
  const address = userVa(memory.address + start - area.start)
  return { ...area, start, memory: { ...memory, address } }
}

const mapped = (
  event: EventOf<'area-mapped'>,
  context: ContextState,
  number: number,
): AreaState => {
  const { source, readable, writable, call, copyOf, memory } = event
  const original =
    copyOf === undefined
      ? undefined
      : context.ioases.get(copyOf.ioas)?.areas.atOrBefore(copyOf.iova)
  return {
    ...rangeOf(event),
    source,
    readable,
    writable,
    call,
    shared: original?.shared ?? number,
    ...(copyOf === undefined ? {} : { copyOf }),
    ...(memory === undefined ? {} : { memory }),
  }
}

export const foldPins = (
  ioas: IoasState,
  event: EventOf<'access-pinned' | 'access-unpinned'>,
): IoasState => {
  const range = rangeOf(event)
  const here = ioas.pins.get(range.start) ?? []
  if (event.type === 'access-pinned') {
    const pin: PinState = { ...range, access: event.access, call: event.call }
    return { ...ioas, pins: ioas.pins.with(range.start, [...here, pin]) }
  }
  const gone = here.findIndex(({ access, last }) => access === event.access && last === range.last)
  if (gone < 0) return ioas
  const left = here.filter((_, index) => index !== gone)
  return {
    ...ioas,
    pins: left.length === 0 ? ioas.pins.without(range.start) : ioas.pins.with(range.start, left),
  }
}

/** `tracked`: pages that are written become dirty. */
export const foldDma = (
  ioas: IoasState,
  event: EventOf<'dma' | 'dma-fault'>,
  tracked: boolean,
): IoasState => {
  const range = event.type === 'dma' ? rangeOf(event) : { start: event.iova, last: event.iova }
  const coarse = ioas.heat.size >= HEAT_PLACES && ioas.heat.get(range.start) === undefined
  const start = coarse ? range.start - (range.start % COARSE) : range.start
  const before = ioas.heat.get(start)
  const one = event.type === 'dma-fault' ? 'faults' : event.write ? 'writes' : 'reads'
  const counted: HeatState = {
    start,
    last: before !== undefined && before.last > range.last ? before.last : range.last,
    reads: before?.reads ?? 0,
    writes: before?.writes ?? 0,
    faults: before?.faults ?? 0,
    device: event.device,
    call: event.call,
  }
  const heat = ioas.heat.with(start, { ...counted, [one]: counted[one] + 1 })
  if (!tracked || one !== 'writes') return { ...ioas, heat }
  const pages = { start: range.start - (range.start % PAGE), last: range.last | (PAGE - 1n) }
  return { ...ioas, heat, dirty: withRange(ioas.dirty, pages) }
}

export const foldDirtyRead = (ioas: IoasState, event: EventOf<'dirty-read'>): IoasState => {
  const range = rangeOf(event)
  // What lies behind the point where the walk stopped was not looked at.
  const { stoppedAt } = event
  const seen = stoppedAt === undefined ? range : { ...range, last: stoppedAt - 1n }
  const { hwpt, dirty, cleared, call } = event
  return {
    ...ioas,
    lastDirtyRead: { ...range, hwpt, dirty, cleared, call },
    dirty: cleared && seen.last >= seen.start ? withoutRange(ioas.dirty, seen) : ioas.dirty,
  }
}
