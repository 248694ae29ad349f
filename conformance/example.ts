/**
 * A worked example of the specification as data: a script of system calls and what each must answer.
 *
 *     example('01 §22.2 IDs', (t) => {
 *       t.open()
 *       t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 1 }))
 *       t.step('DESTROY', { id: 2 }, fails('ENOENT'))
 *     })
 *
 * A step lays its structure out between guard bytes, makes the call, and checks the return value and
 * every byte: on success the named outputs have changed and nothing else, on failure nothing has,
 * unless the expectation says so.
 */
import { Errno, type ErrnoName, errnoName } from '../src/abi/errno.ts'
import { type Command, command } from './commands.ts'
import { ARRAY, B, PAGE, STRUCT, slotFd } from './places.ts'

export type FieldValues = Readonly<Record<string, number | bigint>>

/** An output that a case does not pin down. */
export const anything = Symbol('anything')
export type Outputs = Readonly<Record<string, number | bigint | typeof anything>>

export interface Expectation {
  /** Return value, or negative errno. */
  readonly returns: number
  /** Fields of the structure that change, and to what. */
  readonly outputs: Outputs
}

/** The call returns 0 and changes these fields. */
export const ok = (outputs: Outputs = {}): Expectation => ({ returns: 0, outputs })
/** The call returns a positive value and changes these fields. */
export const returns = (value: number, outputs: Outputs = {}): Expectation => ({
  returns: value,
  outputs,
})
/** The call fails and, unless outputs are given, changes nothing. */
export const fails = (errno: ErrnoName, outputs: Outputs = {}): Expectation => ({
  returns: -Errno[errno],
  outputs,
})

export interface Check {
  /** What was done, for people. */
  readonly about: string
  /** What is wrong with the answer; undefined if it is right. */
  readonly problem: (answer: string) => string | undefined
}

/** What a door must offer for an example to be played there. */
export type Need =
  /** CAP_SYS_RESOURCE in the initial user namespace. */
  | 'CAP_SYS_RESOURCE'
  /** The client has CAP_SYS_RESOURCE in fact, not only in the eyes of the simulated files, and can drop it. */
  | 'CAP_SYS_RESOURCE to drop'
  /** Charges of locked memory show in VmPin and VmLck. */
  | 'locked-memory-in-status'
  /** The interface of test kernels, IOMMU_TEST. */
  | 'test-interface'
  /** 2 MiB pages. */
  | 'huge-pages'
  /** The emulated devices of places.ts. */
  | 'scratch-devices'
  /** The physical devices of places.ts, behind an Intel IOMMU, and a native container. */
  | 'vfio-devices'

export interface Example {
  readonly title: string
  readonly needs: readonly Need[]
  /** Lines of conformance/SCRIPT.md, the `case` line first. */
  readonly script: readonly string[]
  /** One for each line of transcript. */
  readonly checks: readonly Check[]
}

export const example = (
  title: string,
  play: (t: Steps) => void,
  { needs = [] }: { needs?: readonly Need[] } = {},
): Example => {
  const steps = new Steps()
  steps.memory(STRUCT, 2n * PAGE, 'rw')
  steps.memory(ARRAY, 2n * PAGE, 'rw')
  play(steps)
  return { title, needs, script: [`case ${title}`, ...steps.lines], checks: steps.checks }
}

/** Each thing in which an answer differs from what the example expects, as a sentence. */
export const problemsOf = (of: Example, transcript: readonly string[] | undefined): string[] => {
  if (transcript === undefined) return ['the door did not play this example']
  const problems: string[] = []
  for (const [index, { about, problem }] of of.checks.entries()) {
    const answer = transcript[index]
    if (answer === undefined) return [...problems, `${about}: no answer`]
    const wrong = problem(answer)
    if (wrong !== undefined) problems.push(`${about}: ${wrong}`)
  }
  for (const extra of transcript.slice(of.checks.length)) problems.push(`unexpected: ${extra}`)
  return problems
}

export const hexBytes = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** Bytes after a structure, to see that nothing is written there. */
const GUARD = new Uint8Array(16).fill(0xaa)

const printed = (value: number): string => {
  if (value >= 0) return String(value)
  return errnoName(-value)
}

const returnCheck =
  (wanted: number) =>
  (answer: string): string | undefined => {
    if (answer === `= ${wanted}`) return undefined
    const got = /^= (-?\d+)$/.exec(answer)?.[1]
    return `expected ${printed(wanted)}, got ${got === undefined ? answer : printed(Number(got))}`
  }

interface StepOptions {
  /** Descriptor to call; slot 0 by default. */
  readonly slot?: number
  /** Address of the structure. */
  readonly at?: bigint
  /** Bytes after the structure. */
  readonly tail?: readonly number[]
  /** The structure's memory is read-only during the call. */
  readonly readOnly?: boolean
  /** Another request number with this structure. */
  readonly request?: number
}

