/** The run from its first call to its last: how long calls took, which failed, what was found, and where we are. */
import { useSignalEffect } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'
import { duration } from '../model/call-text.ts'
import { isTyping } from './keyboard.ts'
import { call, chosenPosition, end, goTo, isDark, position, timeline, version } from './state.ts'

/** Pixels that the axis of durations takes. */
const AXIS = 62
/** Room at the right for half a label. */
const RIGHT = 20

type Series = (number | null)[]
type Points = [number[], Series, Series, Series, Series]

/** Calls are drawn one by one up to so many; beyond, groups of neighbours by their extremes. */
const COLUMNS = 600

/** Fastest and slowest call that succeeded, slowest that failed, and a finding, in microseconds, by position. */
const points = (): Points => {
  const found = new Set(timeline.findings.map((finding) => finding.position))
  const failed = new Set(timeline.errors)
  const data: Points = [[], [], [], [], []]
  const [positions, ...series] = data
  const group = Math.max(1, Math.ceil(timeline.end / COLUMNS))
  for (let first = 1; first <= timeline.end; first += group) {
    const column: (number | null)[] = [null, null, null, null]
    for (let at = first; at < first + group && at <= timeline.end; at++) {
      const took = Math.max(0.1, (timeline.calls[at - 1]?.stamp?.took ?? 1000) / 1000)
      if (failed.has(at)) column[2] = Math.max(column[2] ?? 0, took)
      else {
        column[0] = Math.min(column[0] ?? took, took)
        column[1] = Math.max(column[1] ?? 0, took)
      }
      if (found.has(at)) column[3] = took
    }
    positions.push(first)
    for (const [index, value] of column.entries()) series[index]?.push(value)
  }
  return data
}

const colour = (name: string): string =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim()

/** Positions are counted; calls have numbers, of which some belong to calls that are not shown. */
const callNumber = (at: number): string => `#${timeline.calls[at - 1]?.event.call ?? at}`

/** Powers of ten, as many as have room. */
const decades = (low: number, high: number, room: number): number[] => {
  const first = Math.ceil(Math.log10(low))
  const last = Math.floor(Math.log10(high))
  const step = Math.max(1, Math.ceil((last - first) / Math.max(1, room - 1)))
  const all: number[] = []
  for (let power = first; power <= last; power += step) all.push(10 ** power)
  return all
}

const dots = (name: string, size: number): uPlot.Series => ({
  stroke: colour(name),
  paths: () => null,
  points: { show: true, size, fill: colour(name), stroke: colour(name), width: 0 },
})

const makeChart = (element: HTMLElement, data: Points): uPlot =>
  new uPlot(
    {
      width: element.clientWidth,
      height: element.clientHeight,
      padding: [6, RIGHT, 0, 0],
      cursor: { show: false },
      legend: { show: false },
      scales: {
        x: { time: false, range: (_, low, high) => [Math.min(0, low), Math.max(high, 1)] },
        y: {
          distr: 3,
          range: (_, low, high) => [Math.min(low || 1, 1) / 2, Math.max(high || 1, 10) * 2],
        },
      },
      axes: [
        {
          size: 18,
          gap: 2,
          stroke: colour('--soft'),
          font: '11px system-ui, sans-serif',
          grid: { show: false },
          ticks: { show: false },
          incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 1e6],
          values: (_, values) => values.map(callNumber),
        },
        {
          size: AXIS,
          gap: 4,
          stroke: colour('--soft'),
          font: '11px system-ui, sans-serif',
          grid: { stroke: colour('--line'), width: 1 },
          ticks: { show: false },
          filter: (_, splits) => splits,
          splits: (plot, _axis, low, high) => decades(low, high, plot.height / 20),
          values: (_, values) =>
            values.map((value) => duration(Math.round(value * 1000)).replace('.0', '')),
        },
      ],
      series: [{}, dots('--faint', 3), dots('--faint', 3), dots('--error', 6), dots('--dirty', 8)],
    },
    data,
    element,
  )

