/** The address space, from 2^64 down to a page, moved over like a street map. */
import { signal, useSignalEffect } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { hex, type ObjectId } from '../../abi/brands.ts'
import { byteCount } from '../model/call-text.ts'
import { givenUpBehind } from '../model/given-up.ts'
import { addressAt, around, centred, moved, nextArea, WHOLE, zoomed } from '../model/map-view.ts'
import type { IoasState } from '../model/moment.ts'
import { ioasOfCall, refusedRanges } from '../model/refused-ranges.ts'
import { AreaDetails, AreasInView } from './areas.tsx'
import { type DrawnMap, MapCanvas } from './map-canvas.ts'
import {
  beside,
  besideIoas,
  call,
  chosenIoas,
  chosenView,
  context,
  ioas,
  isDark,
  moment,
  view,
  walkedIova,
} from './state.ts'

/** The address that was pointed at last, and in which IOAS. */
export const pointed = signal<{ readonly ioas: ObjectId; readonly at: bigint } | undefined>(
  undefined,
)
const size = signal({ width: 0, height: 0 })

const steps: readonly (readonly [string, bigint])[] = [
  ['16 EiB', 1n << 64n],
  ['256 TiB', 1n << 48n],
  ['512 GiB', 1n << 39n],
  ['4 GiB', 1n << 32n],
  ['16 MiB', 1n << 24n],
  ['64 KiB', 1n << 16n],
]

/** The zoom that a wheel's movement is worth. */
const wheelFactor = (delta: number): number => 2 ** (Math.max(-240, Math.min(240, delta)) / 160)

const goNext = (direction: 'up' | 'down'): void => {
  const space = ioas.value
  if (space === undefined) return
  const { start, span } = view.value
  const seen = pointed.value
  const here =
    seen !== undefined && seen.ioas === space.id && seen.at >= start && seen.at < start + span
      ? seen.at
      : undefined
  const edge = direction === 'down' ? start - 1n : start + span
  const area = nextArea(space, here ?? edge, direction)
  if (area === undefined) return
  const length = area.last - area.start + 1n
  const at = area.start + length / 2n
  // As close as before, unless the area would be lost in it.
  chosenView.value = length * 400n < span ? around(area) : centred(view.value, at)
  pointed.value = { ioas: space.id, at: area.start }
}

const keys: Readonly<Record<string, () => void>> = {
  ArrowUp: () => (chosenView.value = moved(view.value, -0.15)),
  ArrowDown: () => (chosenView.value = moved(view.value, 0.15)),
  PageUp: () => (chosenView.value = moved(view.value, -0.9)),
  PageDown: () => (chosenView.value = moved(view.value, 0.9)),
  '+': () => (chosenView.value = zoomed(view.value, 0.5)),
  '=': () => (chosenView.value = zoomed(view.value, 0.5)),
  '-': () => (chosenView.value = zoomed(view.value, 2)),
  Home: () => (chosenView.value = WHOLE),
  f: () => (chosenView.value = undefined),
  n: () => goNext('down'),
  p: () => goNext('up'),
}

