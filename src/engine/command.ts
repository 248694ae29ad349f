/** How an iommufd ioctl travels from its request number to its handler and back (01 §4). */
import type { UserVa } from '../abi/brands.ts'
import type { IommufdCommand } from '../abi/ioctl.ts'
import type { DecodedFields, Fields, Struct } from '../abi/layout.ts'
import type { Context } from './context.ts'
import type { Call } from './ports.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'

export const UnknownRequest = reasonKind<{ request: number }>({
  code: 'unknown-request',
  errno: 'ENOTTY',
  cite: '01 §4.1 steps 1 and 3',
  say: ({ request }) => `this file has no ioctl with the number 0x${request.toString(16)}`,
  advice: 'All iommufd and VFIO requests are _IO(";", nr): no direction and no size bits.',
})

export const SizeUnreadable = reasonKind<{ argument: UserVa }>({
  code: 'size-unreadable',
  errno: 'EFAULT',
  cite: '01 §4.1 step 2',
  say: ({ argument }) =>
    `the size word at 0x${argument.toString(16)} is not in readable memory of the caller`,
  advice: 'Pass the address of a structure whose first word, size, is sizeof the structure.',
})

export const SizeTooSmall = reasonKind<{ command: string; size: number; minimum: number }>({
  code: 'size-too-small',
  errno: 'EINVAL',
  cite: '01 §4.1 step 4',
  say: ({ command, size, minimum }) =>
    `${command} needs at least ${minimum} bytes of its structure; size says ${size}`,
  advice: 'Set size to sizeof the structure.',
})

export const UnknownTailNotZero = reasonKind<{ command: string; size: number; known: number }>({
  code: 'unknown-tail-not-zero',
  errno: 'E2BIG',
  cite: '01 §4.1 step 5',
  say: ({ command, size, known }) =>
    `size is ${size}, but only ${known} bytes of the structure of ${command} are known here, and a byte behind them is not zero`,
  advice: 'The program was built for a newer interface and uses a part of it that is missing here.',
})

export const UnknownTailUnreadable = reasonKind<{ argument: UserVa; size: number }>({
  code: 'unknown-tail-unreadable',
  errno: 'EFAULT',
  cite: '01 §4.1 step 5',
  say: ({ argument, size }) =>
    `size is ${size}, but the caller cannot read that much memory at 0x${argument.toString(16)}`,
  advice: 'Set size to sizeof the structure that is really there.',
})

export const StructUnreadable = reasonKind<{ argument: UserVa; size: number }>({
  code: 'struct-unreadable',
  errno: 'EFAULT',
  cite: '01 §4.1 step 6',
  say: ({ argument, size }) =>
    `the structure of ${size} bytes at 0x${argument.toString(16)} is not wholly in readable memory of the caller`,
  advice:
    'Pass the address of a whole structure in memory that the program can read, and size no larger than it.',
})

export const ResponseUnwritable = reasonKind<{ argument: UserVa; size: number }>({
  code: 'response-unwritable',
  errno: 'EFAULT',
  cite: '01 §4.2',
  say: ({ argument, size }) =>
    `the response of ${size} bytes at 0x${argument.toString(16)} could not be written to memory of the caller`,
  advice: 'The structure must be in writable memory: commands with output write it back whole.',
})

/** One command being handled. */
export interface Request<F extends Fields> {
  readonly context: Context
  readonly call: Call
  /** The structure as copied in; what the caller did not provide is zero. */
  readonly args: DecodedFields<F>
  /** Where the caller's structure is. */
  readonly argument: UserVa
  /**
   * Writes the structure back, as far as the caller provides it, with these members replaced
   * (01 §4.2). Refuses with EFAULT; undoing the operation is the handler's business.
   */
  respond(changed?: Partial<DecodedFields<F>>): Result<void>
  /**
   * Can a response be written? Writes the structure back unchanged. For commands that give the caller a
   * descriptor, which cannot be taken back: after a successful probe `respond` is no fallible step.
   */
  probe(): Result<void>
}

/** What a handler returns: nothing for 0, or the ioctl's own positive result. */
// biome-ignore lint/suspicious/noConfusingVoidType: a handler without a result just ends
export type Handler<F extends Fields> = (request: Request<F>) => Result<number | void>

export interface Command {
  readonly ioctl: IommufdCommand
  run(context: Context, call: Call, argument: UserVa, bytes: Uint8Array): Result<number>
}

/** Joins an ioctl's declaration and its handler. */
export const command = <F extends Fields>(
  ioctl: IommufdCommand<F>,
  handler: Handler<F>,
): Command => ({
  // The table keeps commands of every structure side by side.
  ioctl: ioctl as unknown as IommufdCommand,
  run: (context, call, argument, bytes) =>
    handler(new ServedRequest(ioctl.struct, context, call, argument, bytes)) ?? 0,
})