export class Steps {
  readonly lines: string[] = []
  readonly checks: Check[] = []

  /** One script line whose transcript is a value. */
  private call(line: string, wanted: number, about = line): void {
    this.lines.push(line)
    this.checks.push({ about: this.numbered(about), problem: returnCheck(wanted) })
  }

  private numbered(about: string): string {
    return `step ${this.checks.length + 1}, ${about}`
  }

  open(path = '/dev/iommu', { slot = 0, flags = 2 } = {}): void {
    this.call(`open ${slot} ${path} ${flags}`, 0)
  }

  close(slot = 0): void {
    this.call(`close ${slot}`, 0)
  }

  dup(slot: number, to: number): void {
    this.call(`dup ${slot} ${to}`, 0)
  }

  /** Anonymous memory at a fixed address. */
  memory(
    address: bigint,
    length: bigint,
    protection: string,
    kind: 'private' | 'shared' | 'huge' = 'private',
  ): void {
    this.call(`mmap ${address} ${length} ${protection} ${kind}`, 0)
  }

  /** `B` of the worked examples: 1 MiB (or `length`), private, readable and writable, populated. */
  buffer(kind: 'private' | 'shared' = 'private', length = 0x100000n): void {
    this.memory(B, length, 'rw', kind)
    this.fill(B, length, 0x5a)
  }

  protect(address: bigint, length: bigint, protection: string): void {
    this.call(`mprotect ${address} ${length} ${protection}`, 0)
  }

  unmapMemory(address: bigint, length: bigint): void {
    this.call(`munmap ${address} ${length}`, 0)
  }

  fill(address: bigint, length: bigint, byte: number): void {
    this.lines.push(`fill ${address} ${length} ${byte}`)
  }

  poke(address: bigint, bytes: Uint8Array | readonly number[]): void {
    this.lines.push(`poke ${address} ${hexBytes(Uint8Array.from(bytes))}`)
  }

  /** The bytes at `address` are these. */
  sees(address: bigint, bytes: Uint8Array | readonly number[]): void {
    const wanted = hexBytes(Uint8Array.from(bytes))
    this.lines.push(`peek ${address} ${bytes.length}`)
    this.checks.push({
      about: this.numbered(`memory at 0x${address.toString(16)}`),
      problem: (answer) =>
        answer === `: ${wanted}` ? undefined : `expected ${wanted}, got ${answer}`,
    })
  }

  /** Any script line that prints a value. */
  plain(line: string, wanted: number): void {
    this.call(line, wanted)
  }

  /** Any script line whose transcript is exactly this. */
  prints(line: string, wanted: string): void {
    this.lines.push(line)
    this.checks.push({
      about: this.numbered(line),
      problem: (answer) =>
        answer === wanted ? undefined : `expected "${wanted}", got "${answer}"`,
    })
  }

  /** A script line that prints nothing. */
  silent(line: string): void {
    this.lines.push(line)
  }

  /** An ioctl without a structure of ours: any request, any argument. */
  ioctl(request: number, argument: bigint, wanted: Expectation, slot = 0): void {
    this.call(
      `ioctl ${slot} ${request} ${argument}`,
      wanted.returns,
      `ioctl 0x${request.toString(16)}`,
    )
  }

  /** An ioctl with a structure. Fields that are not named are 0, a size word is the known size. */
  step(
    name: string,
    fields: FieldValues,
    wanted: Expectation,
    { slot = 0, at = STRUCT, tail = [], readOnly = false, request }: StepOptions = {},
  ): void {
    const of = command(name)
    const bytes = new Uint8Array([...structBytes(of, fields), ...tail, ...GUARD])
    const about = `${name} ${describe(fields)}`
    this.poke(at, bytes)
    const page = at & ~(PAGE - 1n)
    if (readOnly) this.protect(page, PAGE, 'r')
    this.call(`ioctl ${slot} ${request ?? of.request} ${at}`, wanted.returns, about)
    if (readOnly) this.protect(page, PAGE, 'rw')
    this.lines.push(`peek ${at} ${bytes.length}`)
    this.checks.push({
      about: this.numbered(about),
      problem: structCheck(of, bytes, wanted.outputs),
    })
  }

  /** A successful ioctl whose result is a descriptor, which moves to a slot; the structure does not change. */
  descriptorStep(name: string, fields: FieldValues, slot: number): void {
    const of = command(name)
    this.poke(STRUCT, structBytes(of, fields))
    const about = `${name} ${describe(fields)}`
    this.descriptorFrom(of.request, STRUCT, { to: slot, about })
  }

  /** An ioctl that returns a new descriptor, which is moved to slot `to`. */
  descriptorFrom(
    request: number,
    argument: bigint,
    { slot = 0, to, about }: { slot?: number; to: number; about?: string },
  ): void {
    this.lines.push(`ioctl ${slot} ${request} ${argument}`)
    this.checks.push({
      about: this.numbered(about ?? `ioctl 0x${request.toString(16)}`),
      problem: (answer) =>
        /^= \d+$/.test(answer) ? undefined : `expected a descriptor, got ${answer}`,
    })
    this.call(`takereturn ${to}`, 0)
  }

