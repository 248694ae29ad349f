/** Runs the calls of a recording against a machine again, and tells where it does something else. */
import type { FileOffset, UserVa } from '../abi/brands.ts'
import { byteLength, fileOffset } from '../abi/brands.ts'
import type { EngineEvent } from '../engine/events.ts'
import type { MmapRegion, OpenFile, OpenMode, SharedRegion } from '../engine/file.ts'
import type { Machine } from '../engine/machine.ts'
import type { Observer } from '../engine/observer.ts'
import { Refusal, type Result } from '../engine/reason.ts'
import { RecordingError, type RecordingItem, type ServedRecord } from '../watch/recording.ts'
import { Answers, bigintOf, numberOf, textOf } from './answers.ts'
import { type Difference, eventDifference, resultDifference } from './difference.ts'
import type { Timers } from './noted-world.ts'
import { ReplayedCall, ReplayedEventfds } from './replayed-call.ts'
import { ReplayedWorld, replayedRegion } from './replayed-world.ts'
import { same } from './same.ts'
import { Entry } from './served.ts'

export interface ReplaySummary {
  /** Ways into the machine that were tried: calls, timers, last closes. */
  readonly entries: number
  /** Those in which something was different. */
  readonly different: number
  /** Those on files that could not be opened this time. */
  readonly leftOut: number
}

/** The result of an entry into a file that there is not this time. */
const LEFT_OUT = Symbol('left out')

export class Replay {
  readonly #world = new ReplayedWorld()
  readonly #eventfds = new ReplayedEventfds(this.#world)
  readonly #report: (difference: Difference) => void
  readonly #timers = new Map<number, () => void>()
  /** What clients had mapped, by region. */
  readonly #pages = new Map<number, SharedRegion>()
  #timerCount = 0
  /** The system call of the entry before. */
  #systemCall = 0
  #recorded: EngineEvent[] = []
  #replayed: EngineEvent[] = []
  /** A difference of an entry that the host reports itself: what it says makes it readable. */
  #waiting: ((event: EngineEvent | undefined) => void) | undefined
  #entries = 0
  #different = 0
  #leftOut = 0

  /** What the machine that is given to `item` shall have for its time and its observer. */
  readonly timers: Timers = { after: (_, run) => this.#after(run) }
  readonly observer: Observer = { event: (event) => this.#replayed.push(event) }

  /**
   * Devices that do nothing in this machine, by name: what they did is not compared, nor what programs read
   * of devices.
   */
  standIns: ReadonlySet<string> = new Set()

  constructor(report: (difference: Difference) => void) {
    this.#report = report
  }

  /**
   * The next of the recording, for `machine`, which is the same each time. Throws RecordingError for what
   * a replay cannot make sense of.
   */
  item(item: RecordingItem, machine: Machine): void {
    if (item.kind === 'served') this.#served(item.served, machine)
    else if (item.kind === 'event') this.#event(item.event, machine)
  }

  end(): ReplaySummary {
    this.#settle(undefined)
    return { entries: this.#entries, different: this.#different, leftOut: this.#leftOut }
  }

  #after(run: () => void): () => void {
    const number = this.#timerCount++
    this.#timers.set(number, run)
    return () => this.#timers.delete(number)
  }

  #event(event: EngineEvent, machine: Machine): void {
    if (!isOfHost(event)) {
      const done = DONE_BY_DEVICES.has(event.type) && 'device' in event
      if (!done || !this.standIns.has(event.device)) this.#recorded.push(event)
      return
    }
    this.#settle(event)
    // It gets its number as it did then.
    if (event.call === 0 || machine.currentCall === event.call) return
    machine.callArrives()
    void machine.currentCall
  }

  #settle(event: EngineEvent | undefined): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.(event)
  }

