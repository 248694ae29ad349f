/** `run --record FILE`: the recording of a run, written as it grows. */
import type { HostTimers } from '../host/timers.ts'
import { NotedWorld } from '../replay/noted-world.ts'
import { RecordingWriter } from '../watch/recording-writer.ts'
import type { RunConfig } from './run-config.ts'
import { textSink } from './text-sink.ts'
import { version } from './version.ts'

/** Milliseconds that what is recorded may wait for its chunk to fill: what a reader of a live file lags behind. */
const LAG = 500
/** The same where a person looks on. */
const LAG_INSPECTED = 60

export interface RecordingFile {
  /** What happens in the machine is observed by it, */
  readonly writer: RecordingWriter
  /** and what the machine asks of the world passes through this. */
  readonly world: NotedWorld
  /** The program has ended: what happened so far can be read, and is complete. */
  programEnded(): void
  /** No process is left. */
  ended(): void
}

/** Throws as `openSync` does where the file cannot be opened. */
export const recordingFile = (
  file: string,
  config: RunConfig,
  timers: HostTimers,
): RecordingFile => {
  const sink = textSink(file)
  const began = performance.now()
  const { devices, platform, container, compatIoas, testInterface } = config
  const writer = new RecordingWriter(
    {
      iommufdUser: version(),
      machine: { devices, platform, container, compatIoas, testInterface },
      command: config.command,
      pageSize: 4096,
      startedAt: Date.now(),
    },
    (chunk) => sink.write(chunk),
  )
  // The header is there from the start, and what follows soon after it has happened.
  const flush = (): void => {
    writer.flush()
    timers.after(config.inspected ? LAG_INSPECTED : LAG, flush)
  }
  flush()
  const end = (): void => writer.end(Math.round((performance.now() - began) * 1e6))
  return {
    writer,
    world: new NotedWorld(writer),
    programEnded: end,
    ended: () => {
      end()
      sink.close()
    },
  }
}