const SpaceMap = () => {
  const canvas = useRef<HTMLCanvasElement>(null)
  const painter = useRef<MapCanvas | undefined>(undefined)
  const drawn = useRef<DrawnMap>({ columns: [], drawn: 0 })
  const pointers = useRef(new Map<number, PointerEvent>())
  const moves = useRef(false)

  useSignalEffect(() => {
    const element = canvas.current
    isDark.value
    painter.current?.forgetColours()
    const one = ioas.value
    const other = beside.value
    const { width, height } = size.value
    if (element === null || width === 0) return
    const drawing = element.getContext('2d')
    if (drawing === null) return
    painter.current ??= new MapCanvas(drawing)
    const looked = call.value?.event
    const now = moment.value
    drawn.current = painter.current.draw(width, height, {
      spaces: [...(one === undefined ? [] : [one]), ...(other === undefined ? [] : [other])],
      view: view.value,
      call: looked?.call,
      isGone: (area) => givenUpBehind(now, area) !== undefined,
      refused: {
        ioas: looked && ioasOfCall(looked),
        ranges: looked === undefined ? [] : refusedRanges(looked),
      },
      mark: walkedIova.value,
    })
    element.dataset['drawn'] = String(drawn.current.drawn)
  })

  useEffect(() => {
    const element = canvas.current
    if (element === null) return
    const watch = new ResizeObserver(() => {
      size.value = { width: element.clientWidth, height: element.clientHeight }
    })
    watch.observe(element)
    // Added by hand, to be allowed to keep the page from scrolling.
    const onWheel = (event: WheelEvent): void => {
      event.preventDefault()
      const { top } = element.getBoundingClientRect()
      const at = (event.clientY - top) / element.clientHeight
      chosenView.value = event.shiftKey
        ? moved(view.value, event.deltaY / element.clientHeight)
        : zoomed(view.value, wheelFactor(event.deltaY), at)
    }
    element.addEventListener('wheel', onWheel, { passive: false })
    return () => {
      watch.disconnect()
      element.removeEventListener('wheel', onWheel)
    }
  }, [])

  const point = (event: PointerEvent): void => {
    const element = canvas.current
    if (element === null) return
    const { top, left } = element.getBoundingClientRect()
    const x = event.clientX - left
    const column = drawn.current.columns.find((each) => x >= each.left && x <= each.right)
    const at = addressAt(view.value, (event.clientY - top) / element.clientHeight)
    const space = column?.ioas ?? ioas.value
    if (space === undefined) return
    pointed.value = { ioas: space.id, at: nearest(column, event.clientY - top, at) }
  }

  const onPointerMove = (event: PointerEvent): void => {
    const before = pointers.current.get(event.pointerId)
    const element = canvas.current
    if (before === undefined || element === null) return
    const others = [...pointers.current.values()].filter(
      ({ pointerId }) => pointerId !== event.pointerId,
    )
    const [other] = others
    if (other !== undefined) {
      const was = Math.abs(before.clientY - other.clientY) + 1
      const is = Math.abs(event.clientY - other.clientY) + 1
      chosenView.value = zoomed(view.value, was / is)
    } else
      chosenView.value = moved(view.value, (before.clientY - event.clientY) / element.clientHeight)
    if (Math.abs(before.clientY - event.clientY) > 1) moves.current = true
    pointers.current.set(event.pointerId, event)
  }

  return (
    <div
      class="map"
      role="application"
      // biome-ignore lint/a11y/noNoninteractiveTabindex: the map is moved with the keyboard
      tabIndex={0}
      aria-label={description()}
      aria-keyshortcuts="+ - ArrowUp ArrowDown Home f n p"
      onKeyDown={(event) => {
        const act = keys[event.key]
        if (act === undefined || event.ctrlKey || event.metaKey) return
        event.preventDefault()
        event.stopPropagation()
        act()
      }}
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId)
        pointers.current.set(event.pointerId, event)
        moves.current = false
      }}
      onPointerMove={onPointerMove}
      onPointerUp={(event) => {
        pointers.current.delete(event.pointerId)
        if (!moves.current) point(event)
      }}
      onPointerCancel={(event) => pointers.current.delete(event.pointerId)}
    >
      <canvas ref={canvas} />
    </div>
  )
}

/** What is small is hit a little beside it, too. */
const nearest = (
  column: DrawnMap['columns'][number] | undefined,
  y: number,
  at: bigint,
): bigint => {
  const haze = column?.areas.haze.find(({ top, bottom }) => y >= top - 3 && y <= bottom + 3)
  if (column === undefined || haze === undefined) return at
  const area = column.ioas.areas.atOrBefore(at)
  if (area !== undefined && area.last >= at) return at
  return haze.range.start
}

const description = (): string => {
  const space = ioas.value
  if (space === undefined) return 'No I/O address space exists at this moment'
  const { start, span } = view.value
  const seen = space.areas.sum(start, start + span - 1n).count
  return `IOAS ${space.id}: ${seen} of ${space.areas.size} areas begin between ${hex(start)} and ${hex(start + span - 1n)}. Plus and minus zoom, arrows move, n and p go to the next and previous area, f shows all.`
}

