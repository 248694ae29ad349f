/**
 * A recording as a time line: tracks with slices, instants and counters on them, and flows from one to
 * the next. timeline-builder.ts makes it of events; perfetto.ts and chrome-trace.ts write it.
 */

export type TrackId = number

export interface Track {
  /** From 1. */
  readonly id: TrackId
  readonly parent?: TrackId
  readonly name: string
  /** The track of a process, */
  readonly process?: { readonly pid: number }
  /** of one of its threads, */
  readonly thread?: { readonly pid: number; readonly tid: number }
  /** or of a number that changes, with its unit. */
  readonly counter?: { readonly unit: 'bytes' | 'pages' }
}

/** What belongs to an event: texts, numbers, and 64-bit values that are shown as addresses. */
export type Arguments = readonly (readonly [name: string, value: string | number | bigint])[]

/** One end of an arrow, or a point on its way. */
export interface FlowPoint {
  readonly flow: number
  readonly point: 'first' | 'middle' | 'last'
}

export interface TimelineEvent {
  readonly name: string
  readonly category: string
  readonly args: Arguments
  readonly flows: readonly FlowPoint[]
}

/**
 * Where a time line goes. A track is announced before anything is on it. Times are nanoseconds since the
 * run began, and never go back; every slice is ended, the inner before the outer; every flow has a first
 * and a last point.
 */
export interface TimelineSink {
  track(track: Track): void
  begin(track: TrackId, at: number, event: TimelineEvent): void
  end(track: TrackId, at: number): void
  instant(track: TrackId, at: number, event: TimelineEvent): void
  counter(track: TrackId, at: number, value: number): void
  finish(): void
}
