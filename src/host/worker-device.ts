/** The worker's side of a device, put together: what a model gets that is worked in a thread of its own. */
import { DeviceWord, type DeviceWorkerShares, RequestKind } from './device-worker-words.ts'
import type { Sys } from './sys.ts'
import { WorkerFrames } from './worker-frames.ts'
import { WorkerGate } from './worker-gate.ts'
import { WorkerInterrupts } from './worker-interrupts.ts'
import { type WorkedModel, workForever } from './worker-loop.ts'
import { type Walker, WorkerMemory } from './worker-memory.ts'
import { WorkerRegisters } from './worker-registers.ts'
import { WorkerReports } from './worker-reports.ts'
import { WorkerRequests } from './worker-requests.ts'

export interface WorkerParts {
  readonly registers: WorkerRegisters
  readonly memory: WorkerMemory
  readonly interrupts: WorkerInterrupts
  /** Does something that may take long, and touches neither registers nor memory of clients. */
  outside<T>(run: () => T): T
}

export interface DeviceWork {
  /** The table that the supervisor has just sent. */
  table(): Walker | undefined
  create(parts: WorkerParts): WorkedModel
}

/** Shortest sleeps: without this each takes 50 us longer than it is asked to. */
const PR_SET_TIMERSLACK = 29

/** Does not return. */
export const startDeviceWork = (sys: Sys, shares: DeviceWorkerShares, work: DeviceWork): void => {
  const gate = new WorkerGate(shares.words)
  const requests = new WorkerRequests(sys, gate, shares)
  const frames = new WorkerFrames(shares.words, shares.frameSlots, requests)
  const registers = new WorkerRegisters(sys, gate, shares.bar)
  const reports = new WorkerReports(sys, shares.words, shares.reports, shares.attention)
  const memory = new WorkerMemory(sys, gate, frames, requests, reports, () =>
    requests.ask(RequestKind.TABLE)[0] === 1 ? work.table() : undefined,
  )
  const interrupts = new WorkerInterrupts(sys, gate, requests)
  try {
    sys.call('prctl', PR_SET_TIMERSLACK, 1)
    const outside = <T>(run: () => T): T => gate.outside(run)
    workForever(gate, registers, work.create({ registers, memory, interrupts, outside }))
  } catch (error) {
    if ((Atomics.load(gate.words, DeviceWord.STEP) & 1) === 1) gate.leave()
    const text = new TextEncoder().encode(error instanceof Error ? error.stack : String(error))
    const said = text.subarray(0, requests.data.length)
    requests.data.set(said)
    requests.askOutside(RequestKind.FAILED, said.length)
  }
}
