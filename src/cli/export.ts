/** `export FILE`: a recording for other programs that show time lines. */
import { closeSync, openSync } from 'node:fs'
import { ChromeTraceWriter } from '../watch/chrome-trace.ts'
import { Diagnosis } from '../watch/diagnosis.ts'
import { PerfettoWriter } from '../watch/perfetto.ts'
import { TimelineBuilder } from '../watch/timeline-builder.ts'
import { ExitStatus } from './exit-status.ts'
import { RecordingInput } from './recording-input.ts'
import { isErrno, writeAll } from './text-sink.ts'
import { UsageError } from './usage-error.ts'

export interface ExportOptions {
  readonly perfetto?: boolean
  readonly chrome?: boolean
  /** `-` for standard output; undefined for a file beside the recording. */
  readonly output?: string
}

const FULL = 1 << 18

/** Throws UsageError. */
export const exportCommand = (file: string, options: ExportOptions): number => {
  if (options.perfetto === true && options.chrome === true)
    throw new UsageError('Say either --perfetto or --chrome: one file has one format.')
  const input = new RecordingInput(file)
  const items = input.items()
  // What is no recording is told before a file is made.
  const first = items.next()
  const target = options.output ?? targetFor(file, options)
  const out = new BufferedFile(target)
  const builder = new TimelineBuilder(
    options.chrome === true
      ? new ChromeTraceWriter((text) => out.write(encoder.encode(text)))
      : new PerfettoWriter((bytes) => out.write(bytes)),
  )
  const diagnosis = new Diagnosis((finding) => builder.finding(finding))
  for (let next = first; next.done !== true; next = items.next()) {
    if (next.value.kind !== 'event') continue
    const { event, stamp } = next.value
    diagnosis.event(event, stamp)
    builder.event(event, stamp)
  }
  diagnosis.end()
  builder.end()
  out.close()
  const { damage } = input
  if (damage !== undefined) process.stderr.write(`iommufd-user: ${file}: ${damage}\n`)
  if (options.output === undefined) process.stdout.write(`${target} is written. ${hint(options)}\n`)
  return ExitStatus.OK
}

const encoder = new TextEncoder()

const targetFor = (file: string, { chrome }: ExportOptions): string => {
  if (file === '-') return '-'
  return `${file}${chrome === true ? '.json' : '.pftrace'}`
}

const hint = ({ chrome }: ExportOptions): string =>
  chrome === true
    ? 'chrome://tracing and ui.perfetto.dev open it.'
    : 'ui.perfetto.dev opens it (Open trace file); it stays on this machine.'

class BufferedFile {
  readonly #fd: number
  #chunks: Uint8Array[] = []
  #size = 0
  #closed = false

  constructor(target: string) {
    try {
      this.#fd = target === '-' ? 1 : openSync(target, 'w')
    } catch (error) {
      throw new UsageError(
        `The trace cannot be written: ${error instanceof Error ? error.message : String(error)}.`,
      )
    }
  }

  write(bytes: Uint8Array): void {
    this.#chunks.push(bytes)
    this.#size += bytes.length
    if (this.#size >= FULL) this.#flush()
  }

  close(): void {
    this.#flush()
    if (this.#fd !== 1) closeSync(this.#fd)
  }

  #flush(): void {
    const bytes = Buffer.concat(this.#chunks)
    this.#chunks = []
    this.#size = 0
    if (this.#closed) return
    try {
      writeAll(this.#fd, bytes)
    } catch (error) {
      // Nobody reads any more.
      if (!isErrno(error, 'EPIPE')) throw error
      this.#closed = true
    }
  }
}
