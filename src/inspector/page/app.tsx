/** The page: header, time line, calls, and the views of the moment that is shown. */
import type { ComponentChild } from 'preact'
import { useEffect } from 'preact/hooks'
import { AddressSpace } from './address-space.tsx'
import { CallDetails } from './call-details.tsx'
import { CallList } from './call-list.tsx'
import { Findings } from './findings.tsx'
import { isTyping } from './keyboard.ts'
import { Objects } from './object-graph.tsx'
import { PageTable } from './page-table.tsx'
import {
  chosenContext,
  context,
  end,
  failedOnly,
  filterText,
  isDark,
  moment,
  origin,
  type Tab,
  tab,
  theme,
  timeline,
  version,
} from './state.ts'
import { TimeLine } from './time-line.tsx'
import { isNarrow } from './use-width.ts'

/** Name, label, and label where there is little room. */
const tabs: readonly (readonly [Tab, string, string])[] = [
  ['calls', 'Calls', 'Calls'],
  ['space', 'Address space', 'Space'],
  ['objects', 'Objects', 'Objects'],
  ['table', 'Page table', 'Table'],
  ['findings', 'Findings', 'Findings'],
]

const Header = () => {
  const { kind, name, state } = origin.value
  const contexts = [...moment.value.contexts.values()]
  return (
    <header>
      <h1>iommufd-user</h1>
      <span class="soft ellipsis grow" title={name}>
        {name}
      </span>
      {state !== '' && (
        <span class={`badge${kind === 'live' ? ' live' : ''}`} role="status">
          {state}
        </span>
      )}
      {contexts.length > 1 && (
        <select
          aria-label="Context"
          value={context.value?.number ?? ''}
          onChange={({ currentTarget }) => {
            chosenContext.value = Number(currentTarget.value)
          }}
        >
          {contexts.map(({ number, pid }) => (
            <option key={number} value={number}>
              context {number} (process {pid})
            </option>
          ))}
        </select>
      )}
      <button
        type="button"
        aria-label={isDark.value ? 'Use light colours' : 'Use dark colours'}
        title="Light or dark"
        onClick={() => {
          theme.value = isDark.value ? 'light' : 'dark'
        }}
      >
        {isDark.value ? 'Light' : 'Dark'}
      </button>
    </header>
  )
}

const Calls = () => (
  <>
    <div class="calls-head row">
      <input
        type="search"
        aria-label="Filter calls"
        placeholder="Filter: map, EEXIST, 0x1000 …"
        value={filterText.value}
        onInput={({ currentTarget }) => {
          filterText.value = currentTarget.value
        }}
      />
      <button
        type="button"
        aria-pressed={failedOnly.value}
        onClick={() => {
          failedOnly.value = !failedOnly.value
        }}
      >
        Failed
      </button>
    </div>
    <CallList />
    <CallDetails />
  </>
)

const contents: Readonly<Record<Exclude<Tab, 'calls'>, () => ComponentChild>> = {
  space: () => <AddressSpace />,
  objects: () => <Objects />,
  table: () => <PageTable />,
  findings: () => <Findings />,
}

const findingsLabel = (): string => {
  version.value
  const { length } = timeline.findings
  return length === 0 ? 'Findings' : `Findings (${length})`
}

const Views = ({ console }: { readonly console: ComponentChild }) => {
  const narrow = isNarrow.value
  const shown = !narrow && tab.value === 'calls' ? 'space' : tab.value
  return (
    <main class="views">
      <div class="tabs" role="tablist" aria-label="Views" onKeyDown={moveTab}>
        {tabs
          .filter(([name]) => narrow || name !== 'calls')
          .map(([name, label, short]) => (
            <button
              type="button"
              key={name}
              role="tab"
              id={`tab-${name}`}
              aria-selected={name === shown}
              aria-controls="view"
              tabIndex={name === shown ? 0 : -1}
              onClick={() => {
                tab.value = name
              }}
            >
              {name === 'findings' ? findingsLabel() : narrow ? short : label}
            </button>
          ))}
      </div>
      {shown === 'calls' ? (
        <div class="calls-side" id="view" role="tabpanel" aria-labelledby="tab-calls">
          {console}
          <Calls />
        </div>
      ) : (
        <div class="view" id="view" role="tabpanel" aria-labelledby={`tab-${shown}`}>
          {contents[shown]()}
        </div>
      )}
    </main>
  )
}

const moveTab = (event: KeyboardEvent): void => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key]
  if (step === undefined) return
  const names = tabs.map(([name]) => name).filter((name) => isNarrow.value || name !== 'calls')
  const next = names[(names.indexOf(tab.value) + step + names.length) % names.length]
  if (next === undefined) return
  tab.value = next
  document.getElementById(`tab-${next}`)?.focus()
}

export interface AppProps {
  /** Where calls are typed; only the playground has it. */
  readonly console?: ComponentChild
  /** What is said before there is anything to see. */
  readonly welcome?: ComponentChild
}

export const App = ({ console, welcome }: AppProps) => {
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (isTyping(event) || event.key !== '/') return
      event.preventDefault()
      document.querySelector<HTMLInputElement>('[aria-label="Filter calls"]')?.focus()
    }
    addEventListener('keydown', onKey)
    return () => removeEventListener('keydown', onKey)
  }, [])

  const empty = end.value === 0 && welcome !== undefined && origin.value.kind === 'nothing'
  return (
    <>
      <Header />
      <TimeLine />
      {!isNarrow.value && (
        <section class="calls-side" aria-label="Calls of the run">
          {console}
          <Calls />
        </section>
      )}
      {empty ? <main class="views">{welcome}</main> : <Views console={console} />}
    </>
  )
}
