/** Asynchronous events (06 §14.10): requests wait for an event, an event waits for a request. */

/** AERL of Identify Controller, less one. */
export const MAX_EVENT_REQUESTS = 4

interface EventKind {
  /** Type of the event, as the completion names it. */
  readonly type: number
  readonly info: number
  /** The log page that tells more, and whose reading arms this type again. */
  readonly logPage: number
}

const TEMPERATURE: EventKind = { type: 1, info: 1, logPage: 0x02 }
const INVALID_DOORBELL_VALUE: EventKind = { type: 0, info: 1, logPage: 0x01 }

/** Bit of feature 0x0b that asks for temperature events. */
const TEMPERATURE_ENABLE = 0x2

export interface EventAnswer {
  readonly commandId: number
  readonly result: number
}

export class AsyncEvents {
  /** Command IDs of the outstanding requests. */
  readonly #requests: number[] = []
  readonly #latched = new Map<number, EventKind>()
  /** Types reported, until their log page is read. */
  readonly #masked = new Set<number>()

  /** False: too many are outstanding. */
  request(commandId: number): boolean {
    if (this.#requests.length >= MAX_EVENT_REQUESTS) return false
    this.#requests.push(commandId)
    return true
  }

  /** True if this request was outstanding, and is not any more. */
  abort(commandId: number): boolean {
    const at = this.#requests.indexOf(commandId)
    if (at >= 0) this.#requests.splice(at, 1)
    return at >= 0
  }

  /** `enabled` is feature 0x0b. */
  temperature(pastThreshold: boolean, enabled: number): void {
    if (pastThreshold && (enabled & TEMPERATURE_ENABLE) !== 0) this.#latch(TEMPERATURE)
    else this.#latched.delete(TEMPERATURE.type)
  }

  invalidDoorbellValue(): void {
    this.#latch(INVALID_DOORBELL_VALUE)
  }

  #latch(kind: EventKind): void {
    if (!this.#masked.has(kind.type)) this.#latched.set(kind.type, kind)
  }

  logPageRead(logPage: number): void {
    for (const { type, logPage: page } of [TEMPERATURE, INVALID_DOORBELL_VALUE])
      if (page === logPage) this.#masked.delete(type)
  }

  /** The next request that an event answers. */
  take(): EventAnswer | undefined {
    const [kind] = this.#latched.values()
    if (kind === undefined) return undefined
    const commandId = this.#requests.shift()
    if (commandId === undefined) return undefined
    this.#latched.delete(kind.type)
    this.#masked.add(kind.type)
    return { commandId, result: kind.type | (kind.info << 8) | (kind.logPage << 16) }
  }
}
