/**
 * The process that serves the inspector of a run: `inspector-main FILE PORT [temporary]`. It writes its
 * address, or what went wrong, to standard output as JSON. Standard input ends with the run; this process
 * ends when no page has followed for a while after that, and takes a temporary recording along.
 */
import { rmSync } from 'node:fs'
import { dirname } from 'node:path'
import type { InspectorAnswer } from './inspector.ts'
import { serveRecording } from './inspector-server.ts'

/** Milliseconds that the page can still be opened, or reloaded, after the run. */
const STAYS = 60_000
const LOOK = 500

const [file = '', port = '0', temporary] = process.argv.slice(2)

const answer = (message: InspectorAnswer): void => {
  process.stdout.write(`${JSON.stringify(message)}\n`)
}

const main = async (): Promise<void> => {
  const server = await serveRecording({ file, live: true, port: Number(port) })
  answer({ url: server.url })
  const end = (): void => {
    if (temporary !== undefined) rmSync(dirname(file), { recursive: true, force: true })
    process.exit(0)
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, end)
  let running = true
  let followed = Date.now()
  process.stdin.on('end', () => {
    running = false
    followed = Date.now()
  })
  process.stdin.resume()
  setInterval(() => {
    if (running || server.followers > 0) followed = Date.now()
    else if (Date.now() - followed > STAYS) end()
  }, LOOK)
}

main().catch((error: unknown) => {
  answer({ problem: error instanceof Error ? error.message : String(error) })
})
