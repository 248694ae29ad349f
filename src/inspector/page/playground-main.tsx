/** The playground: the inspector's page with the engine in it. `#NAME` behind the address plays a scenario. */
import { render } from 'preact'
import { usualConfig } from '../playground/playground-machine.ts'
import { scenarios } from '../playground/scenarios.ts'
import { App } from './app.tsx'
import { Console } from './playground-console.tsx'
import { begin, restart, runAll } from './playground-state.ts'
import { tab } from './state.ts'
import { isNarrow } from './use-width.ts'

const [first] = scenarios

const play = (): void => {
  const wanted = scenarios.find(({ name }) => `#${name}` === location.hash)
  if (wanted !== undefined) {
    begin(wanted)
    runAll()
  } else if (first === undefined) restart(usualConfig)
  else begin(first)
}

addEventListener('hashchange', play)
play()
if (isNarrow.value) tab.value = 'calls'

const root = document.getElementById('page')
if (root !== null) render(<App console={<Console />} />, root)
