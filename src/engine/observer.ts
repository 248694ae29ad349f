/**
 * Events: what happened, as typed data. Emitters guard with `if (machine.observer !== undefined)`, so
 * that nobody listening costs nothing. Only data, no formatting: `watch/` turns events into traces,
 * findings, recordings and pictures.
 *
 * The engine has no clock: whoever listens adds the time.
 */
import type { EngineEvent } from './events.ts'

export interface Observer {
  event(event: EngineEvent): void
}