const SpaceSelect = ({
  label,
  value,
  spaces,
  none,
  onChoose,
}: {
  readonly label: string
  readonly value: IoasState | undefined
  readonly spaces: readonly IoasState[]
  readonly none?: string
  readonly onChoose: (id: ObjectId | undefined) => void
}) => (
  <select
    aria-label={label}
    value={value?.id ?? ''}
    onChange={({ currentTarget }) =>
      onChoose(spaces.find(({ id }) => String(id) === currentTarget.value)?.id)
    }
  >
    {none !== undefined && <option value="">{none}</option>}
    {spaces.map((space) => (
      <option key={space.id} value={space.id}>
        IOAS {space.id}
        {context.value?.compatIoas === space.id ? ' (compat)' : ''}
      </option>
    ))}
  </select>
)

export const AddressSpace = () => {
  const spaces = [...(context.value?.ioases.values() ?? [])]
  const space = ioas.value
  if (space === undefined) return <p class="soft">No I/O address space exists at this moment.</p>
  const { start, span } = view.value
  return (
    <div class="space">
      <div class="row">
        <SpaceSelect
          label="I/O address space"
          value={space}
          spaces={spaces}
          onChoose={(id) => {
            chosenIoas.value = id
          }}
        />
        {spaces.length > 1 && (
          <SpaceSelect
            label="I/O address space beside it"
            value={beside.value}
            spaces={spaces.filter(({ id }) => id !== space.id)}
            none="nothing beside it"
            onChoose={(id) => {
              besideIoas.value = id ?? 'none'
            }}
          />
        )}
        <span class="grow" />
        <Moves />
      </div>
      <div class="row">
        <code>
          {hex(start)} … {hex(start + span - 1n)}
        </code>
        <span class="soft">{byteCount(span)}</span>
        <span class="grow" />
        <div class="scale">
          {steps.map(([label, wanted]) => (
            <button
              type="button"
              key={label}
              aria-label={`Show ${label}`}
              aria-pressed={span <= wanted && span > wanted / 16n}
              onClick={() => {
                const at = pointed.value?.at ?? start + span / 2n
                chosenView.value = wanted === WHOLE.span ? WHOLE : centred(view.value, at, wanted)
              }}
            >
              {label}
            </button>
          ))}
        </div>
      </div>
      <SpaceMap />
      <Legend space={space} />
      <AreaDetails />
      <AreasInView />
    </div>
  )
}

const Moves = () => (
  <div class="row">
    <button type="button" title="Previous area (p)" onClick={() => goNext('up')}>
      ↑ area
    </button>
    <button type="button" title="Next area (n)" onClick={() => goNext('down')}>
      ↓ area
    </button>
    <button
      type="button"
      aria-label="Zoom out"
      title="Zoom out (-)"
      onClick={() => {
        chosenView.value = zoomed(view.value, 2)
      }}
    >
      −
    </button>
    <button
      type="button"
      aria-label="Zoom in"
      title="Zoom in (+)"
      onClick={() => {
        chosenView.value = zoomed(view.value, 0.5)
      }}
    >
      +
    </button>
    <button
      type="button"
      title="Show all that is mapped (f)"
      aria-pressed={chosenView.value === undefined}
      onClick={() => {
        chosenView.value = undefined
      }}
    >
      Fit
    </button>
  </div>
)

const Legend = ({ space }: { readonly space: IoasState }) => {
  const entries: readonly (readonly [string, string, boolean])[] = [
    ['--map', 'writable', true],
    ['--map-read-only', 'read-only', true],
    ['--map-shared', 'copy', true],
    ['--map-chosen', 'by the chosen call', true],
    ['--error', 'refused', call.value !== undefined && refusedRanges(call.value.event).length > 0],
    ['--error', 'memory given up', moment.value.givenUp.size > 0],
    ['--reserved', 'reserved', true],
    ['--allowed', 'allowed', space.allowed.length > 0],
    ['--heat', 'DMA', space.heat.size > 0],
    ['--pin', 'pinned', space.pins.size > 0],
    ['--dirty', 'dirty', space.dirty.size > 0],
  ]
  return (
    <div class="legend">
      {entries
        .filter(([, , shown]) => shown)
        .map(([colour, label]) => (
          <span key={label}>
            <i style={{ background: `var(${colour})` }} />
            {label}
          </span>
        ))}
    </div>
  )
}
