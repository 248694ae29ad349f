/** All calls of a run, of which only those are in the document that can be seen. */
import { computed, signal } from '@preact/signals'
import { useLayoutEffect, useRef } from 'preact/hooks'
import { hex } from '../../abi/brands.ts'
import { Refusal } from '../../engine/reason.ts'
import { callArguments, caller, callName, duration, resultText } from '../model/call-text.ts'
import { shortName } from '../model/short-names.ts'
import type { CallEntry } from '../model/timeline.ts'
import { failedOnly, filterText, goTo, position, timeline, version } from './state.ts'

const ROW = 26
/** Rows kept beyond each end of what is seen. */
const MARGIN = 6

const scrolled = signal(0)
const height = signal(400)

/** What is searched, by call: made once, because decoding all calls takes a while. */
const searched = new WeakMap<CallEntry, string>()

const searchText = (entry: CallEntry): string => {
  const known = searched.get(entry)
  if (known !== undefined) return known
  const { event } = entry
  const text =
    `#${event.call} ${callName(event)} ${callArguments(event)} ${resultText(event)} ${caller(entry)} ${event.file ?? ''}`.toLowerCase()
  searched.set(entry, text)
  return text
}

const matches = (entry: CallEntry, words: readonly string[]): boolean => {
  const text = searchText(entry)
  return words.every((word) => text.includes(word))
}

/** Positions of the calls that are listed; undefined for all of them. */
const listed = computed<readonly number[] | undefined>(() => {
  version.value
  const words = filterText.value
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== '')
  const candidates = failedOnly.value ? timeline.errors : undefined
  if (words.length === 0) return candidates?.slice()
  const found: number[] = []
  const look = (at: number): void => {
    const entry = timeline.calls[at - 1]
    if (entry !== undefined && matches(entry, words)) found.push(at)
  }
  if (candidates !== undefined) for (const at of candidates) look(at)
  else for (let at = 1; at <= timeline.end; at++) look(at)
  return found
})

const count = computed(() => {
  version.value
  return listed.value?.length ?? timeline.end
})

const positionAt = (index: number): number => listed.value?.[index] ?? index + 1

/** The row of a position; where it is not listed, the one before it. */
const indexOf = (wanted: number): number => {
  const list = listed.value
  if (list === undefined) return wanted - 1
  let low = 0
  let high = list.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((list[middle] ?? 0) <= wanted) low = middle + 1
    else high = middle
  }
  return low - 1
}

const keys: Readonly<Record<string, (index: number, page: number) => number>> = {
  ArrowDown: (index) => index + 1,
  ArrowUp: (index) => index - 1,
  PageDown: (index, page) => index + page,
  PageUp: (index, page) => index - page,
  Home: () => 0,
  End: () => Number.POSITIVE_INFINITY,
}

export const CallList = () => {
  const box = useRef<HTMLDivElement>(null)

  const total = count.value
  const here = position.value

  // The chosen call is always in sight.
  useLayoutEffect(() => {
    const element = box.current
    if (element === null) return
    const top = indexOf(here) * ROW
    if (top < element.scrollTop) element.scrollTop = Math.max(0, top)
    else if (top + ROW > element.scrollTop + element.clientHeight)
      element.scrollTop = top + ROW - element.clientHeight
    scrolled.value = element.scrollTop
    height.value = element.clientHeight
  }, [here, total])

  const onKeyDown = (event: KeyboardEvent): void => {
    const move = keys[event.key]
    if (move === undefined) return
    event.preventDefault()
    const page = Math.max(1, Math.floor(height.value / ROW) - 1)
    const index = move(indexOf(position.value), page)
    goTo(positionAt(Math.max(0, Math.min(count.value - 1, index))))
  }

  const first = Math.max(0, Math.floor(scrolled.value / ROW) - MARGIN)
  const last = Math.min(total, Math.ceil((scrolled.value + height.value) / ROW) + MARGIN)
  return (
    <div
      ref={box}
      class="scroller"
      role="listbox"
      aria-label="Calls"
      tabIndex={0}
      aria-activedescendant={`call-${here}`}
      onScroll={({ currentTarget }) => {
        scrolled.value = currentTarget.scrollTop
        height.value = currentTarget.clientHeight
      }}
      onKeyDown={onKeyDown}
    >
      <div style={{ height: `${total * ROW}px` }} role="presentation">
        {Array.from({ length: Math.max(0, last - first) }, (_, offset) => {
          const index = first + offset
          const at = positionAt(index)
          const entry = timeline.calls[at - 1]
          return entry === undefined ? null : (
            <CallRow key={at} entry={entry} at={at} index={index} total={total} here={here} />
          )
        })}
      </div>
      {total === 0 && (
        <p class="soft" style={{ padding: '12px 14px' }}>
          {nothing()}
        </p>
      )}
    </div>
  )
}

const nothing = (): string =>
  timeline.end === 0 ? 'No call has been made yet.' : 'No call fits the filter.'

interface RowProps {
  readonly entry: CallEntry
  readonly at: number
  readonly index: number
  readonly total: number
  readonly here: number
}

const CallRow = ({ entry, at, index, total, here }: RowProps) => {
  const { event, stamp } = entry
  const failed = event.result instanceof Refusal
  const name = callName(event)
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the list has the keyboard, as listboxes do
    <div
      id={`call-${at}`}
      class={`call mono${at > here ? ' later' : ''}`}
      role="option"
      tabIndex={-1}
      aria-selected={at === here}
      aria-posinset={index + 1}
      aria-setsize={total}
      style={{ top: `${index * ROW}px` }}
      title={event.operation === 'ioctl' ? `${event.file ?? ''} ${hex(event.request ?? 0)}` : ''}
      onClick={() => goTo(at)}
    >
      <span class="number">{event.call}</span>
      <span>{shortName(name)}</span>
      <span class="arguments">{callArguments(event)}</span>
      <span class={`result${failed ? ' error' : ''}`}>{resultText(event)}</span>
      <span class="took">{stamp?.took === undefined ? '' : duration(stamp.took)}</span>
    </div>
  )
}