  #served(record: ServedRecord, machine: Machine): void {
    this.#settle(undefined)
    const answers = new Answers(record)
    this.#world.begin(answers)
    this.#arrive(answers.systemCall, machine)
    this.#replayed = []
    this.#entries += 1
    const result = this.#tried(answers, machine)
    const recorded = this.#recorded
    this.#recorded = []
    if (result === LEFT_OUT) this.#leftOut += 1
    else this.#compare(answers, result, recorded)
  }

  #arrive(systemCall: number, machine: Machine): void {
    if (systemCall === 0) machine.callEnds()
    else if (systemCall !== this.#systemCall) machine.callArrives()
    this.#systemCall = systemCall
  }

  #compare(answers: Answers, result: unknown, recorded: readonly EngineEvent[]): void {
    const events = eventDifference(recorded, this.#replayed)
    const isRead = answers.entry === Entry.READ || answers.entry === Entry.PREAD
    const complaints = isRead && this.standIns.size > 0 ? [] : this.#world.complaints()
    const isSame = same(answers.result, result)
    if (events === undefined && complaints.length === 0 && isSame) return
    this.#different += 1
    const difference = { ...(events ?? NOTHING), call: callOf(recorded), complaints }
    // An ioctl is in its event; any other call the host reports next.
    if (answers.entry === Entry.IOCTL) this.#report(difference)
    else
      this.#waiting = (event) =>
        this.#report(
          isSame
            ? { ...difference, call: event?.call ?? difference.call }
            : resultDifference(answers, event, result, difference),
        )
  }

  /** A mistake of ours ends an entry, as it did in the run. */
  #tried(answers: Answers, machine: Machine): unknown {
    try {
      const result = this.#enter(answers, machine)
      if (answers.thrown && result !== LEFT_OUT)
        this.#world.complain('the recording ended it with a mistake of iommufd-user')
      return result
    } catch (error) {
      if (error instanceof RecordingError) throw error
      if (!answers.thrown) this.#world.complain(`it ended with a mistake of iommufd-user: ${error}`)
      return answers.result
    }
  }

  #enter(answers: Answers, machine: Machine): unknown {
    const { args } = answers
    switch (answers.entry) {
      case Entry.OPEN:
        return this.#open(answers, machine)
      case Entry.RELEASE:
        return this.#onFile(args[0], (file) => file.release())
      case Entry.MAPPINGS:
        return this.#onFile(args[0], (file) =>
          file.mappingsOf?.(fileOffset(bigintOf(args[1])), numberOf(args[2])),
        )
      case Entry.TIMER:
        return this.#fire(numberOf(args[0]))
      case Entry.SIGNAL:
        return this.#eventfds.signal(numberOf(args[0]))
      case Entry.BACKED:
        return this.#back(numberOf(args[0]))
      case Entry.UNBACKED:
        return this.#unback(numberOf(args[0]))
      default:
        return this.#call(answers)
    }
  }

  #open(answers: Answers, machine: Machine): unknown {
    const [process, path, mode] = answers.args
    const node = machine.node(textOf(path))
    if (node === undefined) return LEFT_OUT
    const file = node.open(this.#world.process(numberOf(process)), modeOf(mode))
    if (file instanceof Refusal) return file
    if (typeof answers.result !== 'number') return 0
    this.#world.files.set(answers.result, file)
    return answers.result
  }

  #onFile(number: unknown, act: (file: OpenFile) => unknown): unknown {
    const file = this.#world.files.get(numberOf(number))
    return file === undefined ? LEFT_OUT : act(file)
  }

  #call(answers: Answers): unknown {
    const [process, tid, file, ...args] = answers.args
    const caller = { process: this.#world.process(numberOf(process)), tid: numberOf(tid) }
    const call = new ReplayedCall(this.#world, this.#eventfds, caller)
    return this.#onFile(file, (found) => {
      if (answers.entry === Entry.MMAP) return this.#mmap(found, call, answers.result, args)
      if (answers.entry === Entry.IOCTL)
        return found.ioctl?.(call, numberOf(args[0]), bigintOf(args[1]) as UserVa)
      return transfer(answers.entry, found, call, args)
    })
  }

  #mmap(
    file: OpenFile,
    call: ReplayedCall,
    recorded: unknown,
    [length, prot, flags, offset]: readonly unknown[],
  ): unknown {
    const mapped: Result<MmapRegion> | undefined = file.mmap?.(call, {
      length: byteLength(bigintOf(length)),
      prot: numberOf(prot),
      flags: numberOf(flags),
      offset: bigintOf(offset) as FileOffset,
    })
    if (mapped === undefined || mapped instanceof Refusal) return mapped
    const region = Array.isArray(recorded) ? numberOf(recorded[0]) : -1
    this.#world.regions.set(region, mapped.memory)
    return [region, mapped.offset, mapped.length]
  }

  #back(number: number): unknown {
    const region = this.#world.regions.get(number)
    if (region === undefined) return LEFT_OUT
    const pages = replayedRegion(this.#world, number, region.length)
    this.#pages.set(number, pages)
    region.backBy?.(pages)
    return undefined
  }

  #unback(number: number): unknown {
    const region = this.#world.regions.get(number)
    const pages = this.#pages.get(number)
    if (region === undefined || pages === undefined) return LEFT_OUT
    region.pagesGo?.(pages)
    return undefined
  }

  #fire(number: number): unknown {
    const run = this.#timers.get(number)
    if (run === undefined) return LEFT_OUT
    this.#timers.delete(number)
    run()
    return undefined
  }
}

/** What a device does by itself. */
const DONE_BY_DEVICES: ReadonlySet<EngineEvent['type']> = new Set([
  'dma',
  'dma-fault',
  'page-fault',
  'device-failed',
])

const NOTHING = { recorded: [], replayed: [] } as const

const callOf = (events: readonly EngineEvent[]): number => events.at(-1)?.call ?? 0

const modeOf = (mode: unknown): OpenMode =>
  mode === 'read' || mode === 'write' ? mode : 'read-write'

const transfer = (
  entry: number,
  file: OpenFile,
  call: ReplayedCall,
  [buffer, count, offset]: readonly unknown[],
): unknown => {
  const at = bigintOf(buffer) as UserVa
  const length = numberOf(count)
  switch (entry) {
    case Entry.READ:
      return file.read?.(call, at, length)
    case Entry.WRITE:
      return file.write?.(call, at, length)
    case Entry.PREAD:
      return file.pread?.(call, at, length, bigintOf(offset) as FileOffset)
    default:
      return file.pwrite?.(call, at, length, bigintOf(offset) as FileOffset)
  }
}

/** The engine reports ioctls and what happens in it; the rest the host does. */
const isOfHost = (event: EngineEvent): boolean =>
  event.type === 'memory-replaced' || (event.type === 'call' && event.operation !== 'ioctl')
