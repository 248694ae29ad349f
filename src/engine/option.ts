/** IOMMU_OPTION (01 §8). */
import type { UserVa } from '../abi/brands.ts'
import { IOMMU_OPTION, IOMMUFD_OPTION, IOMMUFD_OPTION_OPS } from '../abi/iommufd/context.ts'
import { command, copyToUser } from './command.ts'
import type { Context } from './context.ts'
import { Ioas } from './ioas.ts'
import { ReservedFieldSet } from './ioas-map.ts'
import type { Call } from './ports.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'

export const UnknownOption = reasonKind<{ option: number }>({
  code: 'unknown-option',
  errno: 'EOPNOTSUPP',
  cite: '01 §8 check 2',
  say: ({ option }) => `there is no option ${option}`,
  advice: 'Use IOMMU_OPTION_RLIMIT_MODE or IOMMU_OPTION_HUGE_PAGES.',
})

export const UnknownOptionOp = reasonKind<{ op: number }>({
  code: 'unknown-option-op',
  errno: 'EOPNOTSUPP',
  cite: '01 §8.1 step 4, §8.2 step 6',
  say: ({ op }) => `op ${op} is neither SET (0) nor GET (1)`,
  advice: 'Use IOMMU_OPTION_OP_SET or IOMMU_OPTION_OP_GET.',
})

export const OptionOfContext = reasonKind<{ object: number }>({
  code: 'option-of-context',
  errno: 'EOPNOTSUPP',
  cite: '01 §8.1 step 1',
  say: ({ object }) => `RLIMIT_MODE belongs to the context; object_id is ${object}, not 0`,
  advice: 'Set object_id to 0 for options of the context.',
})

export const NeedsSysResource = reasonKind({
  code: 'needs-sys-resource',
  errno: 'EPERM',
  cite: '01 §8.1 step 3.1',
  say: () => 'the caller does not have CAP_SYS_RESOURCE in the initial user namespace',
  advice: 'Give the program CAP_SYS_RESOURCE, or leave the accounting as it is.',
})

export const ContextHasObjects = reasonKind<{ objects: number }>({
  code: 'context-has-objects',
  errno: 'EBUSY',
  cite: '01 §8.1 step 3.2',
  say: ({ objects }) => `the context has ${objects} object IDs in use (tombstones count)`,
  advice: 'Set RLIMIT_MODE before anything is allocated.',
})

export const BadOptionValue = reasonKind<{ value: bigint }>({
  code: 'bad-option-value',
  errno: 'EINVAL',
  cite: '01 §8.1 step 3.3, §8.2 step 5',
  say: ({ value }) => `val64 is ${value}; only 0 and 1 mean something`,
  advice: 'Set val64 to 0 or 1.',
})

const { IOMMU_OPTION_OP_SET: SET, IOMMU_OPTION_OP_GET: GET } = IOMMUFD_OPTION_OPS
const { IOMMU_OPTION_RLIMIT_MODE, IOMMU_OPTION_HUGE_PAGES } = IOMMUFD_OPTION

const VALUE = IOMMU_OPTION.struct.place('val64')

export const option = command(IOMMU_OPTION, ({ context, call, args, argument }) => {
  if (args.__reserved !== 0) return refuse(ReservedFieldSet, { value: args.__reserved })
  const value =
    args.option_id === IOMMU_OPTION_RLIMIT_MODE
      ? rlimitMode(context, call, args)
      : args.option_id === IOMMU_OPTION_HUGE_PAGES
        ? largePages(context, call, args)
        : refuse(UnknownOption, { option: args.option_id })
  if (value instanceof Refusal) return value
  // Every option is 0 or 1.
  const bytes = new Uint8Array(VALUE.size)
  bytes[0] = Number(value)
  // Within the structure that was just read.
  const at = (argument + BigInt(VALUE.offset)) as UserVa
  // A SET that cannot write its value back has taken effect nevertheless (01 §8 check 4).
  return copyToUser(call, at, bytes)
})

interface OptionArguments {
  readonly op: number
  readonly object_id: number
  readonly val64: bigint
}

/** 01 §8.1. Returns the value to write back. */
const rlimitMode = (context: Context, call: Call, args: OptionArguments): Result<bigint> => {
  const { op, object_id, val64 } = args
  if (object_id !== 0) return refuse(OptionOfContext, { object: object_id })
  if (op === GET) return context.accounting === 'process' ? 1n : 0n
  if (op !== SET) return refuse(UnknownOptionOp, { op })
  if (!call.process.capable('CAP_SYS_RESOURCE')) return refuse(NeedsSysResource, {})
  if (context.objects.size > 0) return refuse(ContextHasObjects, { objects: context.objects.size })
  if (val64 > 1n) return refuse(BadOptionValue, { value: val64 })
  context.accounting = val64 === 1n ? 'process' : 'user'
  return val64
}

/** 01 §8.2. Returns the value to write back. */
const largePages = (context: Context, call: Call, args: OptionArguments): Result<bigint> => {
  const { op, object_id, val64 } = args
  const ioas = context.objects.find(object_id, Ioas, 'IOAS', call)
  if (ioas instanceof Refusal) return ioas
  if (op === GET) return ioas.largePages ? 1n : 0n
  if (op !== SET) return refuse(UnknownOptionOp, { op })
  if (val64 > 1n) return refuse(BadOptionValue, { value: val64 })
  const refusal = ioas.setLargePages(val64 === 1n)
  return refusal instanceof Refusal ? refusal : val64
}