/** Handlers take its members apart, and most use only some of them: what few use is made when it is asked for. */
class ServedRequest<F extends Fields> implements Request<F> {
  readonly context: Context
  readonly call: Call
  readonly args: DecodedFields<F>
  readonly argument: UserVa
  readonly #struct: Struct<F>
  readonly #bytes: Uint8Array
  #probed = false

  constructor(
    struct: Struct<F>,
    context: Context,
    call: Call,
    argument: UserVa,
    bytes: Uint8Array,
  ) {
    this.context = context
    this.call = call
    this.args = struct.decode(bytes)
    this.argument = argument
    this.#struct = struct
    this.#bytes = bytes
  }

  get respond(): Request<F>['respond'] {
    return (changed) => {
      const bytes = this.#bytes
      if (changed !== undefined) this.#struct.encode(changed, bytes)
      this.context.machine.callOutput = bytes
      if (!this.#probed) return copyToUser(this.call, this.argument, bytes)
      this.call.memory.write(this.argument, bytes)
    }
  }

  get probe(): Request<F>['probe'] {
    return () => {
      const refusal = copyToUser(this.call, this.argument, this.#bytes)
      this.#probed = !(refusal instanceof Refusal)
      return refusal
    }
  }
}

/** Writes all bytes or refuses with EFAULT; a prefix may have been written then, as on Linux. */
export const copyToUser = (call: Call, to: UserVa, bytes: Uint8Array): Result<void> => {
  if (call.fails('copy-to-user') || call.memory.write(to, bytes) < bytes.length)
    return refuse(ResponseUnwritable, { argument: to, size: bytes.length })
}

/** Numbers from here on are iommufd's; the rest belongs to the VFIO container layer. */
const FIRST = 0x80
const LAST = 0x94
/** With the test interface IOMMU_TEST_CMD is the highest number known. */
const LAST_WITH_TEST = 0xa0

/** The end of what a user process can address (x86-64, four-level page tables). */
const USER_END = 0x7fff_ffff_f000n

export const dispatch = (
  context: Context,
  call: Call,
  request: number,
  argument: UserVa,
): Result<number> => {
  const { machine } = context
  const nr = request & 0xff
  if (nr < FIRST || nr > (machine.testInterface ? LAST_WITH_TEST : LAST))
    return machine.containerIoctl(context, call, request, argument)

  const found = machine.commands.get(nr)
  const known = found === undefined ? 4 : found.ioctl.struct.size
  // One read serves steps 2 and 6: what lies behind the readable part is judged below.
  const read = call.memory.read(argument, known)
  if (read.length < 4 || call.fails('copy-from-user')) return refuse(SizeUnreadable, { argument })
  if (found === undefined || found.ioctl.request !== request)
    return refuse(UnknownRequest, { request })
  const size =
    (read[0] ?? 0) +
    (read[1] ?? 0) * 0x100 +
    (read[2] ?? 0) * 0x1_0000 +
    (read[3] ?? 0) * 0x100_0000
  const { name, minimum } = found.ioctl
  if (size < minimum) return refuse(SizeTooSmall, { command: name, size, minimum })
  if (size > known) {
    const refusal = checkTail(call, argument, known, size, name)
    if (refusal instanceof Refusal) return refusal
  }
  const length = Math.min(size, known)
  if (read.length < length || call.fails('copy-from-user'))
    return refuse(StructUnreadable, { argument, size: length })
  // A copy of our own: responses are built in place.
  const bytes = read.slice(0, length)
  machine.callInput = machine.memoryObserver === undefined ? undefined : bytes.slice()
  return found.run(context, call, argument, bytes)
}

const CHUNK = 0x1_0000

/**
 * Step 5: the first 8-byte unit with a non-zero byte or the first unreadable one decides. An aligned
 * unit never straddles two pages, so that comparing bytes in order gives the same answer.
 */
export const checkTail = (
  call: Call,
  argument: UserVa,
  known: number,
  size: number,
  name: string,
): Result<void> => {
  const end = argument + BigInt(size)
  if (end > USER_END) return refuse(UnknownTailUnreadable, { argument, size })
  for (let at = known; at < size; at += CHUNK) {
    const wanted = Math.min(CHUNK, size - at)
    // Inside the user half: checked above.
    const bytes = call.memory.read((argument + BigInt(at)) as UserVa, wanted)
    if (bytes.some((byte) => byte !== 0))
      return refuse(UnknownTailNotZero, { command: name, size, known })
    if (bytes.length < wanted) return refuse(UnknownTailUnreadable, { argument, size })
  }
}
