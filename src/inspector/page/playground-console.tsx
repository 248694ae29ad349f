/** Where calls are typed, with completion and help, and scenarios are chosen. */
import { computed, signal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { platforms } from '../../iommu/platforms.ts'
import { type Completion, completionsFor } from '../playground/completion.ts'
import { scenarios } from '../playground/scenarios.ts'
import {
  ahead,
  begin,
  config,
  type Exchange,
  exchanges,
  restart,
  runAll,
  runLine,
  runNext,
  scenario,
  session,
} from './playground-state.ts'

const text = signal('')
const showing = signal(false)
const chosen = signal(0)
/** Lines that were typed, and which of them is shown. */
const history: string[] = []
let recalled = 0

const completions = computed(() => {
  exchanges.value
  return showing.value ? completionsFor(text.value, session.variables) : { from: 0, list: [] }
})

const accept = (completion: Completion): void => {
  const { from } = completions.value
  const space = completion.text.endsWith('=') ? '' : ' '
  text.value = `${text.value.slice(0, from)}${completion.text}${space}`
  chosen.value = 0
  showing.value = true
}

const submit = (): void => {
  const line = text.value.trim()
  showing.value = false
  text.value = ''
  if (line === '') {
    runNext()
    return
  }
  history.push(line)
  recalled = history.length
  runLine(line)
}

const recall = (step: number): void => {
  recalled = Math.max(0, Math.min(history.length, recalled + step))
  text.value = history[recalled] ?? ''
  showing.value = false
}

const onKeyDown = (event: KeyboardEvent): void => {
  const { list } = completions.value
  const open = list.length > 0
  const act: (() => void) | undefined = {
    ArrowDown: () => (open ? choose(1) : recall(1)),
    ArrowUp: () => (open ? choose(-1) : recall(-1)),
    Tab: open ? () => accept(list[chosen.value] ?? list[0] ?? { text: '', about: '' }) : undefined,
    Escape: () => {
      showing.value = false
    },
  }[event.key]
  if (act === undefined) return
  event.preventDefault()
  act()
}

const choose = (step: number): void => {
  const { length } = completions.value.list
  chosen.value = (chosen.value + step + length) % length
}

export const Console = () => (
  <div class="console">
    <Scenarios />
    <Said />
    <Prompt />
  </div>
)

const Scenarios = () => {
  const current = scenario.value
  return (
    <>
      <div class="row">
        <select
          class="grow"
          aria-label="Scenario"
          value={current?.name ?? ''}
          onChange={({ currentTarget }) => {
            const wanted = scenarios.find(({ name }) => name === currentTarget.value)
            if (wanted === undefined) restart(config.value)
            else begin(wanted)
          }}
        >
          <option value="">An empty machine</option>
          {scenarios.map(({ name, title }) => (
            <option key={name} value={name}>
              {title}
            </option>
          ))}
        </select>
        <select
          aria-label="Platform"
          title="Whose IOMMU the PCI function stands behind"
          value={config.value.platform}
          onChange={({ currentTarget }) =>
            restart({ ...config.value, platform: currentTarget.value })
          }
        >
          {platforms.map(({ name }) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
      </div>
      {current !== undefined && <p class="soft">{current.about}</p>}
    </>
  )
}

const Said = () => {
  const box = useRef<HTMLDivElement>(null)
  const all = exchanges.value
  useEffect(() => {
    const element = box.current
    if (element !== null) element.scrollTop = element.scrollHeight
  }, [all])
  return (
    <div
      ref={box}
      class="said mono"
      role="log"
      aria-label="What was typed and answered"
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what overflows is scrolled with the keyboard
      tabIndex={0}
    >
      {all.length === 0 && (
        <span class="soft">
          {ahead.value.length > 0
            ? 'Step through the scenario, or run all of it.'
            : 'Type a call, or choose a scenario. help says what there is.'}
        </span>
      )}
      {all.map((exchange, index) => (
        <Said1 key={`${index} ${exchange.line}`} exchange={exchange} />
      ))}
    </div>
  )
}

const Said1 = ({ exchange: { line, outcome } }: { readonly exchange: Exchange }) => (
  <div>
    <span class={line.startsWith('#') ? 'soft' : 'typed'}>{line}</span>
    {outcome.text !== '' && (
      <>
        {'\n'}
        <span class={outcome.failed ? 'error' : ''}>{outcome.text}</span>
      </>
    )}
  </div>
)

const Prompt = () => {
  const { list } = completions.value
  const next = ahead.value.find((line) => !line.startsWith('#'))
  return (
    <form
      class="prompt"
      onSubmit={(event) => {
        event.preventDefault()
        submit()
      }}
    >
      <input
        class="mono"
        type="text"
        role="combobox"
        aria-label="Call"
        aria-expanded={list.length > 0}
        aria-controls="completions"
        aria-autocomplete="list"
        aria-activedescendant={list.length > 0 ? `completion-${chosen.value}` : undefined}
        autocomplete="off"
        autocapitalize="off"
        spellcheck={false}
        placeholder={next ?? 'ioas = IOAS_ALLOC'}
        value={text.value}
        onInput={({ currentTarget }) => {
          text.value = currentTarget.value
          chosen.value = 0
          showing.value = currentTarget.value !== ''
        }}
        onKeyDown={onKeyDown}
        onBlur={() => {
          showing.value = false
        }}
      />
      {next === undefined ? (
        <button type="submit">Run</button>
      ) : (
        <>
          <button type="button" onClick={runNext}>
            Step
          </button>
          <button type="button" onClick={runAll}>
            Run all
          </button>
        </>
      )}
      {list.length > 0 && (
        <div
          class="completions mono"
          id="completions"
          role="listbox"
          aria-label="Completions"
          tabIndex={-1}
        >
          {list.map((completion, index) => (
            // biome-ignore lint/a11y/useKeyWithClickEvents: the field above has the keyboard
            <div
              key={completion.text}
              id={`completion-${index}`}
              role="option"
              tabIndex={-1}
              aria-selected={index === chosen.value}
              onMouseDown={(event) => {
                event.preventDefault()
                accept(completion)
              }}
              onClick={(event) => event.preventDefault()}
            >
              <span>{completion.text}</span>
              <span class="soft ellipsis">{completion.about}</span>
            </div>
          ))}
        </div>
      )}
    </form>
  )
}
