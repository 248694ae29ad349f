/** Memory that its process gave up while it was mapped for DMA: devices go on with pages that nobody sees. */
import type { EngineEvent } from '../../engine/events.ts'
import type { AreaState, GivenUp, Moment } from './moment.ts'
import { OrderedMap } from './ordered-map.ts'
import { meeting } from './range-set.ts'

type Replaced = EngineEvent & { readonly type: 'memory-replaced' }

/** What is given up again counts anew. */
export const withGivenUp = (
  all: Moment['givenUp'],
  { space, start, end, call, by }: Replaced,
): Moment['givenUp'] => {
  if (end <= start) return all
  const last = end - 1n
  let ofSpace = all.get(space) ?? OrderedMap.empty<bigint, GivenUp>()
  for (const older of meeting(ofSpace, { start, last })) {
    ofSpace = ofSpace.without(older.start)
    if (older.start < start) ofSpace = ofSpace.with(older.start, { ...older, last: start - 1n })
    if (older.last > last) ofSpace = ofSpace.with(last + 1n, { ...older, start: last + 1n })
  }
  return all.with(space, ofSpace.with(start, { start, last, call, by }))
}

/** What was given up of the memory behind an area since it was mapped; the latest of it. */
export const givenUpBehind = ({ givenUp }: Moment, area: AreaState): GivenUp | undefined => {
  const { memory } = area
  const ofSpace = memory === undefined ? undefined : givenUp.get(memory.space)
  if (memory === undefined || ofSpace === undefined) return undefined
  const last = memory.address + area.last - area.start
  let latest: GivenUp | undefined
  for (const one of meeting(ofSpace, { start: memory.address, last }))
    if (one.call > area.call && (latest === undefined || one.call > latest.call)) latest = one
  return latest
}
