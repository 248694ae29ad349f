/** Set Features and Get Features (06 §14.8). A reset of the controller puts back the defaults. */
import type { Command } from './command.ts'
import { CompletionStatus } from './completion-status.ts'
import { IO_QUEUES, VECTORS } from './registers.ts'

const Feature = {
  ARBITRATION: 0x01,
  POWER_MANAGEMENT: 0x02,
  TEMPERATURE_THRESHOLD: 0x04,
  ERROR_RECOVERY: 0x05,
  VOLATILE_WRITE_CACHE: 0x06,
  NUMBER_OF_QUEUES: 0x07,
  INTERRUPT_COALESCING: 0x08,
  INTERRUPT_VECTOR: 0x09,
  WRITE_ATOMICITY: 0x0a,
  ASYNC_EVENTS: 0x0b,
} as const

/** Features that are a value to keep, with their defaults. */
const PLAIN: readonly (readonly [feature: number, initial: number])[] = [
  [Feature.ARBITRATION, 0x07],
  [Feature.POWER_MANAGEMENT, 0],
  [Feature.ERROR_RECOVERY, 0],
  [Feature.VOLATILE_WRITE_CACHE, 1],
  [Feature.INTERRUPT_COALESCING, 0],
  [Feature.WRITE_ATOMICITY, 0],
  [Feature.ASYNC_EVENTS, 0],
]

/** Kelvin. */
export const COMPOSITE_TEMPERATURE = 0x0143
export const WARNING_TEMPERATURE = 0x0157
export const CRITICAL_TEMPERATURE = 0x0175
/** cdw11 19:16 of the temperature threshold. */
const SENSOR_COMPOSITE = 0
const SENSOR_ALL = 0xf
const SAVE = 0x8000_0000

export interface FeatureAnswer {
  readonly status: number
  readonly result: number
}

const answer = (result: number): FeatureAnswer => ({ status: CompletionStatus.SUCCESS, result })
const refused = (status: number): FeatureAnswer => ({ status, result: 0 })

export class Features {
  readonly #values = new Map(PLAIN)
  /** Allocated I/O submission and completion queues. */
  #queues = { submission: IO_QUEUES, completion: IO_QUEUES }
  #over = WARNING_TEMPERATURE
  #under = 0

  get writeCacheEnabled(): boolean {
    return ((this.#values.get(Feature.VOLATILE_WRITE_CACHE) ?? 0) & 1) !== 0
  }

  get asyncEvents(): number {
    return this.#values.get(Feature.ASYNC_EVENTS) ?? 0
  }

  get submissionQueues(): number {
    return this.#queues.submission
  }

  get completionQueues(): number {
    return this.#queues.completion
  }

  /** The composite temperature is past a threshold. */
  get temperatureWarning(): boolean {
    return COMPOSITE_TEMPERATURE >= this.#over || COMPOSITE_TEMPERATURE <= this.#under
  }

  get(command: Command): FeatureAnswer {
    const feature = command.dword(10) & 0xff
    const cdw11 = command.dword(11)
    switch (feature) {
      case Feature.TEMPERATURE_THRESHOLD:
        return this.#getThreshold(cdw11)
      case Feature.NUMBER_OF_QUEUES:
        return answer(this.#queueCounts())
      case Feature.INTERRUPT_VECTOR: {
        const vector = cdw11 & 0xffff
        return vector < VECTORS ? answer(vector) : refused(CompletionStatus.INVALID_FIELD)
      }
      default: {
        const value = this.#values.get(feature)
        return value === undefined ? refused(CompletionStatus.INVALID_FIELD) : answer(value)
      }
    }
  }

  /** `ioQueuesExist`: their number is fixed from then on. */
  set(command: Command, ioQueuesExist: boolean): FeatureAnswer {
    const feature = command.dword(10) & 0xff
    const cdw11 = command.dword(11)
    if ((command.dword(10) & SAVE) !== 0) return refused(CompletionStatus.FEATURE_NOT_SAVEABLE)
    switch (feature) {
      case Feature.TEMPERATURE_THRESHOLD:
        return this.#setThreshold(cdw11)
      case Feature.NUMBER_OF_QUEUES:
        return this.#setQueueCounts(cdw11, ioQueuesExist)
      case Feature.INTERRUPT_VECTOR:
        return (cdw11 & 0xffff) < VECTORS ? answer(0) : refused(CompletionStatus.INVALID_FIELD)
      case Feature.POWER_MANAGEMENT:
        // There is one power state, number 0.
        if ((cdw11 & 0x1f) !== 0) return refused(CompletionStatus.INVALID_FIELD)
        break
      case Feature.VOLATILE_WRITE_CACHE:
        this.#values.set(feature, cdw11 & 1)
        return answer(0)
    }
    if (!this.#values.has(feature)) return refused(CompletionStatus.INVALID_FIELD)
    this.#values.set(feature, cdw11)
    return answer(0)
  }

  #getThreshold(cdw11: number): FeatureAnswer {
    const type = (cdw11 >>> 20) & 3
    if (type > 1) return refused(CompletionStatus.INVALID_FIELD)
    if (((cdw11 >>> 16) & 0xf) !== SENSOR_COMPOSITE) return answer(0)
    return answer(type === 0 ? this.#over : this.#under)
  }

  #setThreshold(cdw11: number): FeatureAnswer {
    const type = (cdw11 >>> 20) & 3
    const sensor = (cdw11 >>> 16) & 0xf
    if (type > 1) return refused(CompletionStatus.INVALID_FIELD)
    // Other sensors are not there; setting their thresholds changes nothing.
    if (sensor === SENSOR_COMPOSITE || sensor === SENSOR_ALL) {
      if (type === 0) this.#over = cdw11 & 0xffff
      else this.#under = cdw11 & 0xffff
    }
    return answer(0)
  }

  #setQueueCounts(cdw11: number, ioQueuesExist: boolean): FeatureAnswer {
    const submission = cdw11 & 0xffff
    const completion = cdw11 >>> 16
    if (submission === 0xffff || completion === 0xffff)
      return refused(CompletionStatus.INVALID_FIELD)
    if (ioQueuesExist) return refused(CompletionStatus.COMMAND_SEQUENCE_ERROR)
    this.#queues = {
      submission: Math.min(submission + 1, IO_QUEUES),
      completion: Math.min(completion + 1, IO_QUEUES),
    }
    return answer(this.#queueCounts())
  }

  #queueCounts(): number {
    return (((this.#queues.completion - 1) << 16) | (this.#queues.submission - 1)) >>> 0
  }
}
