/** What one operation of IOMMU_TEST_CMD gets, and how it is joined to its declaration (05 §A.1). */
import { type ByteLength, hex, type Iova, MAX_U64, type UserVa } from '../../abi/brands.ts'
import type { DecodedFields, Fields } from '../../abi/layout.ts'
import type { TestOperation } from '../../abi/test-cmd.ts'
import type { Context } from '../../engine/context.ts'
import type { Call } from '../../engine/ports.ts'
import { type Result, reasonKind, refuse } from '../../engine/reason.ts'
import type { TestBench } from './test-bench.ts'

export const TestRangeOverflows = reasonKind<{ start: bigint; length: bigint }>({
  code: 'test-range-overflows',
  errno: 'EOVERFLOW',
  cite: '05 §A.7',
  say: ({ start, length }) => `${hex(length)} bytes from ${hex(start)} end beyond 2^64`,
  advice: 'Check the address and the length.',
})

export const TestRangeEmpty = reasonKind({
  code: 'test-range-empty',
  errno: 'EINVAL',
  cite: '05 §A.7',
  say: () => 'the length is 0',
  advice: 'Set length to the number of bytes.',
})

export const TestMemoryUnreadable = reasonKind<{ address: bigint; length: number }>({
  code: 'test-memory-unreadable',
  errno: 'EFAULT',
  cite: '05 §A.7',
  say: ({ address, length }) =>
    `the ${length} bytes at ${hex(address)} are not all in readable memory of the caller`,
  advice: 'Pass memory that the program has.',
})

export const TestFlagUnknown = reasonKind<{ flags: number; known: number; operation: string }>({
  code: 'test-flag-unknown',
  errno: 'EOPNOTSUPP',
  cite: '05 §A.7',
  say: ({ flags, known, operation }) =>
    `${operation} knows the flags ${hex(known)}; ${hex(flags)} were passed`,
  advice: 'Use the flags of iommufd_test.h only.',
})

/** One operation being handled. */
export interface TestRequest<F extends Fields> {
  readonly bench: TestBench
  readonly context: Context
  readonly call: Call
  readonly args: DecodedFields<F>
  /** Writes the structure back with these members replaced; EFAULT leaves undoing to the operation. */
  respond(changed: Partial<DecodedFields<F>>): Result<void>
}

/** The request of a declared operation. */
export type RequestOf<Operation> = Operation extends TestOperation<infer F> ? TestRequest<F> : never

/** What a look-up needs of a request, whatever its operation. */
export type Asking = Pick<TestRequest<Fields>, 'bench' | 'context' | 'call'>

export type TestHandler<F extends Fields> = (
  request: TestRequest<F>,
  // biome-ignore lint/suspicious/noConfusingVoidType: an operation without a result just ends
) => Result<number | void>

export interface TestEntry {
  readonly operation: TestOperation
  run(bench: TestBench, context: Context, call: Call, io: TestIo): Result<number>
}

/** The bytes of the request, as many as the caller provided, and how they get back to it. */
export interface TestIo {
  readonly bytes: Uint8Array
  respond(): Result<void>
}

/** Joins an operation's declaration and its handler. */
export const testOperation = <F extends Fields>(
  operation: TestOperation<F>,
  handler: TestHandler<F>,
): TestEntry => ({
  // The table keeps operations of every structure side by side.
  operation: operation as unknown as TestOperation,
  run: (bench, context, call, io) =>
    handler({
      bench,
      context,
      call,
      args: operation.struct.decode(io.bytes),
      respond: (changed) => {
        operation.struct.encode(changed, io.bytes)
        return io.respond()
      },
    }) ?? 0,
})

/** Last IOVA of a range; EINVAL for an empty one, EOVERFLOW beyond 2^64. */
export const lastOf = (start: Iova, length: ByteLength): Result<Iova> => {
  if (length === 0n) return refuse(TestRangeEmpty, {})
  if (start + length - 1n > MAX_U64) return refuse(TestRangeOverflows, { start, length })
  return (start + length - 1n) as Iova
}

/** All bytes or EFAULT. */
export const readCaller = (call: Call, address: UserVa, length: number): Result<Uint8Array> => {
  const bytes = call.fails('copy-from-user') ? new Uint8Array(0) : call.memory.read(address, length)
  return bytes.length < length ? refuse(TestMemoryUnreadable, { address, length }) : bytes
}
