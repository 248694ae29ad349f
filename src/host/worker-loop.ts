/**
 * When a device worker looks at its registers: again and again while there is something to do and a moment
 * longer, then at growing intervals. Trapped accesses wake it at once (06 §12).
 */
import { DeviceWord } from './device-worker-words.ts'
import { FunctionReset, type WorkerGate } from './worker-gate.ts'
import type { WorkerRegisters } from './worker-registers.ts'

/** Milliseconds. */
const LINGER = 0.1
const SHORTEST = 0.05
const LONGEST = 1
/** When nothing has happened for long. */
const LONG_IDLE = 300
const LONGEST_IDLE = 3
const GROWTH = 1.25

export interface WorkedModel {
  /** One bounded turn; true if there was something to do. */
  turn(): boolean
  /** The function was reset. */
  reset(): void
}

/** Does not return. */
export const workForever = (
  gate: WorkerGate,
  registers: WorkerRegisters,
  model: WorkedModel,
): never => {
  let busyUntil = 0
  let pause = SHORTEST
  for (;;) {
    const wake = Atomics.load(gate.words, DeviceWord.WAKE)
    if (step(gate, model)) {
      busyUntil = performance.now() + LINGER
      pause = SHORTEST
    } else if (!registers.isMapped) Atomics.wait(gate.words, DeviceWord.WAKE, wake)
    else {
      const idle = performance.now() - busyUntil
      if (idle < 0) continue
      if (Atomics.wait(gate.words, DeviceWord.WAKE, wake, pause) === 'timed-out')
        pause = Math.min(pause * GROWTH, idle < LONG_IDLE ? LONGEST : LONGEST_IDLE)
      else pause = SHORTEST
    }
  }
}

const step = (gate: WorkerGate, model: WorkedModel): boolean => {
  try {
    if (gate.begin()) model.reset()
    const busy = model.turn()
    gate.leave()
    return busy
  } catch (error) {
    if (error instanceof FunctionReset) return true
    throw error
  }
}
