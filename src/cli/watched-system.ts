/** What the supervisor serves and who watches it: the machine, the trace, the diagnosis. */
import type { Fd } from '../abi/brands.ts'
import type { CallNumber, EngineEvent } from '../engine/events.ts'
import { FaultInjector } from '../engine/fault-injection.ts'
import type { Machine } from '../engine/machine.ts'
import type { Observer, Stamp } from '../engine/observer.ts'
import { DeviceWorker } from '../host/device-worker.ts'
import type { CallWatch, HostedSystem, SyntheticFile } from '../host/hosted-system.ts'
import { HostTimers } from '../host/timers.ts'
import { VFIO_DEV_MAJOR, VFIO_MAJOR } from '../host/tree.ts'
import type { NotedWorld } from '../replay/noted-world.ts'
import type { PciMachine } from '../vfio/pci/pci-machine.ts'
import { sysfsOf, sysfsOpaque } from '../vfio/pci/sysfs.ts'
import { observers } from '../watch/observers.ts'
import { Trace } from '../watch/trace.ts'
import { traceFilter } from '../watch/trace-filter.ts'
import { debugfsOf, debugfsVersion } from './debugfs.ts'
import { recordingFile } from './recording-file.ts'
import type { RunConfig } from './run-config.ts'
import { runDoctor } from './run-doctor.ts'
import { STANDARD_ERROR } from './run-options.ts'
import { simulatedMachine } from './simulated-machine.ts'
import { releaseStandardError, textSink } from './text-sink.ts'

export const watchedSystem = async (config: RunConfig): Promise<HostedSystem> => {
  const standardError = textSink(STANDARD_ERROR)
  const sink = config.trace === null ? undefined : textSink(config.trace)
  const trace = sink && new Trace((text) => sink.write(text), traceFilter(config.filters))
  const doctor = runDoctor(config, trace, standardError)
  const timers = new HostTimers()
  const recording =
    config.record === null ? undefined : recordingFile(config.record, config, timers)
  const observer = observers(trace, doctor?.observer, recording?.writer)
  // The doctor asks for no times, and to take them costs as much as all else at an event.
  const isTimed = trace !== undefined || recording !== undefined
  const stamper = observer && new Stamper(observer, isTimed)
  const world = recording?.world
  const time = world?.timers(timers) ?? timers
  const { machine, pci } = await simulatedMachine(config, time, stamper)
  const sysfs = sysfsNow(machine, pci)
  const countdown = failureCountdown(config.failNth)
  return {
    nodes: () => world?.nodes(machine.nodes()) ?? machine.nodes(),
    files: sysfs,
    hasControls: pci.functions.length > 0,
    opaqueDirectories: sysfsOpaque(pci),
    timers,
    deviceWorkers: pci.functions.flatMap(({ pci: { model } }) =>
      model instanceof DeviceWorker ? [model] : [],
    ),
    lockedPages: (space) => machine.lockedMemory.ofSpace(world?.space(space) ?? space),
    ...(config.testInterface ? { faults: new FaultInjector() } : {}),
    ...(countdown === undefined ? {} : { fails: countdown }),
    ...(config.doctor === null ? {} : { placesCalls: true }),
    ...(stamper === undefined ? {} : { watch: stamper.watch(machine, world) }),
    programEnded: (status) => {
      const instead = doctor?.programEnded(status)
      recording?.programEnded()
      // Processes that the program left behind are served further, and may have let go of it.
      if (config.findings === 'at-end' && config.trace !== STANDARD_ERROR) releaseStandardError()
      return instead
    },
    ended: () => {
      doctor?.ended()
      sink?.close()
      recording?.ended()
    },
  }
}

/** What is under /sys, made again when drivers or PASIDs have come or gone. */
const sysfsNow = (machine: Machine, pci: PciMachine): (() => readonly SyntheticFile[]) => {
  const made = (): readonly SyntheticFile[] => [
    ...sysfsOf(pci, { vfio: VFIO_MAJOR, vfioDev: VFIO_DEV_MAJOR }),
    ...debugfsOf(machine, pci),
  ]
  const version = (): string => `${pci.driver.changes} ${debugfsVersion(machine, pci)}`
  let [entries, known] = [made(), version()]
  return () => {
    if (known !== version()) [entries, known] = [made(), version()]
    return entries
  }
}

/** True once, at the nth step that can fail, whichever thread comes to it. */
const failureCountdown = (nth: number | null): HostedSystem['fails'] => {
  if (nth === null) return undefined
  let left = nth
  return () => {
    left -= 1
    return left === 0
  }
}

/** Adds to events what only the host knows: the time, and the descriptor. */
class Stamper implements Observer {
  readonly interest?: 'objects'
  readonly #observer: Observer
  readonly #isTimed: boolean
  readonly #began = performance.now()
  #call: { readonly fd: number } = { fd: -1 }
  #arrived = 0

  constructor(observer: Observer, isTimed: boolean) {
    this.#observer = observer
    this.#isTimed = isTimed
    if (observer.interest !== undefined) this.interest = observer.interest
  }

  event(event: EngineEvent): void {
    this.#observer.event(event, this.#isTimed ? this.#stamp(event) : undefined)
  }

  /** The machine numbers calls, also those that the engine does not see. */
  watch(machine: Machine, world: NotedWorld | undefined): CallWatch {
    const number = (): CallNumber => machine.currentCall
    return {
      begins: (call) => {
        machine.callArrives()
        world?.callBegins()
        this.#call = call
        if (this.#isTimed) this.#arrived = performance.now()
      },
      ends: () => {
        machine.callEnds()
        world?.callEnds()
      },
      answered: (call) => this.event({ type: 'call', call: number(), context: undefined, ...call }),
      replaces: (memory) => {
        if (this.interest === 'objects') return
        this.event({ type: 'memory-replaced', call: number(), ...memory })
      },
    }
  }

  #stamp(event: EngineEvent): Stamp {
    const now = performance.now()
    const at = nanoseconds(now - this.#began)
    if (event.type !== 'call') return { at }
    const took = nanoseconds(now - this.#arrived)
    const { fd } = this.#call
    // -1 or the caller's own number: the host has looked it up.
    return fd < 0 ? { at, took } : { at, took, fd: fd as Fd }
  }
}

const nanoseconds = (milliseconds: number): number => Math.round(milliseconds * 1e6)
