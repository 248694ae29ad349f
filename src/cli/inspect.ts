/** `inspect FILE`: a recording in the inspector. */
import { ExitStatus } from './exit-status.ts'
import { serveRecording } from './inspector-server.ts'
import { openBrowser } from './open-browser.ts'
import { expectRecording } from './recording-input.ts'
import { UsageError } from './usage-error.ts'

export interface InspectOptions {
  readonly port: number
  readonly open: boolean
}

/** Serves it until Ctrl-C. */
export const inspectCommand = async (file: string, options: InspectOptions): Promise<number> => {
  try {
    return await serveUntilInterrupted(file, options)
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    process.stderr.write(`iommufd-user: ${error.message}\n`)
    return ExitStatus.USAGE
  }
}

const serveUntilInterrupted = async (
  file: string,
  { port, open }: InspectOptions,
): Promise<number> => {
  // What is no recording is told here rather than in the page.
  expectRecording(file)
  const server = await serveRecording({ file, live: false, port }).catch((error: Error) => {
    throw new UsageError(`The recording cannot be served: ${error.message}.`)
  })
  process.stderr.write(`iommufd-user: ${file} is at ${server.url} until Ctrl-C.\n`)
  if (open) openBrowser(server.url)
  await new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve())
  })
  server.close()
  return ExitStatus.OK
}
