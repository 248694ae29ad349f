/** The inspector of a run: where it is recorded to, and the process that serves it. */
import { spawn } from 'node:child_process'
import { closeSync, mkdtempSync, openSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { builtFile } from '../host/built-file.ts'
import { openBrowser } from './open-browser.ts'
import { UsageError } from './usage-error.ts'

/** What inspector-main.ts says when it has started. */
export type InspectorAnswer = { readonly url: string } | { readonly problem: string }

/** An empty recording for a run that is not recorded otherwise; the inspector takes it away. */
export const temporaryRecording = (): string =>
  join(mkdtempSync(join(tmpdir(), 'iommufd-user-')), 'recording')

export interface InspectorOptions {
  /** 0 for a free one. */
  readonly port: number
  readonly open: boolean
  readonly temporary: boolean
}

/**
 * Starts it in a process of its own, which never holds up who writes the recording, and prints the
 * address. Throws UsageError where it cannot be served.
 */
export const startInspector = async (file: string, options: InspectorOptions): Promise<void> => {
  // What an earlier run left in the file is not this run's.
  closeSync(openSync(file, 'w', 0o600))
  const server = spawn(
    process.execPath,
    [
      builtFile('cli/inspector-main.cjs'),
      file,
      String(options.port),
      ...(options.temporary ? ['temporary'] : []),
    ],
    { stdio: ['pipe', 'pipe', 'ignore'], detached: true },
  )
  const answer = await firstLine(server.stdout)
  if ('problem' in answer)
    throw new UsageError(`The inspector cannot be served: ${answer.problem}.`)
  process.stderr.write(`iommufd-user: The inspector is at ${answer.url}\n`)
  if (options.open) openBrowser(answer.url)
  // Its standard input stays open as long as this process lives.
  server.stdout.destroy()
  server.unref()
}

const firstLine = (stream: NodeJS.ReadableStream): Promise<InspectorAnswer> =>
  new Promise((resolve) => {
    let text = ''
    stream.setEncoding('utf8')
    stream.on('data', (part: string) => {
      text += part
      if (text.includes('\n')) resolve(JSON.parse(text) as InspectorAnswer)
    })
    stream.on('end', () => resolve({ problem: 'its process ended before it had begun' }))
  })
