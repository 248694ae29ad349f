/** IOMMU_TEST_CMD (0x3ba0): picks the operation and hands it its view of the request (05 §A.1). */

import type { IommufdCommand } from '../../abi/ioctl.ts'
import {
  IOMMU_TEST_CMD,
  TEST_ADD_RESERVED,
  TEST_SET_TEMP_MEMORY_LIMIT,
} from '../../abi/test-cmd.ts'
import { type Command, copyToUser } from '../../engine/command.ts'
import { Ioas } from '../../engine/ioas.ts'
import { Refusal, reasonKind, refuse } from '../../engine/reason.ts'
import { accessOperations } from './test-access.ts'
import type { TestBench } from './test-bench.ts'
import { deviceOperations } from './test-devices.ts'
import { dmaBufOperations } from './test-dma-buf.ts'
import { domainOperations } from './test-domains.ts'
import { lastOf, type TestEntry, testOperation } from './test-operation.ts'

export const TestOperationUnknown = reasonKind<{ op: number }>({
  code: 'test-operation-unknown',
  errno: 'EOPNOTSUPP',
  cite: '05 §A.1',
  say: ({ op }) => `IOMMU_TEST has no operation ${op}`,
  advice: 'Use the operations of iommufd_test.h as Linux 7.2 has it.',
})

export const TestLimitTooSmall = reasonKind<{ limit: number }>({
  code: 'test-limit-too-small',
  errno: 'EINVAL',
  cite: '05 §A.7 op 9',
  say: ({ limit }) => `${limit} bytes of temporary memory are too few: 12 are needed`,
  advice: 'Set limit to 0 for the usual size, or to at least 12 bytes.',
})

const MINIMUM_LIMIT = 12

const generalOperations = [
  testOperation(TEST_ADD_RESERVED, ({ context, call, args }) => {
    const last = lastOf(args.start, args.length)
    if (last instanceof Refusal) return last
    const ioas = context.objects.find(args.id, Ioas, 'ioas', call)
    if (ioas instanceof Refusal) return ioas
    // Nobody gives it back: it lasts as long as the IOAS.
    const owner = { toString: () => 'the test interface' }
    return ioas.reserve(owner, { start: args.start, last })
  }),

  testOperation(TEST_SET_TEMP_MEMORY_LIMIT, ({ bench, args }) => {
    if (args.limit < MINIMUM_LIMIT) return refuse(TestLimitTooSmall, { limit: args.limit })
    bench.tempMemoryLimit = args.limit
  }),
]

const entries: ReadonlyMap<number, TestEntry> = new Map(
  [
    ...generalOperations,
    ...deviceOperations,
    ...domainOperations,
    ...accessOperations,
    ...dmaBufOperations,
  ].map((entry) => [entry.operation.op, entry]),
)

const OPERATION_OFFSET = 4

/** The command, to be given to a Machine with the test interface. */
export const testCommand = (bench: TestBench): Command => ({
  // The table keeps commands of every structure side by side.
  ioctl: IOMMU_TEST_CMD as unknown as IommufdCommand,
  run: (context, call, argument, bytes) => {
    const op = new DataView(bytes.buffer, bytes.byteOffset).getUint32(OPERATION_OFFSET, true)
    const entry = entries.get(op)
    if (entry === undefined) return refuse(TestOperationUnknown, { op })
    return entry.run(bench, context, call, {
      bytes,
      respond: () => {
        context.machine.callOutput = bytes
        return copyToUser(call, argument, bytes)
      },
    })
  },
})