  /** An operation of the test interface: `T(op, ...)` of chapter 5. */
  test(
    operation: string,
    fields: FieldValues,
    wanted: Expectation = ok(),
    options: StepOptions = {},
  ): void {
    this.step(`TEST_${operation}`, fields, wanted, options)
  }

  /** Moves a descriptor that the last step put into its structure to a slot. */
  takeDescriptor(name: string, field: string, slot: number): void {
    const { offset } = command(name).struct.place(field)
    this.call(`takefd ${slot} ${STRUCT + BigInt(offset)}`, 0)
  }

  /** Starts process `id`, a child of the first one. */
  fork(id: number): void {
    this.call(`fork ${id}`, 0)
  }

  /** What `play` does is done by process `id`. */
  in(id: number, play: () => void): void {
    this.lines.push(`in ${id}`)
    play()
    this.lines.push('in 0')
  }

  exit(id: number): void {
    this.call(`exit ${id}`, 0)
  }
}

/** The bytes of a command's structure. */
export const structBytes = (of: Command, fields: FieldValues): Uint8Array => {
  const bytes = new Uint8Array(of.struct.size)
  const view = new DataView(bytes.buffer)
  const given: Record<string, number | bigint> = {
    ...(of.op === undefined ? {} : { op: of.op }),
    ...fields,
  }
  for (const field of of.struct.fields)
    if (field.role === 'size' || field.role === 'argsz') given[field.name] ??= of.struct.size
  for (const [name, value] of Object.entries(given)) writeField(view, of, name, value)
  return bytes
}

const writeField = (view: DataView, of: Command, name: string, value: number | bigint): void => {
  const field = of.struct.place(name)
  const bits = BigInt.asUintN(64, BigInt(value))
  for (let i = 0; i < field.size; i++)
    view.setUint8(field.offset + i, Number((bits >> BigInt(8 * i)) & 0xffn))
}

const readField = (view: DataView, of: Command, name: string): bigint => {
  const field = of.struct.place(name)
  let bits = 0n
  for (let i = field.size - 1; i >= 0; i--)
    bits = (bits << 8n) | BigInt(view.getUint8(field.offset + i))
  return bits
}

const describe = (fields: FieldValues | Outputs): string => {
  const parts = Object.entries(fields).map(
    ([name, value]) => `${name}=${typeof value === 'symbol' ? 'anything' : show(value)}`,
  )
  return `{${parts.join(', ')}}`
}

const show = (value: number | bigint): string =>
  value >= 10 ? `0x${value.toString(16)}` : String(value)

const structCheck = (of: Command, given: Uint8Array, outputs: Outputs) => {
  const wanted = given.slice()
  const view = new DataView(wanted.buffer)
  const open = Object.keys(outputs).filter((name) => outputs[name] === anything)
  for (const [name, value] of Object.entries(outputs))
    if (typeof value !== 'symbol') writeField(view, of, name, value)
  return (answer: string): string | undefined => {
    const got = new Uint8Array(Buffer.from(answer.slice(2), 'hex'))
    if (!answer.startsWith(': ') || got.length !== wanted.length) return `got ${answer}`
    const gotView = new DataView(got.buffer)
    for (const name of open) writeField(gotView, of, name, readField(view, of, name))
    if (hexBytes(got) === hexBytes(wanted)) return undefined
    const differences = of.struct.fields
      .map(({ name }) => ({
        name,
        is: readField(gotView, of, name),
        want: readField(view, of, name),
      }))
      .filter(({ is, want }) => is !== want)
      .map(({ name, is, want }) => `${name} is ${show(is)}, expected ${show(want)}`)
    return differences.length > 0
      ? differences.join('; ')
      : `bytes are ${hexBytes(got)}, expected ${hexBytes(wanted)}`
  }
}

/** The elements of an array of `struct iommu_iova_range`. */
export const ranges = (...of: readonly (readonly [bigint, bigint])[]): Uint8Array => {
  const bytes = new Uint8Array(16 * of.length)
  const view = new DataView(bytes.buffer)
  for (const [i, [start, last]] of of.entries()) {
    view.setBigUint64(16 * i, start, true)
    view.setBigUint64(16 * i + 8, last, true)
  }
  return bytes
}

/** Little-endian words of 32 bits. */
export const words = (...of: readonly number[]): Uint8Array => {
  const bytes = new Uint8Array(4 * of.length)
  const view = new DataView(bytes.buffer)
  for (const [i, word] of of.entries()) view.setUint32(4 * i, word >>> 0, true)
  return bytes
}

/** The number of the descriptor in a slot, as a structure holds it. */
export const descriptor = slotFd
