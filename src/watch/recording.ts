/**
 * A recording: everything that happened in a run, as a file or a live stream. docs/recording.md
 * describes the bytes; recording-writer.ts and recording-reader.ts write and read them, here and in a
 * browser.
 */
import type { EngineEvent } from '../engine/events.ts'
import type { Stamp } from '../engine/observer.ts'

/** Not valid UTF-8, and changed by whatever takes the file for text. */
export const MAGIC: Uint8Array = Uint8Array.of(0x89, 0x49, 0x4f, 0x4d, 0x4d, 0x55, 0x0d, 0x0a)

/** Of what is written here. What is newer is not read; see docs/recording.md on what makes it newer. */
export const FORMAT = 1

/** Magic and version. */
export const PREAMBLE = MAGIC.length + 4
/** Length of a record, in front of it. */
export const LENGTH_BYTES = 4
/** No record is longer. */
export const MAX_RECORD = 1 << 28

/** The first byte of a record. A reader passes over kinds that it does not know. */
export const RecordKind = { HEADER: 0, EVENT: 1, SERVED: 2, END: 3 } as const

/** A simulated device, as it was asked for. */
export interface RecordedDevice {
  /** For messages: `--device edu,group=7`. */
  readonly source: string
  readonly model: string
  readonly argument?: string
  readonly options: Readonly<Record<string, string | number | boolean>>
}

/** The simulated machine of the run: enough to make the same once more. */
export interface RecordedMachine {
  /** In order. */
  readonly devices: readonly RecordedDevice[]
  /** Null for the usual one. */
  readonly platform: string | null
  readonly container: 'iommufd' | 'type1'
  readonly compatIoas: 'linux' | 'strict'
  readonly testInterface: boolean
}

export interface RecordingHeader {
  /** Version of iommufd-user that wrote it. */
  readonly iommufdUser: string
  readonly machine: RecordedMachine
  /** The program that was run, and its arguments; empty where no program was. */
  readonly command: readonly string[]
  /** Bytes. */
  readonly pageSize: number
  /** Milliseconds since 1970-01-01 UTC at which the run began: where stamps count from. */
  readonly startedAt: number
}

/** One event and what only the host knew of it. */
export interface RecordedEvent {
  readonly event: EngineEvent
  /** Nanoseconds; absent where the recording was made without a clock. */
  readonly stamp: Stamp | undefined
}

/** One call into the machine with all that it asked of the world, for replay: values by position. */
export type ServedRecord = readonly unknown[]

/** Nothing is missing up to here: the program has ended. Processes that it left behind may go on. */
export interface RecordingEnd {
  /** Nanoseconds since the run began. */
  readonly at: number
}

/** One record, in the order of the file. */
export type RecordingItem =
  | ({ readonly kind: 'event' } & RecordedEvent)
  | { readonly kind: 'served'; readonly served: ServedRecord }
  | { readonly kind: 'end'; readonly end: RecordingEnd }

/** What is given cannot be read as a recording; the message is a sentence for people. */
export class RecordingError extends Error {}
