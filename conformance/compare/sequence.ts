/** Random sequences: how they are made, played, and compared. */
import { B, slotFd } from '../places.ts'
import { memorySetUp, printedLines, type RandomCall, structCall } from './call.ts'
import { containerCall } from './container-calls.ts'
import { coreCall, MEMFD, NOT_MEMORY, Remembered } from './core-calls.ts'
import { beginWithHardware, hardwareCall } from './hardware-calls.ts'
import { mockCalls } from './mock/calls.ts'
import { AFTER_READ_ONLY, BUFFER_PAGES } from './mock/pieces.ts'
import { Random } from './random.ts'
import { beginWithGroup, vfioCall, vfioSetUp, World } from './vfio-calls.ts'

export interface Sequence {
  readonly title: string
  /** Calls that are kept when a sequence is shrunk. */
  readonly setUp: readonly string[]
  readonly calls: readonly RandomCall[]
}

/** A plugin for one kind of sequence. */
export interface Profile {
  readonly name: string
  readonly setUp: readonly string[]
  /** Makes the calls of one sequence, about `count` of them. */
  readonly calls: (random: Random, count: number) => RandomCall[]
}

const coreSetUp: readonly string[] = [
  ...memorySetUp,
  `mmap ${B} 0x100000 rw private`,
  `memfd ${MEMFD} 0x20000`,
  `open ${NOT_MEMORY} /dev/null 2`,
  'open 0 /dev/iommu 2',
]

const repeat = (count: number, make: () => RandomCall): RandomCall[] =>
  Array.from({ length: count }, make)

/** Sequences begin with what makes the rest meaningful, most of the time. */
const begin = (random: Random, compat: boolean): RandomCall[] => {
  const alloc = { text: 'IOAS_ALLOC()', lines: coreAlloc }
  const set = { text: 'VFIO_IOAS(op=SET, ioas_id=1)', lines: compatSet }
  if (random.chance(10)) return []
  return compat ? [alloc, set] : [alloc, alloc]
}

const STRUCT_TEXT = '0x200000000000'
const coreAlloc = [
  `poke ${STRUCT_TEXT} 0c0000000000000000000000`,
  `ioctl 0 0x3b81 ${STRUCT_TEXT}`,
  `peek ${STRUCT_TEXT} 12`,
]
const compatSet = [`poke ${STRUCT_TEXT} 0c0000000100000001000000`, `ioctl 0 0x3b88 ${STRUCT_TEXT}`]

export const coreProfile: Profile = {
  name: 'core',
  setUp: coreSetUp,
  calls: (random, count) => {
    const remembered = new Remembered()
    return [...begin(random, false), ...repeat(count, () => coreCall(random, remembered))]
  },
}

export const containerProfile: Profile = {
  name: 'container',
  setUp: coreSetUp,
  calls: (random, count) => {
    const remembered = new Remembered()
    const one = (): RandomCall =>
      random.chance(70) ? containerCall(random, remembered) : coreCall(random, remembered)
    return [...begin(random, true), ...repeat(count, one)]
  },
}

export const hardwareProfile: Profile = {
  name: 'hardware',
  // Populated, so that every page has a pin count of its own.
  setUp: [...coreSetUp, `fill ${B} 0x100000 0x5a`],
  calls: (random, count) => {
    const remembered = new Remembered()
    return [...beginWithHardware(random), ...repeat(count, () => hardwareCall(random, remembered))]
  },
}

const mockSetUp: readonly string[] = [
  ...memorySetUp,
  `mmap ${B} ${BUFFER_PAGES * 0x1000} rw shared`,
  `mmap ${AFTER_READ_ONLY} 0x1000 rw private`,
  'open 0 /dev/iommu 2',
]

/** One IOAS without large pages, mostly with a mock device and a nesting parent. */
const mockBegin: readonly RandomCall[] = [
  structCall('IOAS_ALLOC', {}),
  structCall('OPTION', { option_id: 1, op: 0, object_id: 1, val64: 0n }),
]

export const mockProfile: Profile = {
  name: 'mock',
  setUp: mockSetUp,
  calls: (random, count) => {
    const setUp = [...mockSetUp, ...mockBegin.flatMap(({ lines }) => lines)]
    return [...mockBegin, ...mockCalls(random, count, setUp)]
  },
}

export const vfioProfile: Profile = {
  name: 'vfio',
  setUp: vfioSetUp,
  calls: (random, count) => {
    const world = new World()
    return [...beginWithGroup(random, world), ...repeat(count, () => vfioCall(random, world))]
  },
}

const CALLS_PER_SEQUENCE = 60

/** About `calls` calls in sequences of their own processes and contexts. */
export const makeSequences = (
  profiles: readonly Profile[],
  calls: number,
  seed: number,
): Sequence[] => {
  const sequences: Sequence[] = []
  for (let made = 0; made < calls; ) {
    const number = sequences.length
    const profile = profiles[number % profiles.length]
    if (profile === undefined) throw new RangeError('no profile')
    const random = new Random(seed * 100_003 + number)
    const sequence: Sequence = {
      title: `${profile.name} ${seed}/${number}`,
      setUp: profile.setUp,
      calls: profile.calls(random, Math.min(CALLS_PER_SEQUENCE, calls - made)),
    }
    sequences.push(sequence)
    made += sequence.calls.length
  }
  return sequences
}

export const scriptOf = ({ title, setUp, calls }: Sequence): string =>
  `${[`case ${title}`, ...setUp, ...calls.flatMap(({ lines }) => lines)].join('\n')}\n`

export interface Difference {
  readonly sequence: Sequence
  /** Index of the first call that was answered differently; -1 for the set-up. */
  readonly call: number
  readonly expected: readonly string[]
  readonly got: readonly string[]
}

/** The first difference between two transcripts of a sequence. */
export const firstDifference = (
  sequence: Sequence,
  expected: readonly string[] = [],
  got: readonly string[] = [],
): Difference | undefined => {
  let at = printedLines({ text: '', lines: sequence.setUp })
  const differs = (from: number, to: number): boolean =>
    expected.slice(from, to).join('\n') !== got.slice(from, to).join('\n')
  if (differs(0, at))
    return { sequence, call: -1, expected: expected.slice(0, at), got: got.slice(0, at) }
  for (const [call, step] of sequence.calls.entries()) {
    const end = at + printedLines(step)
    if (differs(at, end))
      return { sequence, call, expected: expected.slice(at, end), got: got.slice(at, end) }
    at = end
  }
  // What follows the last call: a signal, for one.
  if (differs(at, Number.POSITIVE_INFINITY))
    return { sequence, call: -1, expected: expected.slice(at), got: got.slice(at) }
  return undefined
}

/** Where the mapped file descriptors are, for readers of a script. */
export const descriptors = { memfd: slotFd(MEMFD), other: slotFd(NOT_MEMORY) }
