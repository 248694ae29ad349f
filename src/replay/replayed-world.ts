/** The world of a replay: processes and memory that answer the machine as they did in the recording. */
import { type ByteLength, byteLength, hex, MAX_U64, type UserVa } from '../abi/brands.ts'
import type { OpenFile, SharedRegion } from '../engine/file.ts'
import type { AddressSpace, Capability, PageObject, PageRun, Process } from '../engine/ports.ts'
import { Refusal, type Result } from '../engine/reason.ts'
import type { Answers } from './answers.ts'
import { contentIn, numberOf, numbersOf, textOf } from './answers.ts'
import { RegionMirror } from './region-mirror.ts'
import { Asked, bytesOf, sameWritten, type Written, writtenOf } from './served.ts'

export class ReplayedWorld {
  readonly files = new Map<number, OpenFile>()
  readonly regions = new Map<number, SharedRegion>()
  readonly #processes = new Map<number, ReplayedProcess>()
  readonly #spaces = new Map<number, ReplayedSpace>()
  readonly #pages = new Map<number, ReplayedPages>()
  #answers: Answers | undefined
  /** What the machine did other than in the recording, in this entry. */
  #complaints: string[] = []

  /** From now on these answers. What was said of processes holds from here on. */
  begin(answers: Answers): void {
    this.#answers = answers
    this.#complaints = []
    for (const [process, what, value] of answers.all(Asked.FACT))
      this.process(numberOf(process)).facts.set(textOf(what), value)
    for (const [space, id] of answers.all(Asked.SPACE))
      this.space(numberOf(space)).id = numberOf(id)
    for (const [space, gone] of answers.all(Asked.GONE))
      this.space(numberOf(space)).gone = gone === true
    for (const [pages, name, contiguity] of answers.all(Asked.PAGES)) {
      const object = this.pages(numberOf(pages))
      object.name = textOf(name)
      object.contiguity = numberOf(contiguity)
    }
  }