const Chart = () => {
  const box = useRef<HTMLDivElement>(null)
  const chart = useRef<uPlot | undefined>(undefined)
  const drawn = useRef(-1)

  useSignalEffect(() => {
    const element = box.current
    const dark = isDark.value
    if (element === null) return
    chart.current?.destroy()
    // The chart takes colours once: another theme needs another one.
    chart.current = makeChart(element, points())
    element.dataset['theme'] = String(dark)
    drawn.current = timeline.end
  })

  useSignalEffect(() => {
    version.value
    if (drawn.current === timeline.end) return
    drawn.current = timeline.end
    chart.current?.setData(points())
  })

  useEffect(() => {
    const element = box.current
    if (element === null) return
    const watch = new ResizeObserver(() =>
      chart.current?.setSize({ width: element.clientWidth, height: element.clientHeight }),
    )
    watch.observe(element)
    return () => watch.disconnect()
  }, [])

  const onClick = (event: MouseEvent): void => {
    const plot = chart.current
    const left = box.current?.getBoundingClientRect().left
    if (plot === undefined || left === undefined) return
    goTo(Math.round(plot.posToVal(event.clientX - left - AXIS, 'x')))
  }

  const share = end.value === 0 ? 1 : position.value / end.value
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the slider below does the same for the keyboard
    // biome-ignore lint/a11y/noStaticElementInteractions: as above
    <div class="chart" onClick={onClick}>
      <div ref={box} style={{ height: '100%' }} aria-hidden="true" />
      <div
        class="here"
        style={{ left: `calc(${AXIS}px + (100% - ${AXIS + RIGHT}px) * ${share})` }}
      />
    </div>
  )
}

/** To the next or previous call that failed or at which something was found. */
export const goToTrouble = (direction: 1 | -1): void => {
  const places = [
    ...new Set([...timeline.errors, ...timeline.findings.map((finding) => finding.position)]),
  ].sort((a, b) => a - b)
  const here = position.value
  const next =
    direction === 1
      ? places.find((place) => place > here)
      : places.reverse().find((place) => place < here)
  if (next !== undefined) goTo(next)
}

const shortcuts: Readonly<Record<string, () => void>> = {
  ',': () => goTo(position.value - 1),
  '.': () => goTo(position.value + 1),
  e: () => goToTrouble(1),
  E: () => goToTrouble(-1),
  l: () => goTo(undefined),
}

export const TimeLine = () => {
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (isTyping(event)) return
      const act = shortcuts[event.key]
      if (act === undefined) return
      event.preventDefault()
      act()
    }
    addEventListener('keydown', onKey)
    return () => removeEventListener('keydown', onKey)
  }, [])

  const here = position.value
  const last = end.value
  const following = chosenPosition.value === undefined
  const at = call.value?.stamp?.at
  return (
    <section class="time" aria-label="Time line">
      <Chart />
      <input
        class="slider"
        style={{ marginLeft: `${AXIS - 8}px`, width: `calc(100% - ${AXIS + RIGHT - 16}px)` }}
        type="range"
        min={0}
        max={last}
        value={here}
        aria-label="Moment that is shown"
        aria-valuetext={`after call ${here} of ${last}`}
        onInput={({ currentTarget }) => goTo(Number(currentTarget.value))}
      />
      <div class="row">
        <div class="steps">
          <button type="button" title="First (before any call)" onClick={() => goTo(0)}>
            <Icon name="first" label="To the beginning" />
          </button>
          <button type="button" title="One call back (,)" onClick={() => goTo(here - 1)}>
            <Icon name="back" label="One call back" />
          </button>
          <button type="button" title="One call on (.)" onClick={() => goTo(here + 1)}>
            <Icon name="on" label="One call on" />
          </button>
          <button
            type="button"
            title="Follow the end (l)"
            aria-pressed={following}
            onClick={() => goTo(undefined)}
          >
            <Icon name="last" label="Follow the end" />
          </button>
        </div>
        <span class="mono grow ellipsis">
          {here} of {last}
          {call.value === undefined ? '' : ` · #${call.value.event.call}`}
          {at === undefined ? '' : ` · ${duration(at)}`}
        </span>
        <button
          type="button"
          title="Next failed call or finding (e; back with Shift+e)"
          disabled={timeline.errors.length + timeline.findings.length === 0}
          onClick={() => goToTrouble(1)}
        >
          Next error
        </button>
      </div>
    </section>
  )
}

const shapes = {
  first: 'M3 2v10M12 2 5 7l7 5z',
  back: 'M10 2 4 7l6 5z',
  on: 'M4 2l6 5-6 5z',
  last: 'M2 2l7 5-7 5zM11 2v10',
} as const

const Icon = ({ name, label }: { readonly name: keyof typeof shapes; readonly label: string }) => (
  <svg width="14" height="14" viewBox="0 0 14 14" role="img" aria-label={label}>
    <path d={shapes[name]} fill="currentColor" stroke="currentColor" stroke-width="1.5" />
  </svg>
)
