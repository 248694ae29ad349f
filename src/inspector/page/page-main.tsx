/**
 * The inspector's page. Served by the command it follows the stream that is beside it; opened as a file
 * it asks for a recording.
 */
import { render } from 'preact'
import { useRef } from 'preact/hooks'
import { App } from './app.tsx'
import { follow, openFile } from './recording-source.ts'
import { origin } from './state.ts'

const open = async (file: File | undefined): Promise<void> => {
  if (file === undefined) return
  const problem = await openFile(file)
  if (problem !== undefined) origin.value = { kind: 'nothing', name: problem, state: 'unreadable' }
}

const Welcome = () => {
  const input = useRef<HTMLInputElement>(null)
  return (
    <div class="welcome stack">
      <h2>Open a recording</h2>
      <p>
        Drop a file here that <code>iommufd-user run --record FILE</code> has made, or choose one.
        Nothing leaves this computer.
      </p>
      <input
        ref={input}
        type="file"
        aria-label="Recording"
        onChange={({ currentTarget }) => void open(currentTarget.files?.[0])}
      />
    </div>
  )
}

addEventListener('dragover', (event) => event.preventDefault())
addEventListener('drop', (event) => {
  event.preventDefault()
  void open(event.dataTransfer?.files[0])
})

const root = document.getElementById('page')
if (root !== null) render(<App welcome={<Welcome />} />, root)

const parameters = new URLSearchParams(location.search)
if (location.protocol.startsWith('http'))
  follow(`events${location.search}`, parameters.get('kind') === 'recording' ? 'recording' : 'live')
