/** What the page looks at, as signals: everything on it follows from these and the time line. */
import { computed, effect, signal } from '@preact/signals'
import type { ObjectId } from '../../abi/brands.ts'
import type { EngineEvent } from '../../engine/events.ts'
import type { Stamp } from '../../engine/observer.ts'
import { fitting, type MapView, WHOLE } from '../model/map-view.ts'
import type { ContextState, IoasState, Moment } from '../model/moment.ts'
import { type CallEntry, Timeline } from '../model/timeline.ts'
import { isNarrow } from './use-width.ts'

/** Where the events come from, for the header. */
export interface Origin {
  readonly kind: 'live' | 'recording' | 'playground' | 'nothing'
  readonly name: string
  readonly state: string
}

export type Tab = 'calls' | 'space' | 'objects' | 'table' | 'findings'

export let timeline = new Timeline()
/** Rises when the time line has grown; whoever reads the time line reads it first. */
export const version = signal(0)
export const origin = signal<Origin>({ kind: 'nothing', name: '', state: '' })

/** The position that all views show; undefined follows the end. */
export const chosenPosition = signal<number | undefined>(undefined)
export const tab = signal<Tab>('space')
export const chosenContext = signal<number | undefined>(undefined)
export const chosenIoas = signal<ObjectId | undefined>(undefined)
/** The IOAS beside it; undefined where nobody chose, which shows two of two. */
export const besideIoas = signal<ObjectId | 'none' | undefined>(undefined)
export const chosenObject = signal<ObjectId | undefined>(undefined)
/** The address that the page table is walked for; also a mark in the address space. */
export const walkedIova = signal<bigint | undefined>(undefined)
export const chosenHwpt = signal<ObjectId | undefined>(undefined)
/** Undefined fits what is mapped. */
export const chosenView = signal<MapView | undefined>(undefined)
export const filterText = signal('')
export const failedOnly = signal(false)

export const end = computed(() => {
  version.value
  return timeline.end
})

export const position = computed(() => {
  const chosen = chosenPosition.value
  return chosen === undefined || chosen > end.value ? end.value : chosen
})

export const moment = computed<Moment>(() => {
  version.value
  return chosenPosition.value === undefined ? timeline.latest : timeline.momentAt(position.value)
})

export const call = computed<CallEntry | undefined>(() => {
  version.value
  return timeline.calls[position.value - 1]
})

export const context = computed<ContextState | undefined>(() => {
  const { contexts } = moment.value
  const chosen = chosenContext.value
  if (chosen !== undefined) {
    const found = contexts.get(chosen)
    if (found !== undefined) return found
  }
  const made = call.value?.event.context
  return (made === undefined ? undefined : contexts.get(made)) ?? contexts.atOrAfter(0)
})

export const ioas = computed<IoasState | undefined>(() => {
  const spaces = context.value?.ioases
  const chosen = chosenIoas.value
  return (chosen === undefined ? undefined : spaces?.get(chosen)) ?? spaces?.atOrAfter(0)
})

export const beside = computed<IoasState | undefined>(() => {
  const chosen = besideIoas.value
  const spaces = context.value?.ioases
  if (chosen === 'none' || spaces === undefined) return undefined
  if (chosen !== undefined) {
    const found = spaces.get(chosen)
    return found === ioas.value ? undefined : found
  }
  if (spaces.size !== 2 || isNarrow.value) return undefined
  return [...spaces.values()].find((space) => space !== ioas.value)
})

export const view = computed<MapView>(() => {
  const chosen = chosenView.value
  if (chosen !== undefined) return chosen
  const one = ioas.value
  return one === undefined ? WHOLE : fitting([one, ...(beside.value ? [beside.value] : [])])
})

/** To a position; at its end a run that goes on is followed, and else the last call looked at. */
export const goTo = (wanted: number | undefined): void => {
  const { kind, state } = origin.value
  const goesOn = kind === 'playground' || (kind === 'live' && state === 'live')
  if (wanted === undefined || (wanted >= timeline.end && goesOn)) chosenPosition.value = undefined
  else chosenPosition.value = Math.max(0, Math.min(timeline.end, Math.floor(wanted)))
}

/** To where a recording is best looked at first. */
export const goToStart = (): void => {
  version.value += 1
  chosenPosition.value = timeline.lastMapped()
}

/** To the call with this number, where it is known. */
export const goToCall = (number: number): void => {
  const found = timeline.positionOf(number)
  if (found !== undefined) chosenPosition.value = found
}

export const showArea = (id: ObjectId, at: MapView): void => {
  chosenIoas.value = id
  chosenView.value = at
  tab.value = 'space'
}

let waiting = false
/** Milliseconds between two pictures of a run that goes on. */
const PAUSE = 100

/** Any number of events; the page is drawn again once for all of them. */
export const append = (event: EngineEvent, stamp?: Stamp): void => {
  timeline.append(event, stamp)
  if (waiting) return
  waiting = true
  setTimeout(() => {
    waiting = false
    version.value += 1
  }, PAUSE)
}

/** Everything from the beginning, for another recording. */
export const startOver = (from: Origin): void => {
  timeline = new Timeline()
  origin.value = from
  for (const choice of [chosenPosition, chosenContext, chosenIoas, besideIoas, chosenObject])
    choice.value = undefined
  for (const choice of [walkedIova, chosenHwpt, chosenView]) choice.value = undefined
  version.value += 1
}

// --- light and dark

export type Theme = 'system' | 'light' | 'dark'

const THEME = 'iommufd-user-theme'
const remembered = (): Theme => {
  try {
    const value = localStorage.getItem(THEME)
    return value === 'light' || value === 'dark' ? value : 'system'
  } catch {
    return 'system'
  }
}
export const theme = signal<Theme>(remembered())
const systemDark = matchMedia('(prefers-color-scheme: dark)')
const systemIsDark = signal(systemDark.matches)
systemDark.addEventListener('change', ({ matches }) => {
  systemIsDark.value = matches
})
export const isDark = computed(() =>
  theme.value === 'system' ? systemIsDark.value : theme.value === 'dark',
)
effect(() => {
  document.documentElement.dataset['theme'] = isDark.value ? 'dark' : 'light'
  try {
    localStorage.setItem(THEME, theme.value)
  } catch {
    // A page from a file may have no storage; then the choice lasts as long as the page.
  }
})
