import type { EngineEvent } from '../engine/events.ts'
import type { Observer, Stamp } from '../engine/observer.ts'

/** One observer that passes events on to several; undefined for none, so that watching costs nothing. */
export const observers = (...several: (Observer | undefined)[]): Observer | undefined => {
  const present = several.filter((observer) => observer !== undefined)
  if (present.length <= 1) return present[0]
  const interest = present.every((observer) => observer.interest === 'objects')
  return {
    ...(interest ? { interest: 'objects' } : {}),
    event(event: EngineEvent, stamp?: Stamp): void {
      for (const observer of present) observer.event(event, stamp)
    },
  }
}
