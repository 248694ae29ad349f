/**
 * Events: what happened, as typed data. Emitters guard with `if (machine.observer !== undefined)`, so
 * that nobody listening costs nothing. Only data, no formatting: `watch/` turns events into traces,
 * findings, recordings and pictures.
 *
 * The engine has no clock and knows no descriptors: it emits without a stamp, and the host puts an
 * observer of its own in front that adds one.
 */
import type { Fd } from '../abi/brands.ts'
import type { EngineEvent } from './events.ts'

/** What only the host knows of an event. */
export interface Stamp {
  /** Nanoseconds since the run began. */
  readonly at: number
  /** For a `call`: nanoseconds from its arrival to this event. */
  readonly took?: number
  /** For a `call`: the descriptor through which it came. */
  readonly fd?: Fd
}

export interface Observer {
  /**
   * `objects`: wants to know nothing of memory, which is mapped, unmapped, pinned and charged far more often
   * than anything else happens, nor of what calls read and write. Absent: everything.
   */
  readonly interest?: 'objects'
  event(event: EngineEvent, stamp?: Stamp): void
}
