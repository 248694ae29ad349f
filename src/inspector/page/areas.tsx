/** Areas in words: the one that was pointed at, and those in view. */
import { hex } from '../../abi/brands.ts'
import { byteCount } from '../model/call-text.ts'
import { givenUpBehind } from '../model/given-up.ts'
import { reservedRanges } from '../model/map-picture.ts'
import { around } from '../model/map-view.ts'
import type { AreaState, IoasState } from '../model/moment.ts'
import { meeting, noRanges, withRange } from '../model/range-set.ts'
import { pointed } from './address-space.tsx'
import {
  call,
  chosenHwpt,
  chosenView,
  context,
  goToCall,
  ioas,
  moment,
  tab,
  timeline,
  view,
  walkedIova,
} from './state.ts'

/** As many areas as are listed. */
const MOST = 50

const permissions = ({ readable, writable }: AreaState): string =>
  `${readable ? 'R' : '-'}${writable ? 'W' : '-'}`

const sizeOf = ({ start, last }: { start: bigint; last: bigint }): string =>
  byteCount(last - start + 1n)

export const CallLink = ({ number }: { readonly number: number }) => {
  const position = timeline.positionOf(number)
  const made = position === undefined ? undefined : timeline.calls[position - 1]
  if (number === 0) return <span>no call</span>
  return (
    <>
      <button type="button" class="link mono" onClick={() => goToCall(number)}>
        #{number}
      </button>
      {made === undefined ? '' : ` of process ${made.event.pid}`}
    </>
  )
}

/** What is at the address that was pointed at. */
export const AreaDetails = () => {
  const point = pointed.value
  const space = point === undefined ? undefined : context.value?.ioases.get(point.ioas)
  if (point === undefined || space === undefined)
    return (
      <p class="soft">
        Wheel or + − zoom, dragging or arrows move, n and p go from area to area; click for details.
      </p>
    )
  const area = space.areas.atOrBefore(point.at)
  if (area === undefined || area.last < point.at) return <Unmapped space={space} at={point.at} />
  return (
    <section aria-label="The area pointed at" class="stack" style={{ gap: '6px' }}>
      <div class="row">
        <h2 class="mono">
          {hex(area.start)} … {hex(area.last)}
        </h2>
        <span class="badge">{sizeOf(area)}</span>
        <span class="badge">{permissions(area)}</span>
        <button
          type="button"
          class="link"
          onClick={() => {
            walkedIova.value = area.start
            chosenHwpt.value = undefined
            tab.value = 'table'
          }}
        >
          walk the page table
        </button>
      </div>
      <p>
        IOAS {space.id} maps {area.source}, by call <CallLink number={area.call} />.{' '}
        {area.copyOf !== undefined &&
          `A copy of ${hex(area.copyOf.iova)} in IOAS ${area.copyOf.ioas}. `}
        <Copies space={space} area={area} />
      </p>
      <Gone area={area} />
      <Traffic space={space} area={area} />
    </section>
  )
}

const Unmapped = ({ space, at }: { readonly space: IoasState; readonly at: bigint }) => {
  const reserved = reservedRanges(space).find(({ start, last }) => start <= at && at <= last)
  return (
    <p>
      <code>{hex(at)}</code> of IOAS {space.id}{' '}
      {reserved === undefined
        ? 'is free: nothing is mapped there.'
        : `cannot be mapped: ${hex(reserved.start)} … ${hex(reserved.last)} is reserved.`}
    </p>
  )
}

/** Where else the same memory is mapped. */
const Copies = ({ space, area }: { readonly space: IoasState; readonly area: AreaState }) => {
  const others: string[] = []
  for (const other of context.value?.ioases.values() ?? []) {
    // Looking through very many areas for a sentence would be felt.
    if (other.areas.size > 20_000) continue
    for (const each of other.areas.values())
      if (
        each.shared === area.shared &&
        (other.id !== space.id || each.start !== area.start) &&
        others.length < 4
      )
        others.push(`${hex(each.start)} in IOAS ${other.id}`)
  }
  return others.length === 0 ? null : <>The same memory is mapped at {others.join(', ')}.</>
}

/** The process that mapped it has other memory there now, or none. */
const Gone = ({ area }: { readonly area: AreaState }) => {
  const gone = givenUpBehind(moment.value, area)
  return gone === undefined ? null : (
    <p class="error">
      Its memory was given up by {gone.by} in call #{gone.call}: devices still use the old pages,
      which the program does not see any more.
    </p>
  )
}

const Traffic = ({ space, area }: { readonly space: IoasState; readonly area: AreaState }) => {
  let reads = 0
  let writes = 0
  let device = ''
  for (const spot of meeting(space.heat, area)) {
    reads += spot.reads
    writes += spot.writes
    device = spot.device
  }
  let dirty = 0n
  for (const range of meeting(space.dirty, area)) dirty += range.last - range.start + 1n
  const pins = [...meeting(pinRanges(space), area)].length
  const facts = [
    ...(reads + writes > 0
      ? [`${device} read ${reads} and wrote ${writes} times by DMA since the beginning`]
      : []),
    ...(dirty > 0n ? [`${byteCount(dirty)} are dirty`] : []),
    ...(pins > 0 ? [`accesses pin it at ${pins} places`] : []),
  ]
  return facts.length === 0 ? null : <p class="soft">{facts.join('; ')}.</p>
}

const pinRanges = (space: IoasState) => {
  let ranges = noRanges
  for (const pins of space.pins.values())
    for (const { start, last } of pins) ranges = withRange(ranges, { start, last })
  return ranges
}

export const AreasInView = () => {
  const space = ioas.value
  if (space === undefined) return null
  const { start, span } = view.value
  const range = { start, last: start + span - 1n }
  const seen: AreaState[] = []
  for (const area of meeting(space.areas, range)) {
    if (seen.length === MOST) break
    seen.push(area)
  }
  const more = space.areas.sum(range.start, range.last).count - seen.length
  const now = call.value?.event.call
  return (
    <details>
      <summary>
        Areas in view: {seen.length}
        {more > 0 ? ` and ${more} more` : ''}
      </summary>
      <table>
        <thead>
          <tr>
            <th class="right">IOVA</th>
            <th class="right">Bytes</th>
            <th>May</th>
            <th class="right">Call</th>
            <th>Source</th>
          </tr>
        </thead>
        <tbody>
          {seen.map((area) => (
            <tr key={String(area.start)} aria-selected={area.call === now}>
              <td class="mono right">
                <button
                  type="button"
                  class="link mono"
                  onClick={() => {
                    chosenView.value = around(area)
                    pointed.value = { ioas: space.id, at: area.start }
                  }}
                >
                  {hex(area.start)}
                </button>
              </td>
              <td class="mono right">{hex(area.last - area.start + 1n)}</td>
              <td class="mono">{permissions(area)}</td>
              <td class="mono right">
                <CallLinkShort number={area.call} />
              </td>
              <td>{area.source}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </details>
  )
}

const CallLinkShort = ({ number }: { readonly number: number }) => (
  <button type="button" class="link mono" onClick={() => goToCall(number)}>
    #{number}
  </button>
)