  get answers(): Answers {
    if (this.#answers === undefined) throw new Error('nothing is being replayed')
    return this.#answers
  }

  /** Something else than in the recording: a clause without a subject. */
  complain(what: string): void {
    this.#complaints.push(what)
  }

  /** All complaints of this entry, those about what was not done included. */
  complaints(): readonly string[] {
    const missing = [
      ...this.answers
        .unused(Asked.WRITE)
        .map(([address, length]) => `wrote ${length} bytes at ${addressText(address)}`),
      ...this.answers
        .unused(Asked.SPACE_WRITE)
        .map(([, address, length]) => `wrote ${length} bytes at ${addressText(address)}`),
      ...this.answers
        .unused(Asked.PAGES_WRITE)
        .map(([pages, page]) => `wrote to ${this.pages(numberOf(pages)).name}, page ${page}`),
    ]
    return [...this.#complaints, ...missing.map((what) => `only the recording ${what}`)]
  }

  process(number: number): ReplayedProcess {
    return made(this.#processes, number, () => new ReplayedProcess(this))
  }

  space(number: number): ReplayedSpace {
    return made(this.#spaces, number, () => new ReplayedSpace(this, number))
  }

  pages(number: number): ReplayedPages {
    return made(this.#pages, number, () => new ReplayedPages(this, number))
  }

  /** What `take` answered. */
  runs(taken: unknown): Result<PageRun[]> {
    if (taken instanceof Refusal) return taken
    const numbers = numbersOf(taken)
    const runs: PageRun[] = []
    for (let i = 0; i + 2 < numbers.length; i += 3) {
      const [object = 0, page = 0, count = 0] = numbers.slice(i, i + 3)
      runs.push({ object: this.pages(object), page, count })
    }
    return runs
  }

  /** The machine writes: as in the recording? */
  compareWritten(bytes: Uint8Array, recorded: unknown, where: () => string): void {
    const now = writtenOf(bytes)
    if (isWritten(recorded) && !sameWritten(now, recorded))
      this.complain(`${where()} it wrote ${writtenText(recorded)} then, ${writtenText(now)} now`)
  }
}

const made = <T>(things: Map<number, T>, number: number, make: () => T): T => {
  let thing = things.get(number)
  if (thing === undefined) {
    thing = make()
    things.set(number, thing)
  }
  return thing
}

const isWritten = (value: unknown): value is Written =>
  typeof value === 'number' || value instanceof Uint8Array

const writtenText = (written: Written): string =>
  typeof written === 'number'
    ? `bytes with the checksum ${hex(written)}`
    : Array.from(written, (byte) => byte.toString(16).padStart(2, '0')).join('')

export const addressText = (address: unknown): string =>
  typeof address === 'bigint' ? hex(address) : String(address)

export class ReplayedProcess implements Process {
  readonly facts = new Map<string, unknown>()
  readonly #world: ReplayedWorld

  constructor(world: ReplayedWorld) {
    this.#world = world
  }

  get pid(): number {
    const pid = this.facts.get('pid')
    return typeof pid === 'number' ? pid : 0
  }

  get name(): string {
    const name = this.facts.get('name')
    return typeof name === 'string' ? name : 'unknown'
  }

  get uid(): number {
    const uid = this.facts.get('uid')
    return typeof uid === 'number' ? uid : 0
  }

  get addressSpace(): ReplayedSpace {
    const space = this.facts.get('space')
    return this.#world.space(typeof space === 'number' ? space : -1)
  }

  capable(capability: Capability): boolean {
    return this.facts.get(capability) === true
  }

  memlockLimit(): ByteLength {
    const limit = this.facts.get('memlock')
    return byteLength(typeof limit === 'bigint' ? limit : MAX_U64)
  }

  lockedBytes(): ByteLength {
    const locked = this.facts.get('locked')
    return byteLength(typeof locked === 'bigint' ? locked : 0n)
  }
}

class ReplayedSpace implements AddressSpace {
  id = 0
  gone = false
  readonly #world: ReplayedWorld
  readonly #number: number

  constructor(world: ReplayedWorld, number: number) {
    this.#world = world
    this.#number = number
  }

  read(address: UserVa, length: number): Uint8Array {
    const [content] =
      this.#world.answers.next(Asked.SPACE_READ, this.#number, address, length) ?? []
    if (content !== undefined) return bytesOf(contentIn(content))
    this.#world.complain(`only now it read ${length} bytes at ${hex(address)}`)
    return new Uint8Array(length)
  }

  write(address: UserVa, bytes: Uint8Array): number {
    const { answers } = this.#world
    const { length } = bytes
    const found = answers.next(Asked.SPACE_WRITE, this.#number, address, length)
    if (found === undefined)
      this.#world.complain(`only now it wrote ${length} bytes at ${hex(address)}`)
    const [written, count] = found ?? [undefined, length]
    this.#world.compareWritten(bytes, written, () => `at ${hex(address)}`)
    return numberOf(count)
  }

  take(
    firstPage: number,
    count: number,
    forWriting: boolean,
    _caller: Process,
    deviceMemory = false,
  ): Result<PageRun[]> {
    const wanted = [this.#number, firstPage, count, forWriting, deviceMemory]
    const [taken] = this.#world.answers.next(Asked.TAKE, ...wanted) ?? []
    if (taken !== undefined) return this.#world.runs(taken)
    // Whatever is there would do: nobody asked for it in the recording.
    this.#world.complain(`only now it took ${count} pages at ${hex(firstPage * 4096)}`)
    const object = this.#world.pages(-1 - this.#number)
    return [{ object, page: firstPage, count }]
  }
}

class ReplayedPages implements PageObject {
  name = 'memory that the recording does not know'
  contiguity = 1
  readonly #world: ReplayedWorld
  readonly #number: number

  constructor(world: ReplayedWorld, number: number) {
    this.#world = world
    this.#number = number
  }

  read(page: number, offset: number, into: Uint8Array): boolean {
    const { answers } = this.#world
    const [content] = answers.next(Asked.PAGES_READ, this.#number, page, offset, into.length) ?? []
    if (content === undefined) this.#world.complain(`only now it read ${this.name}, page ${page}`)
    if (content === false || content === undefined) return content === undefined
    into.set(bytesOf(contentIn(content)).subarray(0, into.length))
    return true
  }

  write(page: number, offset: number, bytes: Uint8Array): boolean {
    const { answers } = this.#world
    const { length } = bytes
    const found = answers.next(Asked.PAGES_WRITE, this.#number, page, offset, length)
    if (found === undefined) this.#world.complain(`only now it wrote to ${this.name}, page ${page}`)
    const [written, reached] = found ?? [undefined, true]
    this.#world.compareWritten(bytes, written, () => `in page ${page} of ${this.name}`)
    return reached === true
  }
}

/** Pages of a region that clients had mapped: with what they stored there, when the machine looks. */
export const replayedRegion = (
  world: ReplayedWorld,
  number: number,
  length: number,
): SharedRegion => {
  const mirror = new RegionMirror()
  return {
    length,
    read: (offset, into) => {
      const stored = world.answers.once(
        Asked.REGION,
        ([region, at, bytes]) =>
          region === number &&
          at === offset &&
          bytes instanceof Uint8Array &&
          bytes.length === into.length,
      )
      if (stored?.[2] instanceof Uint8Array) mirror.write(offset, stored[2])
      mirror.read(offset, into)
    },
    write: (offset, bytes) => mirror.write(offset, bytes),
    setAccessible: () => {},
  }
}
